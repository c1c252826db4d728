"""The limits of the servers: connections, times, sizes."""

from __future__ import annotations

from stretta.options.declare import Options, option

__all__ = ["ConnectionLimits", "DatagramLimits", "HttpLimits", "StreamLimits"]


class ConnectionLimits(Options):
    """The limits of a server's connections, whatever their protocol."""

    max_connections: int | None = option(
        None,
        "connections at once; more are refused; unless given, the smaller of 8192 and the limit on"
        " open files less 192 (half of that limit, if it is more)",
        kind=int,
    )
    max_per_source: int | None = option(
        None,
        "connections at once from one source; 256 unless given, and no limit on loopback",
        kind=int,
    )
    source_prefix: int = option(
        64, "bits of an IPv6 address that make one source", kind=int, most=128
    )
    backlog: int = option(
        4096, "connections that may wait for accept(); the kernel may allow fewer", kind=int
    )
    idle_timeout: float = option(
        300.0, "time without a byte after which a connection is closed", unit="seconds",
        variable="STRETTA_TCP_SERVER_IDLE_TIMEOUT",
    )  # fmt: skip
    stall_timeout: float = option(
        30.0,
        "time without progress after which the connection of a peer that does not read is reset",
        unit="seconds",
    )
    drain_timeout: float = option(
        30.0,
        "time for open conversations to end when the server stops",
        unit="seconds",
        zero=True,
    )


class StreamLimits(ConnectionLimits):
    """The limits of a TCP server's connections."""

    max_line: int = option(65_536, "longest line for --framing line", unit="bytes", kind=int)


class HttpLimits(ConnectionLimits):
    """The limits of an HTTP server's connections; the parser itself sets none."""

    idle_timeout: float = option(
        30.0, "time without a request after which a kept-alive connection is closed",
        unit="seconds", variable="STRETTA_HTTP_SERVER_IDLE_TIMEOUT",
    )  # fmt: skip
    header_timeout: float = option(
        10.0, "longest time for the head of a request to arrive", unit="seconds"
    )
    body_timeout: float = option(
        20.0, "longest time without a byte of a request's body", unit="seconds"
    )
    body_rate: int = option(
        500,
        "slowest rate at which a request's body may arrive",
        unit="bytes per second",
        kind=int,
        zero=True,
    )
    max_request_line: int = option(
        8192, "longest request line; a longer one gets 414", unit="bytes", kind=int
    )
    max_header: int = option(
        8192, "longest single header; a longer one gets 431", unit="bytes", kind=int
    )
    max_head: int = option(
        32_768,
        "all headers of a request, or all its trailers; more get 431",
        unit="bytes",
        kind=int,
    )
    max_headers: int = option(
        100, "number of headers of a request, or of trailers; more get 431", kind=int
    )
    max_body: int = option(
        1_048_576,
        "longest request body for a service; a longer one gets 413",
        unit="bytes",
        kind=int,
        zero=True,
    )
    max_discard: int = option(
        65_536,
        "longest request body that is discarded where none is used; a longer one gets 413",
        unit="bytes",
        kind=int,
        zero=True,
    )
    max_requests: int = option(
        10_000, "requests over one connection, after which it is closed", kind=int
    )


class DatagramLimits(Options):
    """The limits of a UDP server."""

    max_rate: int | None = option(
        None,
        "datagrams answered to one source in a second; 10000 unless given, and no limit on"
        " loopback",
        kind=int,
    )
    source_prefix: int = option(
        64, "bits of an IPv6 address that make one source", kind=int, most=128
    )
    max_pending: int = option(
        1024, "datagrams that may wait for an async service; more are dropped", kind=int
    )
    drain_timeout: float = option(
        30.0,
        "time for open conversations to end when the server stops",
        unit="seconds",
        zero=True,
    )
