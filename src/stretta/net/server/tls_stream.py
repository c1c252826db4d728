"""TLS between the wire and a server's connection, so that neither knows of the other.

The event loops' own TLS drops what OpenSSL has to say when something goes wrong: a client of the
wrong version sees the connection end without a word. Here the alert goes out (RFC 8446 section 6).
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import Any, Protocol, cast

__all__ = ["TlsStream"]

RECORD = 16 * 1024
"""Bytes of plain text that one record holds at most (RFC 8446 section 5.1)."""

MOST_ADDED = 29
"""Bytes that a record is longer than its plain text, at most (RFC 5288); two are 42 or more."""

HANDSHAKE = 0x16
"""The first byte of every TLS conversation (RFC 8446 section 5.1)."""


class Securable(Protocol):
    """What a connection needs to be put behind TLS."""

    def not_tls(self) -> bytes:
        """Return what to answer, in the clear, to a client that speaks no TLS."""

    def insecure(self, why: str) -> None:
        """Be told that no secure connection came about, or that it broke."""

    def later(self) -> None:
        """Be told that what comes next may have been sent after this turn of the loop began."""

    # and what asyncio.Protocol has

    def connection_made(self, transport: asyncio.BaseTransport) -> None: ...
    def connection_lost(self, exc: Exception | None) -> None: ...
    def data_received(self, data: bytes) -> None: ...
    def eof_received(self) -> bool | None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...


class TlsStream(asyncio.Protocol, asyncio.Transport):
    """The wire's protocol, and the connection's transport.

    It is a member of ``handshaking`` until its handshake is over.
    """

    __slots__ = (
        "_begun", "_closing", "_deaf", "_handshaking", "_in", "_inner", "_kept", "_out", "_paused",
        "_tls", "_wire", "ready", "waited",
    )  # fmt: skip

    def __init__(
        self, context: ssl.SSLContext, inner: Securable, handshaking: set[TlsStream]
    ) -> None:
        super().__init__()
        self._handshaking = handshaking
        self._inner = inner
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=True)
        self._begun = self._paused = self._closing = self._deaf = False
        self._kept = False  # something that came is not given to the connection yet
        self.ready = False  # the handshake is done
        self.waited = 0.0  # seconds that the handshake has taken, to a tick's precision

    # the wire's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = cast("asyncio.Transport", transport)
        self._handshaking.add(self)
        self._inner.connection_made(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._handshaking.discard(self)
        self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._closing or self._deaf:
            return
        if self.ready:
            self._in.write(data)
            self._read(len(data))
        elif self._begun or data[0] == HANDSHAKE:
            self._begun = True
            self._in.write(data)
            self._shake_hands()
        else:
            self._wire.write(self._inner.not_tls())
            self._fail("it does not speak TLS")

    def _shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self._failed(error)
            return
        else:
            self.ready = True
            self._handshaking.discard(self)
            if self._in.pending:
                self._kept = True
                self._read()
                return
        self._flush()

    def _read(self, came: int = RECORD) -> None:
        """Give the connection what can be decrypted, now that so many bytes have come."""
        # no room for more than can be in it
        most = came if came < RECORD else RECORD  # noqa: FURB136 - a call takes ten times as long
        try:
            while not (self._paused or self._closing or self._deaf):
                data = self._tls.read(most)
                if not data:
                    self._no_more()
                    break
                if self._kept or came - len(data) > MOST_ADDED:  # not the first that has come now
                    self._inner.later()
                self._inner.data_received(data)
                self._kept = bool(self._in.pending or (len(data) == most and self._tls.pending()))
                if not self._kept:
                    break  # asking in vain would cost an exception
                most = RECORD
            else:
                self._kept = True
        except ssl.SSLWantReadError:
            self._kept = True
        except ssl.SSLZeroReturnError:
            self._no_more()
        except ssl.SSLError as error:
            self._failed(error)
            return
        if self._out.pending:
            self._flush()

    def _no_more(self) -> None:
        """Go on after close_notify: the client has said all it has to say."""
        if not self._inner.eof_received():
            self.close()

    def _failed(self, error: ssl.SSLError) -> None:
        self._flush()  # the alert
        self._fail(f"TLS failed: {(error.reason or str(error)).replace('_', ' ').lower()}")

    def eof_received(self) -> bool:
        if not self.ready:
            return False
        return bool(self._inner.eof_received())

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def _flush(self) -> None:
        if self._out.pending and not self._wire.is_closing():
            self._wire.write(self._out.read())

    def give_up(self, why: str) -> None:
        """Cut a client that does not come to the point."""
        self._handshaking.discard(self)
        self._inner.insecure(why)
        self.abort()

    def _fail(self, why: str) -> None:
        self._closing = True
        self._inner.insecure(why)
        self._wire.close()

    # the connection's side

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing or self._wire.is_closing():
            return
        taken = self._tls.write(data)
        if taken < len(data):  # a record at a time
            rest = memoryview(data)[taken:]
            while rest:
                rest = rest[self._tls.write(rest) :]
        self._wire.write(self._out.read())

    def pause_reading(self) -> None:
        self._paused = True
        self._wire.pause_reading()

    def resume_reading(self) -> None:
        if self._paused:
            self._paused = False
            self._wire.resume_reading()
            if self._in.pending or self._tls.pending():
                asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        """Give on what was kept during a pause, perhaps before this turn of the loop has begun."""
        self._read()
        self._inner.later()

    def write_eof(self) -> None:
        """Say that no more will follow (close_notify). What still comes is thrown away."""
        self._deaf = True
        with suppress(ssl.SSLError):  # it wants the client's own, for which nobody waits
            self._tls.unwrap()
        self._flush()
        if not self._wire.is_closing():
            self._wire.write_eof()

    def can_write_eof(self) -> bool:
        return self.ready

    def close(self) -> None:
        if self._closing:
            return
        if self.ready:
            with suppress(ssl.SSLError):
                self._tls.unwrap()
            self._flush()
        self._closing = True
        self._wire.close()

    def abort(self) -> None:
        self._closing = True
        self._wire.abort()

    def is_closing(self) -> bool:
        return self._closing or self._wire.is_closing()

    def get_write_buffer_size(self) -> int:
        return self._wire.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._wire.set_write_buffer_limits(high, low)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._tls if name == "ssl_object" else self._wire.get_extra_info(name, default)
