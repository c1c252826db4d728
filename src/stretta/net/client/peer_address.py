"""The address at the other end of a connected socket."""

from __future__ import annotations

from typing import Any, Protocol

from stretta.address import Endpoint

__all__ = ["peer_address"]


class HasPeer(Protocol):
    """A socket, or what behaves as one."""

    def getpeername(self) -> Any:
        """Return the address at the other end, as the kernel writes it."""


def peer_address(sock: HasPeer) -> Endpoint:
    """Return the address at the other end."""
    try:
        return Endpoint.from_sockaddr(sock.getpeername())
    except OSError:  # reset before we could ask
        return Endpoint("?", 0)
