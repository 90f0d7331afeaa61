"""Benchmarks: each a ratio measured in one run, against a named peer or a physical limit."""
