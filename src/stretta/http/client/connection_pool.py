"""The client's decisions: which connection, which retry, which redirect; blocking or not.

Written once, as coroutines over a ``Network``; ``run_now`` runs them where calls block.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from stretta.address import Endpoint, parse_host
from stretta.errors import InvalidReply, NetworkError, TimedOut, UsageError
from stretta.escape import one_line
from stretta.http.client.exchange import Exchange, Phases, Stopwatch
from stretta.http.client.reports import Redirected, Reusing, Securing
from stretta.http.client.request import ClientRequest
from stretta.http.message.url import Url, parse_url
from stretta.net.client.channel.interface import Channel, Timer
from stretta.options.http_client import HttpClientLimits, HttpPatience, HttpRoute
from stretta.reports import LookedUp, Observer, Report

__all__ = ["Core", "Network"]

SERVER = "stretta http server"

MOST_IDLE = 32
"""Connections to one server that wait for another request."""

MOST_DRAINED = 64 * 1024
"""Bytes of a redirect's body that are read so that its connection can serve again."""

REDIRECT_TIME = 1.0
"""Seconds that it may take; a new connection costs less than waiting longer."""

Key = tuple[str, str, int] | tuple[str, str, int, str, str, int]


class Network(Protocol):
    """How connections are made."""

    async def dial(
        self, host: str, port: int, *, timeout: float, server: str, family: int, watch: Observer
    ) -> Channel:
        """Return a channel to the first address of ``host`` that answers."""


class Core:
    """What a client is made of; its connections wait in ``idle`` for the next request."""

    def __init__(
        self,
        network: Network,
        *,
        patience: HttpPatience | None = None,
        limits: HttpClientLimits | None = None,
        route: HttpRoute | None = None,
        family: int = 0,
        follow: bool = False,
        decode: bool = True,
        watch: Observer | None = None,
        wrap: Callable[[Channel], Channel] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.patience = patience or HttpPatience()
        self.limits = limits or HttpClientLimits()
        self.idle: dict[Key, list[Channel]] = {}
        self._network = network
        self._route = route or HttpRoute()
        self._resolve = dict(map(_resolution, self._route.resolve))
        self._environ = dict(os.environ)  # what a request obeys does not change under it
        self._proxied = any(name.lower().endswith("_proxy") for name in self._environ)
        self._family = family
        self._follow = follow
        self._decode = decode
        self._watch = watch
        self._wrap = wrap
        self._clock = clock

    async def open(self, request: ClientRequest) -> Exchange:
        """Send a request and return the exchange once its final head has come.

        Redirects are followed, and their bodies thrown away, where that was asked for. Raises
        NetworkError, TimedOut, InvalidReply, ReplyEndedEarly, UsageError.
        """
        timer = Timer(self.patience.idle_timeout, self.patience.timeout, self._clock)
        start = (
            None
            if isinstance(request.body, bytes) or request.size is None
            else (request.body.tell())
        )
        history: list[Exchange] = []
        while True:
            exchange = await self._one(request, timer, start)
            exchange.history = tuple(history)
            if not self._follow:
                return exchange
            from stretta.http.client.redirect import redirected  # noqa: PLC0415 - only who follows needs it

            following = redirected(request, exchange.head)
            if following is None:
                return exchange
            most = Timer(REDIRECT_TIME, REDIRECT_TIME, self._clock)
            await exchange.drain(most, MOST_DRAINED)
            history.append(exchange)
            if len(history) > self.limits.max_redirects:
                raise InvalidReply(
                    f"{history[0].request.url} leads nowhere",
                    f"{self.limits.max_redirects} redirects, and then another to {following.url}",
                    "Allow more with --max-redirects N.",
                )
            if self._watch is not None:
                self._watch(Redirected(exchange.head.status, str(following.url)))
            request = following
            _rewind(request, start)

    def close(self) -> None:
        """Close every connection that is at rest."""
        while self.idle:
            for channel in self.idle.popitem()[1]:
                channel.close()

    async def _one(self, request: ClientRequest, timer: Timer, start: int | None) -> Exchange:
        """Do one exchange, over a connection at rest if there is one."""
        stopwatch = Stopwatch(self._clock, self._watch)
        proxy = self._proxy_for(request.url)
        key: Key = request.url.origin
        if proxy is not None and request.url.scheme == "http":
            key, request = proxy.origin, replace(request, proxy=proxy)
        elif proxy is not None:
            key = (*proxy.origin, *key)
        # a connection at rest may be closed as we send: what cannot be sent twice takes a new one
        once = start is None and not isinstance(request.body, bytes)
        channel = None if once else self._take_idle(key)
        if channel is not None:
            stopwatch.tell(Reusing(channel.peer))
            exchange = self._exchange(request, channel, timer, Phases(), stopwatch, key)
            try:
                await exchange.begin()
            except (NetworkError, InvalidReply):
                # closed as we sent and nothing came: nobody has heard us, as curl sees it too
                if exchange.reader.started:
                    raise
                _rewind(request, start)
            else:
                return exchange
        phases = Phases()
        channel = await self._connect(request.url, proxy, timer, phases, stopwatch)
        exchange = self._exchange(request, channel, timer, phases, stopwatch, key)
        await exchange.begin()
        return exchange

    def _proxy_for(self, url: Url) -> Url | None:
        if self._route.proxy is None and not self._proxied:
            return None
        from stretta.http.client.proxy import proxy_for  # noqa: PLC0415 - most go without

        return proxy_for(url, self._route.proxy, self._environ)

    def _exchange(
        self,
        request: ClientRequest,
        channel: Channel,
        timer: Timer,
        phases: Phases,
        stopwatch: Stopwatch,
        key: Key,
    ) -> Exchange:
        def release(channel: Channel, reusable: bool) -> None:  # noqa: FBT001 - a callback
            waiting = self.idle.setdefault(key, [])
            if reusable and len(waiting) < MOST_IDLE:
                waiting.append(channel)
            else:
                channel.close()

        return Exchange(
            request,
            channel,
            timer,
            release=release,
            phases=phases,
            stopwatch=stopwatch,
            max_size=self.limits.max_size,
            decode=self._decode,
        )

    def _take_idle(self, key: Key) -> Channel | None:
        waiting = self.idle.get(key, [])
        while waiting:
            channel = waiting.pop()
            if channel.is_quiet():
                return channel
            channel.close()
        return None

    # a new connection

    async def _connect(
        self, url: Url, proxy: Url | None, timer: Timer, phases: Phases, stopwatch: Stopwatch
    ) -> Channel:
        """Return a channel over which the server of ``url`` takes requests."""
        try:
            channel = await self._dial(proxy or url, timer, phases, stopwatch)
        except (NetworkError, TimedOut) as error:
            if proxy is None:
                raise
            what = f"cannot reach the proxy {proxy.authority}"
            raise type(error)(what, error.why, "To go without it: --proxy ''") from None
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
        def watch(report: Report) -> None:
            if isinstance(report, LookedUp):
                phases.looked_up = stopwatch.now()
            stopwatch.tell(report)

        left = timer.left_in_all()
        timeout = self.patience.connect_timeout
        host = self._resolve.get((url.host, url.port), url.host)
        try:
            return await self._network.dial(
                host,
                url.port,
                timeout=timeout if left is None else min(timeout, left),
                server=SERVER if url.scheme == "http" and _is_here(host) else "",
                family=self._family,
                watch=watch,
            )
        except TimedOut:
            timer.left_in_all()  # says so where it was the whole exchange's limit
            raise
        except NetworkError as error:
            if self._family and error.what == f"cannot find {host}":
                kind = "IPv4" if self._family == socket.AF_INET else "IPv6"
                raise NetworkError(
                    error.what, f"no {kind} address is known for it", "To try all: without -4 or -6"
                ) from None
            raise

    async def _secure(
        self, channel: Channel, url: Url, timer: Timer, stopwatch: Stopwatch
    ) -> Channel:
        from stretta.net.client.channel.tls import TlsChannel  # noqa: PLC0415 - plain HTTP needs no TLS
        from stretta.net.tls import client_context  # noqa: PLC0415

        context = client_context(
            self._route.tls_ca, insecure=self._route.insecure, alpn=("http/1.1",)
        )
        secure = await TlsChannel.open(channel, context, url.host.rstrip("."), timer)
        stopwatch.tell(Securing(secure.secured))
        return secure

    async def _tunnel(
        self, channel: Channel, url: Url, proxy: Url, timer: Timer, stopwatch: Stopwatch
    ) -> None:
        """Have the proxy connect us to the server (RFC 9110 section 9.3.6)."""
        request = ClientRequest(url=url, method="CONNECT", proxy=proxy)
        exchange = Exchange(
            request,
            channel,
            timer,
            release=lambda channel, _: channel.close(),
            stopwatch=stopwatch,
        )
        await exchange.begin()
        head = exchange.head
        if not 200 <= head.status < 300 or exchange.reader.excess:
            channel.close()
            hint = "Give it your name: --proxy http://USER:PASSWORD@HOST:PORT"
            raise NetworkError(
                f"cannot reach {url.host} port {url.port}",
                f"the proxy {proxy.authority} answered {one_line(f'{head.status} {head.reason}')}",
                hint if head.status == 407 else "To go without it: --proxy ''",
            )


def _resolution(text: str) -> tuple[tuple[str, int], str]:
    """Return whose address ``--resolve`` gives, and the address. Raises UsageError."""
    found = re.fullmatch(r"(\[[^]]+\]|[^:]+):(\d{1,5}):(.+)", text)
    if not found:
        raise UsageError(
            f"cannot use --resolve {text!r}", "", "It looks like --resolve example.com:80:127.0.0.1"
        )
    url = parse_url(f"http://{found[1]}:{found[2]}")  # so that it is spelled as URLs' hosts are
    return (url.host, url.port), parse_host(found[3])


def _is_here(host: str) -> bool:
    return host == "localhost" or Endpoint(host, 0).is_loopback


def _rewind(request: ClientRequest, start: int | None) -> None:
    """Go back to where the body begins, to send it again. Raises UsageError where that is past."""
    if isinstance(request.body, bytes):
        return
    if start is None:
        raise UsageError(
            "the request cannot be sent a second time",
            "its body came from a pipe, and is gone",
            "Put it in a file and give that: -d @FILE",
        )
    request.body.seek(start)
