"""From a closed bar to a reconciled order. What cannot be proven safe is not sent."""
