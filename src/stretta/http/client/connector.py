"""Opening a connection to a server: directly or through a proxy, with TLS where the URL asks."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable
from typing import Protocol

from stretta.address import Endpoint, parse_host
from stretta.errors import NetworkError, TimedOut, UsageError
from stretta.escape import one_line
from stretta.http.client.exchange import Exchange, Stopwatch
from stretta.http.client.exchange_state import Phases
from stretta.http.client.reports import Securing
from stretta.http.client.request import ClientRequest
from stretta.http.message.url import Url, parse_url
from stretta.net.client.channel.interface import Channel, Timer
from stretta.options.http_client import HttpPatience, HttpRoute
from stretta.reports import Connecting, LookedUp, Observer, Report

__all__ = ["Connector", "Network"]

SERVER = "stretta http server"


class Network(Protocol):
    """Opens TCP connections."""

    async def dial(
        self, host: str, port: int, *, timeout: float, server: str, family: int, watch: Observer
    ) -> Channel:
        """Return a channel to the first address of ``host`` that accepts the connection."""


class Connector:
    """Opens the connections of one client.

    ``family`` is AF_INET or AF_INET6 to use only such addresses, 0 for both; ``wrap`` is called
    with each new channel and returns the channel to use. The environment's proxies are read once.
    """

    def __init__(
        self,
        network: Network,
        *,
        patience: HttpPatience,
        route: HttpRoute,
        family: int,
        wrap: Callable[[Channel], Channel] | None,
    ) -> None:
        self._network = network
        self._connect_timeout = patience.connect_timeout
        self._route = route
        self._resolve = dict(map(_resolution, route.resolve))
        self._environ = dict(os.environ)
        self._has_proxies = route.proxy is not None or any(
            name.lower().endswith("_proxy") for name in self._environ
        )
        self._family = family
        self._wrap = wrap

    def proxy_for(self, url: Url) -> Url | None:
        """Return the proxy for a URL, None for a direct connection. Raises UsageError."""
        if not self._has_proxies:
            return None
        from stretta.http.client.proxy import proxy_for  # noqa: PLC0415 - most connect directly

        return proxy_for(url, self._route.proxy, self._environ)

    async def connect(
        self, url: Url, proxy: Url | None, timer: Timer, phases: Phases, stopwatch: Stopwatch
    ) -> Channel:
        """Return a new channel over which the server of ``url`` takes requests.

        Raises NetworkError and TimedOut.
        """
        try:
            channel = await self._dial(proxy or url, timer, phases, stopwatch)
        except (NetworkError, TimedOut) as error:
            if proxy is None:
                raise
            what = f"cannot reach the proxy {proxy.authority}"
            raise type(error)(what, error.why, "To connect without a proxy: --proxy ''") from None
        phases.connected = stopwatch.now()
        if proxy is not None and proxy.scheme == "https":
            channel = await self._secure(channel, proxy, timer, stopwatch)
        if url.scheme == "https":
            if proxy is not None:
                await self._tunnel(channel, url, proxy, timer, stopwatch)
            channel = await self._secure(channel, url, timer, stopwatch)
            phases.secured = stopwatch.now()
        return channel if self._wrap is None else self._wrap(channel)

    async def _dial(self, url: Url, timer: Timer, phases: Phases, stopwatch: Stopwatch) -> Channel:
        tried = False

        def watch(report: Report) -> None:
            nonlocal tried
            if isinstance(report, LookedUp):
                phases.looked_up = stopwatch.now()
            tried = tried or isinstance(report, Connecting)
            stopwatch.report(report)

        left = timer.left_in_all()
        timeout = self._connect_timeout
        host = self._resolve.get((url.host, url.port), url.host)
        try:
            return await self._network.dial(
                host,
                url.port,
                timeout=timeout if left is None else min(timeout, left),
                server=SERVER if url.scheme == "http" and _is_local(host) else "",
                family=self._family,
                watch=watch,
            )
        except TimedOut:
            timer.left_in_all()  # raises the error of the whole exchange's limit if that has passed
            raise
        except NetworkError:
            if self._family and not tried:
                kind = "IPv4" if self._family == socket.AF_INET else "IPv6"
                raise NetworkError(
                    f"cannot find {host}",
                    f"the name has no {kind} address",
                    "To use all addresses, leave out -4 and -6.",
                ) from None
            raise

    async def _secure(
        self, channel: Channel, url: Url, timer: Timer, stopwatch: Stopwatch
    ) -> Channel:
        from stretta.net.client.channel.tls import TlsChannel  # noqa: PLC0415 - plain HTTP needs no TLS
        from stretta.net.tls import client_context  # noqa: PLC0415

        try:
            context = client_context(
                self._route.tls_ca, insecure=self._route.insecure, alpn=("http/1.1",)
            )
        except BaseException:  # an authority that cannot be read
            channel.close()
            raise
        secure = await TlsChannel.open(channel, context, url.host.rstrip("."), timer)
        try:
            stopwatch.report(Securing(secure.secured))
        except BaseException:  # the observer raised
            secure.close()
            raise
        return secure

    async def _tunnel(
        self, channel: Channel, url: Url, proxy: Url, timer: Timer, stopwatch: Stopwatch
    ) -> None:
        """Ask the proxy for a tunnel to the server (RFC 9110 section 9.3.6)."""
        exchange = Exchange(
            ClientRequest(url=url, method="CONNECT", proxy=proxy),
            channel,
            timer,
            release=lambda channel, _: channel.close(),
            stopwatch=stopwatch,
        )
        await exchange.begin()
        head = exchange.head
        if not 200 <= head.status < 300 or exchange.parser.excess:
            channel.close()
            reply = one_line(f"{head.status} {head.reason}")
            raise NetworkError(
                f"cannot reach {url.host} port {url.port}",
                f"the proxy {proxy.authority} answered {reply}",
                "Give the proxy a name and password: --proxy http://USER:PASSWORD@HOST:PORT"
                if head.status == 407
                else "To connect without a proxy: --proxy ''",
            )


def _resolution(text: str) -> tuple[tuple[str, int], str]:
    """Return the host and port of a ``--resolve`` entry, and their address. Raises UsageError."""
    found = re.fullmatch(r"(\[[^]]+\]|[^:]+):(\d{1,5}):(.+)", text)
    if not found:
        raise UsageError(
            f"cannot use --resolve {text!r}",
            "it does not consist of host, port and address",
            "An entry looks like --resolve example.com:80:127.0.0.1",
        )
    url = parse_url(f"http://{found[1]}:{found[2]}")  # the same spelling as in the request's URL
    return (url.host, url.port), parse_host(found[3])


def _is_local(host: str) -> bool:
    return host == "localhost" or Endpoint(host, 0).is_loopback
