"""Admission of connections: one limit for all together, and one for each source. Pure."""

from __future__ import annotations

from collections import Counter

from stretta.address import Endpoint, source_of

__all__ = ["Admission"]

DEFAULT_PER_SOURCE = 256
"""Connections from one source unless an option says otherwise; loopback then has no limit."""


class Admission:
    """Counts open connections, and refuses those above a limit.

    ``most`` is the limit for all together, ``per_source`` the one for a source (``source_of``:
    an IPv4 address, or an IPv6 network of ``prefix`` bits).
    """

    def __init__(self, most: int, per_source: int | None, prefix: int = 64) -> None:
        self.most, self._prefix = most, prefix
        self._spares_loopback = per_source is None
        self._per_source = per_source or DEFAULT_PER_SOURCE
        self._open = 0
        self._sources: Counter[str] = Counter()

    def enter(self, address: str) -> str | None:
        """Count a connection from ``address``; return why it has to be refused, or None.

        A refused connection counts too, until ``leave()``.
        """
        source = source_of(address, self._prefix)
        self._open += 1
        self._sources[source] += 1
        if self._open > self.most:
            return f"{self.most} connections are open already"
        if self._sources[source] > self._per_source and not (
            self._spares_loopback and Endpoint.from_sockaddr((address, 0)).is_loopback
        ):
            return f"{self._per_source} connections from its address are open already"
        return None

    def leave(self, address: str) -> None:
        """Forget a connection from ``address`` that has ended."""
        source = source_of(address, self._prefix)
        self._open -= 1
        self._sources[source] -= 1
        if not self._sources[source]:
            del self._sources[source]
