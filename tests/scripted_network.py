"""A network that follows a script, so that tests of the client read like sequence diagrams.

Each connection has a list of steps, from the client's side:

    SEND(b"GET /")          the client sends bytes that begin so
    SEND(b"PUT /", size=9)  the channel takes only so many bytes at once
    RECEIVE(b"HTTP/...")    these bytes arrive
    END                     the peer closes its direction
    BREAK                   the connection is reset: the next send or receive fails
    IDLE                    nothing arrives until the next request
"""

from __future__ import annotations

from dataclasses import dataclass, field

from stretta.address import Endpoint
from stretta.errors import NetworkError
from stretta.http.client.connector import Connector
from stretta.http.client.request_sender import RequestSender
from stretta.net.client.channel.interface import run_now
from stretta.options.http_client import HttpClientLimits, HttpPatience, HttpRoute

IDLE = "idle"
END = b""
BREAK = NetworkError("the connection broke", "the server reset it", "Ask again.")


@dataclass
class SEND:
    """The client sends bytes that begin with ``prefix``; the channel takes ``size`` of them."""

    prefix: bytes
    size: int | None = None


def RECEIVE(data):  # noqa: N802 - a step of a script
    """These bytes arrive."""
    return data


class ScriptedChannel:
    """One connection."""

    def __init__(self, network, number, peer, steps):
        self.network, self.number, self.peer = network, number, peer
        self.steps = list(steps)
        self.sent = b""
        self.closed = False

    def _next(self):
        while self.steps and self.steps[0] is IDLE:
            self.steps.pop(0)
        return self.steps[0] if self.steps else None

    async def send(self, data, timer):
        assert not self.closed
        step = self._next()
        if isinstance(step, NetworkError):
            raise self.steps.pop(0)
        if not isinstance(step, SEND):
            return 0  # the peer sends meanwhile, or reads no more
        self.steps.pop(0)
        data = bytes(data)
        assert data.startswith(step.prefix), (data, step)
        self.network.now += self.network.send_delay
        size = len(data) if step.size is None else step.size
        self.sent += data[:size]
        return size

    async def receive(self, timer):
        assert not self.closed
        step = self._next()
        assert step is not None, "the client waits, and the script has ended"
        assert not isinstance(step, SEND), f"the client waits, and should send {step}"
        self.steps.pop(0)
        if isinstance(step, NetworkError):
            raise step
        self.network.now += self.network.delay
        return step

    def is_quiet(self):
        return not self.steps or self.steps[0] is IDLE or isinstance(self.steps[0], SEND)

    def close(self):
        assert not self.closed, "closed twice"
        self.closed = True
        self.network.log.append(f"close {self.number}")


@dataclass
class ScriptedNetwork:
    """The connections that the client will open, in order; ``log`` tells when, and when closed."""

    connections: list[list]
    delay: float = 0.0  # seconds until data arrives
    send_delay: float = 0.0
    now: float = 0.0
    log: list[str] = field(default_factory=list)
    channels: list[ScriptedChannel] = field(default_factory=list)

    async def dial(self, host, port, *, timeout, server, family, watch):
        number = len(self.channels) + 1
        assert self.connections, f"the client opens connection {number}, and the script has none"
        self.log.append(f"open {number} to {host}:{port}")
        channel = ScriptedChannel(self, number, Endpoint(host, port), self.connections.pop(0))
        self.channels.append(channel)
        return channel

    def finished(self):
        """Return whether all steps were taken."""
        return not self.connections and all(channel._next() is None for channel in self.channels)


def sender(network, *, follow=False, patience=None, limits=None, route=None, watch=None):
    """Return a RequestSender over a scripted network."""
    patience = patience or HttpPatience()
    connector = Connector(
        network, patience=patience, route=route or HttpRoute(proxy=""), family=0, wrap=None
    )
    return RequestSender(
        connector,
        patience=patience,
        limits=limits or HttpClientLimits(),
        follow=follow,
        watch=watch,
        clock=lambda: network.now,
    )


def fetch(subject, request):
    """Send a request and read the response; return its status and body."""

    async def work():
        exchange = await subject.send(request)
        body = b""
        while chunk := await exchange.read():
            body += chunk
        return exchange.head.status, body

    return run_now(work())
