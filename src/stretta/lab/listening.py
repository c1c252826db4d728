"""Whether somebody listens, asked of the kernel (proc_net(5))."""

from __future__ import annotations

__all__ = ["listens"]

LISTEN = "0A"
"""The TCP state of a listening socket."""


def listens(tcp: str, udp: str) -> bool:
    """Return whether the tables hold a listening TCP socket or a bound UDP one.

    ``tcp`` and ``udp`` are the texts of /proc/net/tcp or tcp6, and udp or udp6.
    """
    for row in tcp.splitlines()[1:]:
        if row.split(maxsplit=4)[3] == LISTEN:
            return True
    return len(udp.splitlines()) > 1
