"""The client's decisions: which connection, which retry, which redirect; blocking or not.

Written once, as coroutines over a ``Network``; see stretta.net.channel for how they also block.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from stretta.address import Endpoint
from stretta.errors import InvalidReply, NetworkError, UsageError
from stretta.http.client_request import ClientRequest
from stretta.http.exchange import Exchange, Phases
from stretta.http.reports import Connecting
from stretta.net.channel import Channel, Timer
from stretta.options import HttpClientLimits, HttpPatience
from stretta.reports import Watch

__all__ = ["Core", "Network"]

SERVER = "stretta http server"

IDEMPOTENT = {"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"}
"""Methods whose request may be sent twice (RFC 9110 section 9.2.2)."""


class Network(Protocol):
    """How connections are made."""

    async def dial(self, host: str, port: int, timeout: float, server: str) -> Channel:
        """Return a channel to the first address of ``host`` that answers."""


@dataclass
class Core:
    """What a client is made of; its connections wait in ``idle`` for the next request."""

    network: Network
    patience: HttpPatience = field(default_factory=HttpPatience)
    limits: HttpClientLimits = field(default_factory=HttpClientLimits)
    decode: bool = True
    watch: Watch | None = None
    clock: Callable[[], float] = time.monotonic
    idle: dict[tuple[str, str, int], list[Channel]] = field(default_factory=dict)

    async def open(self, request: ClientRequest) -> Exchange:
        """Send a request and return the exchange once its final head has come.

        Raises NetworkError, TimedOut, InvalidReply, ReplyEndedEarly, UsageError.
        """
        timer = Timer(self.patience.idle_timeout, self.patience.timeout, self.clock)
        return await self._one(request, timer)

    def close(self) -> None:
        """Close every connection that is at rest."""
        while self.idle:
            for channel in self.idle.popitem()[1]:
                channel.close()

    async def _one(self, request: ClientRequest, timer: Timer) -> Exchange:
        """Do one exchange, over a connection at rest if there is one."""
        began = self.clock()
        channel = self._take_idle(request)
        if channel is not None:
            exchange = self._exchange(request, channel, timer, Phases(), began)
            try:
                await exchange.begin()
            except (NetworkError, InvalidReply):
                # it closed as we sent: nothing came, so asking again is safe where asking twice is
                # (RFC 9110 section 9.2.2)
                if exchange.reader.started or request.method not in IDEMPOTENT:
                    raise
            else:
                return exchange
        phases = Phases()
        channel = await self._connect(request, timer, phases, began)
        exchange = self._exchange(request, channel, timer, phases, began)
        await exchange.begin()
        return exchange

    def _exchange(
        self, request: ClientRequest, channel: Channel, timer: Timer, phases: Phases, began: float
    ) -> Exchange:
        def release(channel: Channel, reusable: bool) -> None:  # noqa: FBT001 - a callback
            if reusable:
                self.idle.setdefault(request.url.origin, []).append(channel)
            else:
                channel.close()

        return Exchange(
            request,
            channel,
            timer,
            release=release,
            phases=phases,
            began=began,
            max_size=self.limits.max_size,
            decode=self.decode,
            watch=self.watch,
        )

    def _take_idle(self, request: ClientRequest) -> Channel | None:
        waiting = self.idle.get(request.url.origin, [])
        while waiting:
            channel = waiting.pop()
            if channel.is_quiet():
                return channel
            channel.close()
        return None

    async def _connect(
        self, request: ClientRequest, timer: Timer, phases: Phases, began: float
    ) -> Channel:
        url = request.url
        if url.scheme != "http":
            raise UsageError(f"cannot use the URL <{url}>", "TLS is not spoken here yet")
        if self.watch:
            self.watch(Connecting(Endpoint(url.host, url.port)))
        left = timer.left_in_all()
        timeout = self.patience.connect_timeout
        channel = await self.network.dial(
            url.host, url.port, timeout if left is None else min(timeout, left), SERVER
        )
        phases.connected = self.clock() - began
        return channel
