"""One module a broker; nothing outside this folder knows a broker's formats."""
