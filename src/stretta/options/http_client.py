"""How long the HTTP client waits, and what it takes at most."""

from __future__ import annotations

from dataclasses import dataclass

from stretta.options.declare import option
from stretta.options.trust import ClientTrust

__all__ = ["HttpClientLimits", "HttpPatience", "HttpRoute"]


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

    max_redirects: int = option(
        20, "redirects that are followed, one after the other", kind=int, zero=True
    )
    max_size: int | None = option(
        None,
        "largest body; no limit unless given, but 1073741824 for one that was compressed or is"
        " kept in memory",
        unit="bytes",
        kind=int,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRoute(ClientTrust):
    """Which way an HTTP client goes to a server, and whom it trusts there."""

    proxy: str | None = option(
        None,
        "proxy to go through, as http://127.0.0.1:3128, or '' for none; http_proxy, https_proxy,"
        " all_proxy and no_proxy tell unless given",
        unit="url",
        kind=str,
    )
    resolve: tuple[str, ...] = option(
        (), "address to use for a host's port instead of looking it up", unit="host:port:address",
        kind=str,
    )  # fmt: skip
