"""Live bars: one collector per feed, for weeks."""
