"""The HTTP client: the request, the file, time-outs, limits, the route."""

from __future__ import annotations

from typing import Literal

from stretta.options.declare import Options, option
from stretta.options.trust import ClientTrust

__all__ = [
    "HttpClientLimits",
    "HttpPatience",
    "HttpRequestOptions",
    "HttpResponseOptions",
    "HttpRoute",
]


class HttpRequestOptions(Options):
    """The request that an HTTP client sends."""

    group = "Request"

    method: str | None = option(
        None, "method; GET unless given, or POST with -d", unit="word", kind=str, short="X",
        variable="",
    )  # fmt: skip
    header: tuple[str, ...] = option(
        (), "header field to add or replace; an empty value removes it",
        unit="'name: value'", short="H", secret=True,
    )  # fmt: skip
    data: str | None = option(
        None, "body to send: the text, a file's bytes, or standard input", unit="text|@file|-",
        kind=str, short="d", variable="",
    )  # fmt: skip
    auth: str | None = option(
        None, "user name and password; without a colon, prompts for the password",
        unit="user:password", kind=str, variable="", secret=True, common=True,
    )  # fmt: skip
    http: Literal["1.0", "1.1"] = option(
        "1.1", "HTTP version; 1.0 sends the lecture's request", choices=("1.0", "1.1")
    )
    compressed: bool | None = option(
        None, "request a compressed body; the default unless it is saved", kind=bool,
        negatable=True,
    )  # fmt: skip
    follow: bool = option(default=False, words="follow redirects", negatable=True, common=True)
    only_ipv4: bool = option(
        default=False, words="use IPv4 addresses only", flag="", short="4", group="Connection"
    )
    only_ipv6: bool = option(
        default=False, words="use IPv6 addresses only", flag="", short="6", group="Connection"
    )


class HttpResponseOptions(Options):
    """Where the response goes, and what is printed of it."""

    group = "Files"

    output: str | None = option(
        None, "file to save the body in, once it is complete; - is standard output", unit="file",
        kind=str, short="o", variable="",
    )  # fmt: skip
    remote_name: bool = option(
        default=False, words="save under the name from the server or the URL; never over a file",
        short="O", variable="",
    )  # fmt: skip
    resume: bool = option(
        default=False, words="resume an earlier -o or -O", flag="--continue",
        short="c", variable="",
    )  # fmt: skip
    har: str | None = option(
        None, "file to write the exchanges to, in HAR format", unit="file", kind=str, variable=""
    )
    verbose: int = option(
        0, "show times and directions; -vv shows each read and write too", kind=int, zero=True,
        most=100, short="v", counts=True, group="Output", variable="",
    )  # fmt: skip
    show_secrets: bool = option(
        default=False, words="show passwords, Authorization and Cookie of the request",
        group="Output", variable="",
    )  # fmt: skip
    curl: bool = option(
        default=False, words="print the equivalent curl command and send nothing",
        group="Output", variable="",
    )  # fmt: skip


class HttpPatience(Options):
    """The time-outs of an HTTP client."""

    connect_timeout: float = option(
        10.0, "longest wait for one address to accept the connection", unit="seconds"
    )
    idle_timeout: float = option(
        60.0, "longest time without progress in sending or receiving", unit="seconds",
        variable="STRETTA_HTTP_CLIENT_IDLE_TIMEOUT",
    )  # fmt: skip
    timeout: float | None = option(
        None,
        "longest time for the whole exchange, redirects included; no limit unless given",
        unit="seconds", variable="STRETTA_HTTP_CLIENT_TIMEOUT", common=True,
    )  # fmt: skip


class HttpClientLimits(Options):
    """What an HTTP client accepts from a server."""

    max_redirects: int = option(20, "redirects to follow, one after the other", kind=int, zero=True)
    max_size: int | None = option(
        None,
        "largest body; no limit unless given, but 1 GiB for a compressed body, 256 MiB for one in"
        " memory (library), 32 MiB with --json",
        unit="bytes",
        kind=int,
    )


class HttpRoute(ClientTrust):
    """The route of an HTTP client to a server, and the certificates that it trusts."""

    proxy: str | None = option(
        None,
        "proxy, as http://127.0.0.1:3128, or '' for none; unless given, the variables http_proxy,"
        " https_proxy, all_proxy and no_proxy hold",
        unit="url", kind=str, group="Connection", secret=True,
    )  # fmt: skip
    resolve: tuple[str, ...] = option(
        (), "address to use for a host and port instead of looking it up",
        unit="host:port:address", kind=str, group="Connection",
    )  # fmt: skip
