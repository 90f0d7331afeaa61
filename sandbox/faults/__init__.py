"""What goes wrong, when and how: a plan, and the faults of bars and of answers."""
