"""How long the TCP and the UDP client wait."""

from __future__ import annotations

from dataclasses import dataclass

from stretta.options.declare import option

__all__ = ["DatagramPatience", "StreamPatience"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamPatience:
    """How long a TCP client waits."""

    connect_timeout: float = option(
        10.0, "longest wait for one address to accept the connection", unit="seconds"
    )
    timeout: float | None = option(
        None,
        "longest wait for the server to take or send a byte; no limit unless given",
        unit="seconds",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DatagramPatience:
    """How long a UDP client waits, and how often it repeats itself."""

    timeout: float = option(1.0, "wait for a reply before sending again", unit="seconds")
    retries: int = option(3, "how often an unanswered datagram is sent again", kind=int, zero=True)
    max_reply: int = option(
        65_535,
        "longest reply that is taken whole; a longer one is an error",
        unit="bytes",
        kind=int,
    )
