"""The server of TCP and HTTP connections: admission limits, the tick, graceful drain."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Callable, Sequence

from stretta.errors import StrettaError
from stretta.escape import one_line
from stretta.net.server import tcp_info
from stretta.net.server.accept import Acceptor
from stretta.net.server.admission import Admission
from stretta.net.server.connection import Connection
from stretta.net.server.lifecycle import TimeLimits
from stretta.net.server.server import Server
from stretta.net.server.server_tls import ServerCertificate
from stretta.net.server.tls_stream import TlsStream
from stretta.options import ConnectionLimits, ServerTls
from stretta.reports import Limited, Observer, Reloaded

__all__ = ["StreamServer", "tick_interval"]

MAX_CONNECTIONS = 8192
SPARE_DESCRIPTORS = 192

SLICE = 0.005
"""Seconds of ticks in a row before the event loop serves connections again."""


class StreamServer(Server):
    """A server whose every connection is a Connection from ``factory(server)``."""

    kind = socket.SOCK_STREAM

    def __init__(
        self,
        factory: Callable[[], Connection],
        host: str,
        port: int,
        *,
        limits: ConnectionLimits,
        tls: ServerTls | None = None,
        alpn: Sequence[str] = (),
        watch: Observer | None = None,
    ) -> None:
        super().__init__(host, port, drain_timeout=limits.drain_timeout, watch=watch)
        self.limits = limits
        self.certificate = (
            ServerCertificate.from_options(tls, host, alpn) if tls is not None else None
        )
        handshake_timeout = tls.tls_handshake_timeout if tls is not None else 10.0
        self.time_limits = TimeLimits(limits.idle_timeout, limits.stall_timeout, handshake_timeout)
        self.open: set[Connection] = set()
        self._factory = factory
        self._admission = Admission(0, limits.max_per_source, limits.source_prefix)
        self._acceptor: Acceptor | None = None
        self._timer: asyncio.Handle | None = None
        self._interval = tick_interval(limits, handshake_timeout)
        self._ticked = 0.0  # loop time at which the present round of ticks began
        self._elapsed = 0.0  # seconds from the round before to this one
        self._to_tick: list[Connection] = []  # connections left in this round

    async def _open(self, sockets: list[socket.socket]) -> None:
        self._admission.most = self.limits.max_connections or most_connections(descriptors())
        self._acceptor = Acceptor(
            sockets,
            self._new_protocol,
            backlog=self.limits.backlog,
            on_exhausted=self._on_exhausted,
        )
        loop = asyncio.get_running_loop()
        self._ticked = loop.time()
        self._timer = loop.call_later(self._interval, self._tick)

    def report_limits(self) -> None:
        allowed = descriptors()
        possible = most_connections(allowed)
        if possible < (self.limits.max_connections or MAX_CONNECTIONS):
            self.watch(Limited(possible, allowed))

    def _new_protocol(self) -> asyncio.BaseProtocol:
        connection = self._factory()
        if self.certificate is None:
            return connection
        return TlsStream(self.certificate.context, connection)

    def _close(self) -> None:
        if self._acceptor is not None:
            self._acceptor.close()

    def _close_idle(self) -> int:
        for connection in list(self.open):
            connection.drain()
        return len(self.open) + (self._acceptor.starting if self._acceptor is not None else 0)

    def abort(self) -> None:
        for connection in list(self.open):
            connection.reset()  # an orderly end would look like the end of the reply
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _before_exit(self) -> None:
        for connection in list(self.open):
            tcp_info.reset_on_close(connection.fileno())

    def admit(self, connection: Connection) -> None:
        """Register a new connection; reset it when too many are open."""
        self.open.add(connection)
        self.counts["connections"] += 1
        source = connection.source
        refused = self._admission.enter(source)
        if refused is not None:
            connection.drop("refused", refused)

    def forget(self, connection: Connection, error: Exception | None) -> None:
        """Unregister a connection that has ended, with ``error`` or None."""
        self.open.discard(connection)
        self._admission.leave(connection.source)
        if isinstance(error, OSError):
            self.counts["resets"] += 1
        if not self.open:
            self._on_idle()

    def _on_exhausted(self, error: OSError) -> None:
        why = f"{(error.strerror or '').lower()}: accepting pauses for a second"
        self.dropped(self.endpoints[0], "exhausted", why)

    def _tick(self) -> None:
        """Begin a round: every connection checks its time limits, in slices of SLICE seconds."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._elapsed, self._ticked = now - self._ticked, now
        self._to_tick = list(self.open)
        self._timer = loop.call_soon(self._tick_slice)  # first: what follows may fail
        super()._tick()

    def _tick_slice(self) -> None:
        loop = asyncio.get_running_loop()
        end, left, elapsed = loop.time() + SLICE, self._to_tick, self._elapsed
        try:
            while left:
                left.pop().tick(elapsed)
                if loop.time() >= end:
                    break
        finally:  # a connection that fails must not stop the clock of the others
            if left:
                self._timer = loop.call_soon(self._tick_slice)
            else:
                due = max(0.0, self._ticked + self._interval - loop.time())
                self._timer = loop.call_later(due, self._tick)

    def reload(self) -> None:
        """Read the certificate again for new connections; a bad one is reported and not used."""
        if self.certificate is not None:
            try:
                self.certificate.load()
            except StrettaError as error:
                self.report_reload("certificate", error)
            else:
                self.report_reload("certificate")

    def report_reload(self, what: str, error: StrettaError | None = None) -> None:
        """Count and report that a file was read again, or why not."""
        self.counts["reloaded" if error is None else "not reloaded"] += 1
        self.watch(Reloaded(None if error is None else one_line(str(error)), what))


def tick_interval(limits: ConnectionLimits, *more: float) -> float:
    """Return the seconds between two ticks: 1, or a quarter of the shortest limit.

    ``more`` are further limits in seconds.

    >>> tick_interval(ConnectionLimits()), tick_interval(ConnectionLimits(idle_timeout=0.4))
    (1.0, 0.1)
    """
    return max(0.01, min(4.0, limits.idle_timeout, limits.stall_timeout, *more) / 4)


def most_connections(allowed: int) -> int:
    """Return how many connections a process may have that may open ``allowed`` files.

    192 files are reserved for everything else; of few files, half are.

    >>> most_connections(20_000), most_connections(1024), most_connections(100)
    (8192, 832, 50)
    """
    return min(MAX_CONNECTIONS, max(allowed - SPARE_DESCRIPTORS, allowed // 2, 1))


def descriptors() -> int:
    """Return the limit on open files, raised as far as the system allows (getrlimit(2))."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return hard
    except (OSError, ValueError):  # macOS names limits that it does not grant
        return soft
