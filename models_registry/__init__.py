"""The one object that training writes and execution reads, and the record of which may trade."""
