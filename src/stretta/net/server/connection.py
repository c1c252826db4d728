"""One accepted connection: idle and stall limits, graceful drain, reset."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from stretta.address import Endpoint
from stretta.net.server import tcp_info
from stretta.net.server.poller import as_fast
from stretta.net.server.tls_stream import TlsStream
from stretta.net.server.transport import FastTransport

if TYPE_CHECKING:
    from stretta.net.server.stream_server import StreamServer

__all__ = ["Connection"]


class Connection(asyncio.Protocol):
    """One accepted connection. Subclasses answer in ``data_received`` and set ``busy`` there."""

    __slots__ = ("_peer", "_pending", "_stalled", "busy", "fast", "idle_for", "server", "transport")

    transport: asyncio.Transport
    fast: FastTransport | None

    def __init__(self, server: StreamServer) -> None:
        self.server = server
        self._peer: Endpoint | None = None
        self.busy = True  # data came since the last tick
        self.idle_for = 0.0  # seconds since data came, to a tick's precision
        self._pending = 0  # bytes that the peer had not acknowledged at the last tick
        self._stalled = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.fast = as_fast(transport)
        self.server.admit(self)

    @property
    def peer(self) -> Endpoint:
        """The peer's address; made on first use, since most connections never need it."""
        if self._peer is None:
            self._peer = Endpoint.from_sockaddr(self.transport.get_extra_info("peername"))
        return self._peer

    @property
    def source(self) -> str:
        """The peer's address without its port, as the system writes it."""
        name = self.transport.get_extra_info("peername")
        return name[0] if name else "?"

    @property
    def is_handshaking(self) -> bool:
        """Whether the TLS handshake is under way; it has a time limit of its own."""
        return self.transport in self.server.handshaking

    def fileno(self) -> int:
        """Return the socket's file descriptor; -1 after the connection has ended."""
        transport: asyncio.BaseTransport = self.transport
        if isinstance(transport, TlsStream):
            transport = transport.wire
        fast = as_fast(transport)
        if fast is not None:
            return fast.fileno()
        sock = transport.get_extra_info("socket")
        return -1 if sock is None else int(sock.fileno())

    def is_gone(self) -> bool:
        """Return whether the kernel has closed the connection, even if no callback told of it."""
        return tcp_info.is_closed(self.fileno())

    def peer_finished(self) -> bool:
        """Return whether the peer has sent its FIN; most peers then do not read any more either."""
        return tcp_info.peer_finished(self.fileno())

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.forget(self, exc)

    def pause_writing(self) -> None:
        # stop reading from a peer that does not read: memory is bounded, and the peer has to wait
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.transport.resume_reading()

    def tick(self, elapsed: float) -> None:
        """Check the time limits; ``elapsed`` seconds have passed since the last call.

        One pass over all connections costs less than a timer each, and one flag costs less than a
        time stamp for every segment.
        """
        busy = self._was_busy()
        pending = self.transport.get_write_buffer_size()
        if pending:
            pending += tcp_info.unacknowledged(self.fileno())
        if pending and pending >= self._pending and not busy:
            self._stalled += elapsed
            if self._stalled >= self.server.limits.stall_timeout:
                self.drop("stalled", "it did not read its reply")
        else:
            self._stalled = 0.0
        self._pending = pending
        if busy:
            self.idle_for = 0.0
            return
        first_idle_tick = not self.idle_for
        self.idle_for += elapsed
        if first_idle_tick and self.is_gone():
            self.transport.abort()
        elif not (pending or self.is_handshaking):
            self.on_rest()

    def _was_busy(self) -> bool:
        """Return whether data came since the last call, to the protocol or to the fast path."""
        busy, self.busy = self.busy, False
        return (self.fast is not None and self.fast.fast_path_used()) or busy

    def on_rest(self) -> None:
        """Close the connection at its idle limit. Called at each tick in which nothing moves."""
        if self.idle_for >= self.server.limits.idle_timeout and not self.transport.is_closing():
            self.server.dropped(self.peer, "idle", f"silent for {self.idle_for:.0f} s")
            self.transport.close()

    def close_if_idle(self) -> None:
        """Close the connection if all is answered. Called repeatedly while the server drains."""
        if not self._was_busy() and self.transport.get_write_buffer_size() == 0:
            self.transport.close()

    def on_plaintext(self) -> bytes:
        """Return the answer, in the clear, to a client that does not speak TLS."""
        return b""

    def on_tls_failure(self, why: str) -> None:
        """Count and report that TLS has failed."""
        self.server.dropped(self.peer, "insecure", why)

    def on_late_data(self) -> None:
        """Expect data that may have been sent after this event-loop iteration began.

        Cached checks do not hold for it.
        """

    def drop(self, name: str, why: str) -> None:
        """Reset the connection (RFC 9293 section 3.10.5), count it under ``name``, report why."""
        self.server.dropped(self.peer, name, why)
        self.reset()

    def reset(self) -> None:
        """End the connection at once with RST: the peer sees that this is no orderly end."""
        tcp_info.reset_on_close(self.fileno())
        self.transport.abort()
