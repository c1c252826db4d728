"""Datagrams besides their data: ancillary data, guards against misuse, multicast groups."""
