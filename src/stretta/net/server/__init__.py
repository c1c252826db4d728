"""Listening sockets, connection lifecycle, datagram service, worker processes."""
