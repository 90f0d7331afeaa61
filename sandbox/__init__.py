"""Offline stand-ins that speak the vendors' and brokers' own protocols; it shares no code with the product."""
