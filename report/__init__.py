"""A static site of what happened, from `results` and what is public of the data. It imports no stage of the work."""
