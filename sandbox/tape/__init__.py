"""The tape: everything the stand-in vendors know, past and future, and ways to make one."""
