"""Guards of a UDP server against reflection and amplification (RFC 8085 section 3.1.11). Pure.

Time is counted in ticks of a second: ``tick`` starts the next one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from enum import StrEnum

from stretta.address import Endpoint, source_of

__all__ = ["DropReason", "Source", "SourceTable"]

LOOP = 64
"""One of so many replies to a source that equal their requests is dropped.

A loop through a foreign server consists of such replies, and ends there. A client sends again.
"""

LOOP_TICKS = 4
"""Seconds over which those replies are counted: a slower loop goes on, and is harmless."""

DEFAULT_RATE = 10_000
"""Datagrams a second from one source unless an option says otherwise; loopback has no limit."""

MOST_EXCESS = 1 << 20
"""Bytes a second by which the replies to one source may be longer than its requests."""

MOST_SOURCES = 65_536
FIRST_USER_PORT = 1024


class DropReason(StrEnum):
    """Why a datagram gets no reply; the value is the name in ``counts``."""

    REFLECTION = "loops"
    SERVER_PORT = "low_ports"
    RATE = "too_fast"
    AMPLIFICATION = "amplified"
    PENDING = "too_many"
    SERVICE = "failed"
    SIZE = "too_long"
    UNSENT = "unsent"


TEXTS = {
    DropReason.REFLECTION: "its datagrams look like our own replies",
    DropReason.RATE: "it sends faster than one source may",
    DropReason.AMPLIFICATION: "the replies to it are too much longer than its requests",
}


class Source:
    """A sender of datagrams in the current tick.

    ``network`` is what limits count, ``most`` its datagrams a second (None: no limit), ``refusal``
    the reason why it gets no reply at all, if there is one.
    """

    __slots__ = ("is_loopback", "most", "network", "port", "refusal")

    def __init__(
        self, host: str, port: int, most: int | None, refusal: str | None, prefix: int = 64
    ) -> None:
        self.network, self.port = source_of(host, prefix), port
        self.most, self.refusal = most, refusal
        self.is_loopback = Endpoint.from_sockaddr((host, port)).is_loopback


class SourceTable:
    """The senders of the current tick, and how much each has sent and got; of bounded size.

    ``known`` maps a key for the sender's address to its Source; ``max_rate`` is an option's value;
    ``breaks_loops`` is false for a service whose replies all equal their requests; ``prefix`` bits
    of an IPv6 address make one source.
    """

    def __init__(
        self, own_port: int, max_rate: int | None, *, breaks_loops: bool, prefix: int = 64
    ) -> None:
        self.known: dict[Hashable, Source] = {}
        self.breaks_loops = breaks_loops
        self._own_port, self._max_rate, self._prefix = own_port, max_rate, prefix
        self._rates: Counter[str] = Counter()
        self._excess: Counter[str] = Counter()
        self._unchanged: Counter[tuple[str, int]] = Counter()
        self._ticks = 0

    def tick(self) -> None:
        """Start the next second."""
        self.known.clear()
        self._rates.clear()
        self._excess.clear()
        self._ticks += 1
        if self._ticks % LOOP_TICKS == 0:
            self._unchanged.clear()

    def add(self, key: Hashable, host: str, port: int) -> Source:
        """Return a new Source for the first datagram of a sender in this tick."""
        most, refusal = self._max_rate, None
        if port < FIRST_USER_PORT or port == self._own_port:
            refusal = f"port {port} is a server's, not a client's"
        source = Source(host, port, most, refusal, self._prefix)
        if most is None and not source.is_loopback:
            source.most = DEFAULT_RATE
        if len(self.known) >= MOST_SOURCES:  # a flood from everywhere
            self.known.clear()
        self.known[key] = source
        return source

    def has_room(self, source: Source, count: int) -> bool:
        """Return whether a source may send ``count`` more datagrams in this tick."""
        if source.most is None:
            return True
        if len(self._rates) >= MOST_SOURCES and source.network not in self._rates:
            self._rates.clear()  # nobody in such a flood gets more than a datagram or two
        return self._rates[source.network] + count <= source.most

    def count(self, source: Source, count: int) -> None:
        """Count datagrams that a source has sent."""
        if source.most is not None:
            self._rates[source.network] += count

    def refuses_reply(self, source: Source, request: bytes, reply: bytes) -> DropReason | None:
        """Count a reply, and return why it must not be sent, if there is a reason."""
        if reply == request:
            return DropReason.REFLECTION if self._is_loop(source) else None
        excess = len(reply) - len(request)
        if excess > 0 and source.most is not None:
            if len(self._excess) >= MOST_SOURCES:
                self._excess.clear()
            if self._excess[source.network] + excess > MOST_EXCESS:
                return DropReason.AMPLIFICATION
            self._excess[source.network] += excess
        return None

    def _is_loop(self, source: Source) -> bool:
        if not self.breaks_loops:
            return False
        if len(self._unchanged) >= MOST_SOURCES:
            self._unchanged.clear()
        sender = source.network, source.port
        self._unchanged[sender] += 1
        if self._unchanged[sender] < LOOP:
            return False
        self._unchanged[sender] = 0
        return True
