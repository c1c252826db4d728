"""The commands tcp client and tcp server."""
