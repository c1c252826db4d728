"""Every option, declared once: its default, its unit, its words.

A field here is the library's keyword, the command's flag, the environment variable
(``STRETTA_`` and the flag in capitals) and the documentation's row.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "ConnectionLimits",
    "DatagramLimits",
    "DatagramPatience",
    "HttpClientLimits",
    "HttpLimits",
    "HttpPatience",
    "StreamLimits",
    "StreamPatience",
    "WireOptions",
]


def option(default: Any, words: str, *, unit: str = "", kind: type = float) -> Any:
    """Declare one option: its default, what it is for, its unit, and the type of its value."""
    return field(default=default, metadata={"words": words, "unit": unit, "kind": kind})


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
    retries: int = option(3, "how often an unanswered datagram is sent again", kind=int)
    max_reply: int = option(
        65_535,
        "longest reply that is taken whole; a longer one is an error",
        unit="bytes",
        kind=int,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """What one server grants its connections, whatever is spoken over them."""

    max_connections: int | None = option(
        None,
        "connections at once; more are refused; the smaller of 8192 and the descriptors allowed"
        " less 128 unless given",
        kind=int,
    )
    max_per_source: int | None = option(
        None,
        "connections at once from one address; 256 unless given, and no limit on loopback",
        kind=int,
    )
    backlog: int = option(
        4096, "connections that may wait for accept(), as the kernel allows", kind=int
    )
    idle_timeout: float = option(
        300.0, "silence after which a connection is closed", unit="seconds"
    )
    stall_timeout: float = option(
        30.0,
        "time without progress after which a peer that does not read is cut off",
        unit="seconds",
    )
    drain_timeout: float = option(
        30.0,
        "time that open conversations get to end when the server is stopped",
        unit="seconds",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpPatience:
    """How long an HTTP client waits."""

    connect_timeout: float = option(
        10.0, "longest wait for one address to accept the connection", unit="seconds"
    )
    idle_timeout: float = option(
        60.0, "longest wait for the server to take or send a byte", unit="seconds"
    )
    timeout: float | None = option(
        None,
        "longest time that the whole exchange may take, redirects included; no limit unless given",
        unit="seconds",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpClientLimits:
    """What an HTTP client takes from a server."""

    max_redirects: int = option(20, "redirects that are followed, one after the other", kind=int)
    max_size: int | None = option(
        None,
        "largest body; no limit unless given, but 1073741824 for one that was compressed or is"
        " kept in memory",
        unit="bytes",
        kind=int,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLimits(ConnectionLimits):
    """What one server grants its TCP connections."""

    max_line: int = option(65_536, "longest line that --framing line takes", unit="bytes", kind=int)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits(ConnectionLimits):
    """What one server grants its HTTP connections; the parser itself sets no limit."""

    idle_timeout: float = option(
        30.0, "silence after which a connection kept alive is closed", unit="seconds"
    )
    header_timeout: float = option(
        10.0, "time in which the whole head of a request must arrive", unit="seconds"
    )
    body_timeout: float = option(
        20.0, "longest silence in the middle of a request's body", unit="seconds"
    )
    body_rate: int = option(
        500, "slowest that a request's body may arrive", unit="bytes per second", kind=int
    )
    max_request_line: int = option(
        8192, "longest request line; longer gets 414", unit="bytes", kind=int
    )
    max_header: int = option(8192, "longest single header; longer gets 431", unit="bytes", kind=int)
    max_head: int = option(
        32_768,
        "all headers of a request, or all its trailers; more gets 431",
        unit="bytes",
        kind=int,
    )
    max_headers: int = option(100, "headers of one request, or trailers; more gets 431", kind=int)
    max_body: int = option(
        1_048_576, "longest body that a service is given; longer gets 413", unit="bytes", kind=int
    )
    max_discard: int = option(
        65_536,
        "longest body that is thrown away where none is wanted; longer gets 413",
        unit="bytes",
        kind=int,
    )
    max_requests: int = option(10_000, "requests over one connection; then it is closed", kind=int)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatagramLimits:
    """What one UDP server grants its peers."""

    max_rate: int | None = option(
        None,
        "datagrams a second answered to one address; 10000 unless given, and no limit on loopback",
        kind=int,
    )
    max_pending: int = option(
        1024, "datagrams that may wait for an async service at once; more are dropped", kind=int
    )
    drain_timeout: float = option(
        30.0,
        "time that an async service gets to answer when the server is stopped",
        unit="seconds",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WireOptions:
    """What the lab's wire does to frames; each value may begin with a direction, as in
    ``client>server 10%``, and without one holds for both (docs/lab.md has the language).
    """

    delay: tuple[str, ...] = option((), "time that a frame travels", unit="time", kind=str)
    jitter: tuple[str, ...] = option(
        (), "up to so much more, by chance, never out of order", unit="time", kind=str
    )
    rate: tuple[str, ...] = option((), "bits a second, as 1mbit", unit="rate", kind=str)
    loss: tuple[str, ...] = option((), "share of frames that are lost", unit="share", kind=str)
    duplicate: tuple[str, ...] = option(
        (), "share of frames, or the frames, that come twice", unit="frames", kind=str
    )
    reorder: tuple[str, ...] = option(
        (), "share of frames, or the frames, that the next one overtakes", unit="frames", kind=str
    )
    corrupt: tuple[str, ...] = option(
        (), "share of frames, or the frames, that get one bit wrong", unit="frames", kind=str
    )
    drop: tuple[str, ...] = option(
        (), "the frames that are lost, as syn-ack:1 or 'server>client data:2'", unit="frames",
        kind=str,
    )  # fmt: skip
    rst: tuple[str, ...] = option(
        (), "the frames in whose place both ends get a forged RST", unit="frames", kind=str
    )
    cut: tuple[str, ...] = option(
        (), "when the wire is unplugged, and plugged in again, as 3s or 1s-2s", unit="time",
        kind=str,
    )  # fmt: skip
    seed: int | None = option(
        None, "what chance begins with: the same seed, the same fates; random unless given",
        kind=int,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class LabOptions:
    """How a lab begins and ends."""

    ready_timeout: float = option(
        10.0,
        "longest wait for the server to listen; 0 starts the client at once",
        unit="seconds",
    )
    until: str = option(
        "client", "when the lab ends: client or server (has ended), or a time, as 5s", unit="end",
        kind=str,
    )  # fmt: skip
    quiet: float = option(
        0.3, "silence on the wire that the lab waits for before it ends", unit="seconds"
    )
