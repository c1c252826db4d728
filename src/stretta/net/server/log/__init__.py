"""Log output that never blocks a server."""
