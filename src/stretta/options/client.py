"""The TCP and the UDP client: the server's address, time-outs."""

from __future__ import annotations

from stretta.options.declare import Options, option
from stretta.options.endpoint import check_host, check_port

__all__ = ["ClientEndpoint", "DatagramPatience", "Interaction", "StreamPatience"]


class ClientEndpoint(Options):
    """The server that a TCP or UDP client talks to."""

    group = "Connection"

    address: str = option(
        "127.0.0.1", "server's IPv4 address, IPv6 address or name", unit="address", short="a",
        variable="STRETTA_CLIENT_ADDRESS", check=check_host,
    )  # fmt: skip
    port: int = option(
        12000, "server's port, in 1024..65535", unit="n", short="p", kind=object,
        variable="STRETTA_CLIENT_PORT",
    )  # fmt: skip
    any_port: bool = option(default=False, words="accept ports 0..65535, not only 1024..65535")

    def __post_init__(self) -> None:
        """Check the port."""
        check_port(self)


class Interaction(Options):
    """How a TCP client asks."""

    group = "Connection"

    interactive: bool = option(
        default=False, words="ask for one sentence after the other, over one connection", short="i",
        variable="",
    )  # fmt: skip


class StreamPatience(Options):
    """The time-outs of a TCP client."""

    connect_timeout: float = option(
        10.0, "longest wait for one address to accept the connection", unit="seconds"
    )
    timeout: float | None = option(
        None,
        "longest time without progress in sending or receiving; no limit unless given",
        unit="seconds", variable="STRETTA_TCP_CLIENT_TIMEOUT", common=True,
    )  # fmt: skip


class DatagramPatience(Options):
    """The time-out and the retransmissions of a UDP client."""

    timeout: float = option(
        1.0, "wait for a reply before sending again", unit="seconds",
        variable="STRETTA_UDP_CLIENT_TIMEOUT", common=True,
    )  # fmt: skip
    retries: int = option(
        3, "how often an unanswered datagram is sent again", kind=int, zero=True, common=True
    )
    max_reply: int = option(
        65_535,
        "longest reply that is accepted; a longer one is an error",
        unit="bytes",
        kind=int,
    )
