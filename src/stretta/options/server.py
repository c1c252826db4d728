"""What the servers grant their peers."""

from __future__ import annotations

from dataclasses import dataclass

from stretta.options.declare import option

__all__ = ["ConnectionLimits", "DatagramLimits", "HttpLimits", "StreamLimits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """What one server grants its connections, whatever is spoken over them."""

    max_connections: int | None = option(
        None,
        "connections at once; more are refused; the smaller of 8192 and the descriptors allowed"
        " less 192 unless given",
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
        zero=True,
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
        500,
        "slowest that a request's body may arrive",
        unit="bytes per second",
        kind=int,
        zero=True,
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
        1_048_576,
        "longest body that a service is given; longer gets 413",
        unit="bytes",
        kind=int,
        zero=True,
    )
    max_discard: int = option(
        65_536,
        "longest body that is thrown away where none is wanted; longer gets 413",
        unit="bytes",
        kind=int,
        zero=True,
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
        zero=True,
    )
