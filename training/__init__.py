"""Hypothesis (YAML) -> dataset -> model -> out-of-sample evidence -> gate -> model package."""
