"""The vendors' REST interfaces over the tape."""
