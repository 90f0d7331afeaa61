"""Vendors to raw rows: one module per vendor, one way to land."""
