"""Sending a request: over a pooled or a new connection, again after a failure, along redirects.

Written once, as coroutines over a ``Network``; ``run_now`` runs them where the calls block.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from stretta.errors import InvalidReply, NetworkError
from stretta.http.client.connection_pool import ConnectionPool, Key, pool_key
from stretta.http.client.connector import Connector
from stretta.http.client.exchange import Exchange, Stopwatch
from stretta.http.client.exchange_state import Phases
from stretta.http.client.reports import Redirected, Reusing
from stretta.http.client.request import ClientRequest
from stretta.http.client.request_body import body_start, rewind
from stretta.http.client.retry import Attempt, is_retried, not_retried
from stretta.net.client.channel.interface import Channel, Timer
from stretta.options.http_client import HttpClientLimits, HttpPatience
from stretta.reports import Observer

__all__ = ["RequestSender"]

MAX_DRAINED = 64 * 1024
"""Bytes of a redirect's body that are read to keep its connection."""

MAX_DRAIN_TIME = 1.0
"""Seconds that reading them may take; a new connection costs less than a longer wait."""


class RequestSender:
    """Sends the requests of one client, and keeps its idle connections in ``pool``.

    ``follow``: follow redirects; ``decode``: decode compressed bodies; ``clock`` returns seconds.
    """

    def __init__(
        self,
        connector: Connector,
        *,
        patience: HttpPatience,
        limits: HttpClientLimits,
        follow: bool = False,
        decode: bool = True,
        watch: Observer | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = limits
        self.pool: ConnectionPool[Channel] = ConnectionPool()
        self._closed = False
        self._connector = connector
        self._patience = patience
        self._follow = follow
        self._decode = decode
        self._watch = watch
        self._clock = clock

    async def send(self, request: ClientRequest) -> Exchange:
        """Send a request and return the exchange when its final head has arrived.

        With ``follow``, the exchange is that of the last redirect's target. Raises NetworkError,
        TimedOut, InvalidReply, ReplyEndedEarly, UsageError.
        """
        timer = Timer(self._patience.idle_timeout, self._patience.timeout, self._clock)
        start = body_start(request.body, request.size)
        history: list[Exchange] = []
        while True:
            exchange = await self._send_once(request, timer, start)
            exchange.history = tuple(history)
            if not self._follow:
                return exchange
            from stretta.http.client.redirect import redirected  # noqa: PLC0415 - with follow only

            try:
                target = redirected(request, exchange.head)
                if target is None:
                    return exchange
                history.append(exchange)
                if len(history) > self.limits.max_redirects:
                    raise InvalidReply(
                        f"too many redirects from {history[0].request.url}",
                        f"after {self.limits.max_redirects} another one leads to {target.url}",
                        "Allow more with --max-redirects N.",
                    )
                drain_timer = Timer(MAX_DRAIN_TIME, MAX_DRAIN_TIME, self._clock)
                await exchange.drain(drain_timer, MAX_DRAINED)
                if self._watch is not None:
                    self._watch(Redirected(exchange.head.status, str(target.url)))
                rewind(target.body, start)
            except BaseException:
                exchange.abort()
                raise
            request = target

    def close(self) -> None:
        """Close the idle connections; from now on none is kept."""
        self._closed = True
        for channel in self.pool.clear():
            channel.close()

    async def _send_once(self, request: ClientRequest, timer: Timer, start: int | None) -> Exchange:
        """Send a request without following redirects."""
        stopwatch = Stopwatch(self._clock, self._watch)
        proxy = self._connector.proxy_for(request.url)
        key = pool_key(request.url, proxy)
        if proxy is not None and request.url.scheme == "http":
            request = replace(request, proxy=proxy)
        # the peer may close an idle connection; a body that can be read only once takes a new one
        channel = None if start is None else self._take_idle(key)
        if channel is not None:
            exchange = self._exchange(request, channel, timer, Phases(), stopwatch, key)
            try:
                await exchange.begin(Reusing(channel.peer))
            except (NetworkError, InvalidReply) as error:
                state = exchange.state
                attempt = Attempt(
                    request.method,
                    reused=True,
                    bytes_sent=state.bytes_sent,
                    reply_began=state.parser.started,
                )
                if not is_retried(attempt):
                    raise not_retried(attempt, error) from None
                rewind(request.body, start)
            else:
                return exchange
        phases = Phases()
        channel = await self._connector.connect(request.url, proxy, timer, phases, stopwatch)
        exchange = self._exchange(request, channel, timer, phases, stopwatch, key)
        await exchange.begin()
        return exchange

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
            keep = reusable and not self._closed
            surplus = self.pool.put(key, channel) if keep else channel
            if surplus is not None:
                surplus.close()

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
        """Return an idle connection that the peer has not closed, None if there is none."""
        while (channel := self.pool.take(key)) is not None:
            if channel.is_quiet():
                return channel
            channel.close()
        return None
