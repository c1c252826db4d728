"""Whether a host has a listening socket, from the kernel's tables (proc_net(5))."""

from __future__ import annotations

__all__ = ["has_listener"]

LISTEN = "0A"
"""The TCP state of a listening socket."""


def has_listener(tcp: str, udp: str) -> bool:
    """Return whether the tables hold a listening TCP socket or a bound UDP socket.

    ``tcp`` and ``udp`` are the texts of /proc/net/tcp or tcp6, and of udp or udp6.
    """
    for row in tcp.splitlines()[1:]:
        if row.split(maxsplit=4)[3] == LISTEN:
            return True
    return len(udp.splitlines()) > 1
