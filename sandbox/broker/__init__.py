"""The stand-in broker: one cash account, its orders and its book, as Alpaca shows them."""
