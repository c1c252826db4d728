"""One accepted connection: the adapter between its lifecycle and its transport."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from stretta.address import Endpoint
from stretta.net.server import tcp_info
from stretta.net.server.lifecycle import Action, Activity, Cause, Decision, Event, Lifecycle, State
from stretta.net.server.poller import as_fast
from stretta.net.server.tls_stream import TlsStream
from stretta.net.server.transport import FastTransport

if TYPE_CHECKING:
    from stretta.net.server.stream_server import StreamServer

__all__ = ["Connection"]


class Connection(Lifecycle, asyncio.Protocol):
    """One accepted connection. Subclasses answer in ``data_received`` and set ``busy`` there."""

    __slots__ = ("_peer", "busy", "fast", "server", "transport")

    transport: asyncio.Transport
    fast: FastTransport | None

    def __init__(self, server: StreamServer) -> None:
        super().__init__(State.OPEN if server.certificate is None else State.HANDSHAKING)
        self.server = server
        self._peer: Endpoint | None = None
        self.busy = True  # bytes moved since the last tick

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
        return self.state is State.HANDSHAKING

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
        self.change(Event.END)
        self.server.forget(self, exc)

    def pause_writing(self) -> None:
        # stop reading from a peer that does not read: memory is bounded, and the peer has to wait
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.busy = True
        self.transport.resume_reading()

    def tick(self, elapsed: float) -> None:
        """Check the time limits; ``elapsed`` seconds have passed since the last call.

        One pass over all connections costs less than a timer each, and one flag costs less than a
        time stamp for every segment.
        """
        if self.state is State.CLOSED:
            return
        moved, self.busy = self.busy, False
        if self.fast is not None and self.fast.fast_path_used():
            moved = True
        queued = self.transport.get_write_buffer_size()
        decision = self.observe(
            elapsed,
            self.server.time_limits,
            moved=moved,
            queued=queued,
            unacknowledged=tcp_info.unacknowledged(self.fileno()) if queued else 0,
            working=not (moved or queued) and self.is_working(),
        )
        if decision.action is not Action.NOTHING:
            self._carry_out(decision)
        if self.activity is Activity.RESTING and not self.is_handshaking:
            self.on_rest()

    def _carry_out(self, decision: Decision) -> None:
        action, cause = decision
        if action is Action.PROBE:
            if self.is_gone():
                self.transport.abort()
        elif action is Action.CLOSE:
            if not self.transport.is_closing():
                if cause is Cause.IDLE:
                    self.on_idle_limit()
                self.transport.close()
        elif action is Action.RESET:
            self.drop("stalled", "it did not read its reply")
        else:
            if cause is Cause.HANDSHAKE:
                self.on_tls_failure("the TLS handshake took too long")
            self.transport.abort()

    def drain(self) -> None:
        """Close the connection when it is at rest. Called repeatedly while the server stops."""
        if self.state in (State.HANDSHAKING, State.OPEN):
            is_new = tcp_info.bytes_received(self.fileno()) == 0
            self.change(Event.DRAIN_NEW if is_new else Event.DRAIN)
        self.tick(0.0)

    def linger(self) -> None:
        """Close the connection after TimeLimits.linger: our output has ended."""
        self.change(Event.LINGER)

    def is_working(self) -> bool:
        """Return whether a request is being received or answered: then no idle limit applies."""
        return False

    def on_rest(self) -> None:
        """Do nothing. Called at each tick in which nothing moves and nothing is under way."""

    def on_idle_limit(self) -> None:
        """Count and report a connection that is closed at its idle limit."""
        self.server.dropped(self.peer, "idle", f"silent for {self.clock:.0f} s")

    def on_secured(self) -> None:
        """Serve: the TLS handshake has succeeded."""
        self.change(Event.SECURE)

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
