"""One module per broker; nothing outside this folder knows a broker's formats."""
