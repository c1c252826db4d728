"""Serving connections: admission, silence, stalled readers, the drain; for TCP and HTTP alike."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import resource
import socket
import struct
import sys
import termios
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import cast

from stretta.address import Endpoint
from stretta.errors import StrettaError
from stretta.escape import one_line
from stretta.net.server.accept import Acceptor
from stretta.net.server.server import Server
from stretta.net.server.server_tls import Identity
from stretta.net.server.tls_stream import TlsStream
from stretta.options import ConnectionLimits, ServerTls
from stretta.reports import Reloaded, Watch

__all__ = ["Connection", "StreamServer", "has_said_all", "is_gone", "tick_length"]

MOST_CONNECTIONS = 8192
SPARE_DESCRIPTORS = 192
MOST_PER_SOURCE = 256


class Connection(asyncio.Protocol):
    """One accepted connection. Subclasses answer in ``data_received`` and set ``busy`` there."""

    __slots__ = ("_peer", "_pending", "_stalled", "busy", "quiet", "server", "transport")

    transport: asyncio.Transport

    def __init__(self, server: StreamServer) -> None:
        self.server = server
        self._peer: Endpoint | None = None
        self.busy = True  # something came since the last tick
        self.quiet = 0.0  # seconds since something came, to a tick's precision
        self._pending = 0  # bytes not yet taken by the kernel at the last tick
        self._stalled = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.server.admit(self)

    @property
    def peer(self) -> Endpoint:
        """Who is at the other end; made when first asked for, since most are never named."""
        if self._peer is None:
            self._peer = Endpoint.from_sockaddr(self.transport.get_extra_info("peername"))
        return self._peer

    @property
    def source(self) -> str:
        """The address it comes from, as the system writes it."""
        name = self.transport.get_extra_info("peername")
        return name[0] if name else "?"

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.forget(self, exc)

    def pause_writing(self) -> None:
        # a peer that does not read is not read from: memory stays bounded and it feels the pressure
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.transport.resume_reading()

    def tick(self, elapsed: float) -> None:
        """Look at the clock, about once a second; ``elapsed`` seconds have passed since the last.

        One look at all connections costs less than a timer each, and one flag less than a time
        for every segment.
        """
        busy = self._was_busy()
        pending = self.transport.get_write_buffer_size()
        if pending:
            pending += unsent(self.transport)
        if pending and pending >= self._pending and not busy:
            self._stalled += elapsed
            if self._stalled >= self.server.limits.stall_timeout:
                self.drop("stalled", "it did not read its reply")
        else:
            self._stalled = 0.0
        self._pending = pending
        if busy:
            self.quiet = 0.0
            return
        just_fell_quiet = not self.quiet
        self.quiet += elapsed
        if just_fell_quiet and is_gone(self.transport):
            self.transport.abort()
        elif not (pending or self.server.is_handshaking(self.transport)):
            self.rested()

    def _was_busy(self) -> bool:
        """Return whether something came since this was last asked, also to the transport alone."""
        busy, self.busy = self.busy, False
        answered = getattr(self.transport, "has_answered", None)
        return bool(answered and answered()) or busy

    def rested(self) -> None:
        """Be called at each tick in which nothing moves: close what is silent for too long."""
        if self.quiet >= self.server.limits.idle_timeout and not self.transport.is_closing():
            self.server.dropped(self.peer, "idle", f"silent for {self.quiet:.0f} s")
            self.transport.close()

    def wind_up(self) -> None:
        """Be called again and again while the server drains: close if all is answered."""
        if not self._was_busy() and self.transport.get_write_buffer_size() == 0:
            self.transport.close()

    def not_tls(self) -> bytes:
        """Return what a client hears that speaks no TLS where TLS is spoken."""
        return b""

    def insecure(self, why: str) -> None:
        """Count and report that TLS has failed."""
        self.server.dropped(self.peer, "insecure", why)

    def later(self) -> None:
        """Be told that what comes next may have been sent after this turn of the loop began."""

    def drop(self, name: str, why: str) -> None:
        """Reset the connection (RFC 9293 section 3.10.5), count it under ``name``, report why."""
        self.server.dropped(self.peer, name, why)
        self.reset()

    def reset(self) -> None:
        """End the connection at once, and let the peer know that this is no orderly end."""
        with suppress(OSError), borrowed(self.transport) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


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
        watch: Watch | None = None,
    ) -> None:
        super().__init__(host, port, drain_timeout=limits.drain_timeout, watch=watch)
        self.limits = limits
        self.identity = Identity.of(tls, host, alpn) if tls is not None else None
        self._on_hangup = None if self.identity is None else self.reload
        self._handshaking: set[TlsStream] = set()
        self.open: set[Connection] = set()
        self._factory = factory
        self._per_source: Counter[str] = Counter()
        self._max_connections = 0
        self._acceptor: Acceptor | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._every = tick_length(limits, *([tls.tls_handshake_timeout] if tls else []))

    async def _open(self, sockets: list[socket.socket]) -> None:
        self._max_connections = self.limits.max_connections or min(
            MOST_CONNECTIONS, max(1, descriptors() - SPARE_DESCRIPTORS)
        )
        self._acceptor = Acceptor(
            sockets,
            self._new_protocol,
            backlog=self.limits.backlog,
            exhausted=self._out_of_descriptors,
        )
        self._timer = asyncio.get_running_loop().call_later(self._every, self._tick)

    def _new_protocol(self) -> asyncio.BaseProtocol:
        connection = self._factory()
        if self.identity is None:
            return connection
        return TlsStream(self.identity.context, connection, self._handshaking)

    def _close(self) -> None:
        if self._acceptor is not None:
            self._acceptor.close()

    def _wind_up(self) -> int:
        for connection in list(self.open):
            connection.wind_up()
        return len(self.open) + (self._acceptor.starting if self._acceptor is not None else 0)

    def abort(self) -> None:
        for connection in list(self.open):
            connection.transport.abort()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def admit(self, connection: Connection) -> None:
        """Take a new connection in, or cut it at once when there are too many."""
        self.open.add(connection)
        self.counts["connections"] += 1
        if len(self.open) > self._max_connections:
            connection.drop("refused", f"{self._max_connections} connections are open already")
        source = connection.source
        self._per_source[source] += 1
        if self._per_source[source] > (self.limits.max_per_source or MOST_PER_SOURCE):
            self._check_source(connection)

    def _check_source(self, connection: Connection) -> None:
        most = self.limits.max_per_source or (
            None if connection.peer.is_loopback else MOST_PER_SOURCE
        )
        if most is not None:
            connection.drop("refused", f"{most} connections from its address are open already")

    def forget(self, connection: Connection, error: Exception | None) -> None:
        """Let a connection go that has ended, well or not."""
        self.open.discard(connection)
        source = connection.source
        self._per_source[source] -= 1
        if not self._per_source[source]:
            del self._per_source[source]
        if isinstance(error, OSError):
            self.counts["resets"] += 1
        if not self.open:
            self._idle()

    def _out_of_descriptors(self, error: OSError) -> None:
        why = f"{(error.strerror or '').lower()}: accepting pauses for a second"
        self.dropped(self.endpoints[0], "exhausted", why)

    def _tick(self) -> None:
        # first of all: whatever happens below, every time limit depends on the next tick
        self._timer = asyncio.get_running_loop().call_later(self._every, self._tick)
        super()._tick()
        for connection in list(self.open):
            connection.tick(self._every)
        if self.identity is not None:
            self._tick_handshakes(self.identity.handshake_timeout)

    def is_handshaking(self, transport: asyncio.BaseTransport) -> bool:
        """Return whether a connection is not secured yet, which has a time limit of its own."""
        return transport in self._handshaking

    def _tick_handshakes(self, most: float) -> None:
        for stream in list(self._handshaking):
            stream.waited += self._every
            if stream.waited >= most:
                stream.give_up("the TLS handshake took too long")

    def reload(self) -> None:
        """Take new certificates for connections to come; bad ones are reported and not taken."""
        if self.identity is not None:
            try:
                self.identity.load()
            except StrettaError as error:
                self.counts["not reloaded"] += 1
                self.watch(Reloaded(one_line(str(error))))
            else:
                self.counts["reloaded"] += 1
                self.watch(Reloaded(None))


def unsent(transport: asyncio.Transport) -> int:
    """Return how many bytes wait in the kernel for the peer to acknowledge (tcp(7), SIOCOUTQ).

    A slow reader empties that queue long before the kernel takes more from us: it makes progress.
    """
    try:
        with borrowed(transport) as sock:
            answer = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))
    except OSError:  # no socket any more
        return 0
    return int.from_bytes(answer, sys.byteorder)


@contextmanager
def borrowed(transport: asyncio.BaseTransport) -> Iterator[socket.socket]:
    """Give the socket of a transport for a moment: one kept would outweigh all else of it.

    Raises OSError when it has none any more.
    """
    number = transport.get_extra_info("fileno")
    if number is None:
        its = transport.get_extra_info("socket")
        number = -1 if its is None else its.fileno()
    if number < 0:
        raise OSError(errno.EBADF, "the connection is over")
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=number)
    try:
        yield sock
    finally:
        sock.detach()


TCP_CLOSE, TCP_CLOSE_WAIT = 7, 8
"""The first byte of struct tcp_info for a connection that is no more, and for one whose peer has
sent its last byte (netinet/tcp.h, Linux)."""


def is_gone(transport: asyncio.Transport) -> bool:
    """Return whether the connection has ended without anybody telling us.

    When a reset comes right behind data, libuv sees the error first and stops to look; the data is
    read, and nothing else ever happens.
    """
    return _state(transport) == TCP_CLOSE


def has_said_all(transport: asyncio.Transport) -> bool:
    """Return whether the peer has ended its side: most then do not read any more either."""
    return _state(transport) in (TCP_CLOSE, TCP_CLOSE_WAIT)


def _state(transport: asyncio.Transport) -> int:
    try:
        with borrowed(transport) as sock:
            return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    except (AttributeError, OSError):  # another system, or no socket any more
        return 0


def tick_length(limits: ConnectionLimits, *more: float) -> float:
    """Return the seconds between two ticks: a second, or less where a limit is short.

    ``more`` are further limits in seconds.

    >>> tick_length(ConnectionLimits()), tick_length(ConnectionLimits(idle_timeout=0.4))
    (1.0, 0.1)
    """
    return max(0.01, min(4.0, limits.idle_timeout, limits.stall_timeout, *more) / 4)


def descriptors() -> int:
    """Return how many files this process may have open, after raising that as far as allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return hard
    except (OSError, ValueError):  # macOS names limits that it does not grant
        return soft
