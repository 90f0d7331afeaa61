"""One module per vendor: what it calls things, its limits and its errors. Each offers `make(settings) -> Source`."""
