"""Addresses and ports as options."""

from __future__ import annotations

from typing import Any

from stretta.address import ANY_PORT, USER_PORTS, parse_host, parse_port
from stretta.options.declare import Options, option

__all__ = ["ServerEndpoint", "WebEndpoint", "check_host", "check_port"]


def check_host(text: str) -> str:
    """Return an address without its brackets, or a name. Raises UsageError."""
    return parse_host(text)


def check_port(options: Any) -> None:
    """Turn the port of an endpoint into a number. Raises PortError when it is out of range."""
    allowed = ANY_PORT if options.any_port else USER_PORTS
    options.__dict__["port"] = parse_port(str(options.port), allowed)


class ServerEndpoint(Options):
    """Where a TCP or UDP server listens."""

    group = "Connection"

    address: str = option(
        "0.0.0.0",  # noqa: S104 - the lecture's default
        "address to listen on: IPv4, IPv6 or a name; :: accepts both", unit="address", short="a",
        variable="STRETTA_SERVER_ADDRESS", check=check_host,
    )  # fmt: skip
    port: int = option(
        12000, "port to listen on, in 1024..65535", unit="n", short="p", kind=object,
        variable="STRETTA_SERVER_PORT",
    )  # fmt: skip
    any_port: bool = option(default=False, words="accept ports 0..65535, not only 1024..65535")

    def __post_init__(self) -> None:
        """Check the port."""
        check_port(self)


class WebEndpoint(ServerEndpoint):
    """Where an HTTP server listens."""

    port: int = option(
        8080, "port to listen on, in 1024..65535", unit="n", short="p", kind=object, variable="PORT"
    )
