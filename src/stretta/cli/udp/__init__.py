"""The commands udp client and udp server."""
