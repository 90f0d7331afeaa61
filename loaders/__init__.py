"""Vendors to raw rows: one module a vendor, one way to land."""
