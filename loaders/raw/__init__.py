"""How rows get into raw: landing with coverage, and the instruments that a vendor has."""
