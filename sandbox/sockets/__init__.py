"""What vendors and broker say on their sockets as the clock moves."""
