"""Bars of the past: ingest, pulls of windows, filling of gaps."""
