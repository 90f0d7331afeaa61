"""Rules that fail closed: what they need and do not have is a reason to refuse."""
