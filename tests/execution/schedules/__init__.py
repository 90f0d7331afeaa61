"""Random schedules against both stand-in brokers, written from the specification and apart from the code under test."""
