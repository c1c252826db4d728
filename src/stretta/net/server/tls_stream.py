"""TLS between a server's connection and its transport; neither depends on the other.

The event loops' own TLS discards OpenSSL's alert when a handshake fails, so that a client with the
wrong version sees a bare end of the connection. Here the alert is sent (RFC 8446 section 6).
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import Any, Protocol, cast

__all__ = ["TlsStream"]

RECORD = 16 * 1024
"""The most bytes of plain text in one record (RFC 8446 section 5.1)."""

MAX_OVERHEAD = 29
"""The most bytes that one record adds to its plain text (RFC 5288); two add 42 or more."""

MAX_RECORDS = 64
"""Records of one connection that are passed on before other connections are served."""

HANDSHAKE = 0x16
"""The first byte of a TLS connection (RFC 8446 section 5.1)."""


class Securable(Protocol):
    """The callbacks of a connection behind TLS."""

    def on_plaintext(self) -> bytes:
        """Return the answer, in the clear, to a client that does not speak TLS."""

    def on_tls_failure(self, why: str) -> None:
        """Handle a TLS handshake or a TLS connection that has failed."""

    def on_secured(self) -> None:
        """Serve: the handshake has succeeded."""

    def on_late_data(self) -> None:
        """Expect data that may have been sent after this event-loop iteration began."""

    # those of asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None: ...
    def connection_lost(self, exc: Exception | None) -> None: ...
    def data_received(self, data: bytes) -> None: ...
    def eof_received(self) -> bool | None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...


class TlsStream(asyncio.Protocol, asyncio.Transport):
    """A protocol to the transport ``wire``, and a transport to the connection ``inner``."""

    __slots__ = (
        "_begun", "_closing", "_in", "_inner", "_left", "_out", "_paused", "_scheduled",
        "_tls", "_write_ended", "ready", "wire",
    )  # fmt: skip

    def __init__(self, context: ssl.SSLContext, inner: Securable) -> None:
        super().__init__()
        self._inner = inner
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=True)
        self._begun = self._paused = self._closing = self._write_ended = False
        self._scheduled = False  # received data is passed on in the next iteration
        self._left = False  # received data has not been passed to the connection yet
        self.ready = False  # the handshake has succeeded

    # asyncio.Protocol: callbacks of the wire

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.wire = cast("asyncio.Transport", transport)
        self._inner.connection_made(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._closing or self._write_ended:
            return
        if self.ready:
            self._in.write(data)
            self._read(len(data))
        elif self._begun or data[0] == HANDSHAKE:
            self._begun = True
            self._in.write(data)
            self._shake_hands()
        else:
            self.wire.write(self._inner.on_plaintext())
            self._fail("it does not speak TLS")

    def _shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self._on_ssl_error(error)
            return
        else:
            self.ready = True
            self._inner.on_secured()
            if self._in.pending:
                self._left = True
                self._read()
                return
        self._flush()

    def _read(self, came: int = RECORD) -> None:
        """Decrypt, and pass the data to the connection; ``came`` bytes have just arrived."""
        # a larger buffer than the bytes can fill would be wasted
        most = came if came < RECORD else RECORD  # noqa: FURB136 - a call takes ten times as long
        count = 0
        try:
            while not (self._paused or self._closing or self._write_ended):
                if count >= MAX_RECORDS:
                    self._left = True
                    self._schedule()
                    break
                count += 1
                data = self._tls.read(most)
                if not data:
                    self._on_close_notify()
                    break
                if (
                    self._left or came - len(data) > MAX_OVERHEAD
                ):  # not the first record that has just arrived
                    self._inner.on_late_data()
                self._inner.data_received(data)
                self._left = bool(self._in.pending or (len(data) == most and self._tls.pending()))
                if not self._left:
                    break  # another read would raise an exception
                most = RECORD
            else:
                self._left = True
        except ssl.SSLWantReadError:
            self._left = True
        except ssl.SSLZeroReturnError:
            self._on_close_notify()
        except ssl.SSLError as error:
            self._on_ssl_error(error)
            return
        if self._out.pending:
            self._flush()

    def _on_close_notify(self) -> None:
        """Pass the client's end of data on (RFC 8446 section 6.1)."""
        if not self._inner.eof_received():
            self.close()

    def _on_ssl_error(self, error: ssl.SSLError) -> None:
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
        if self._out.pending and not self.wire.is_closing():
            self.wire.write(self._out.read())

    def _fail(self, why: str) -> None:
        self._closing = True
        self._inner.on_tls_failure(why)
        self.wire.close()

    # asyncio.Transport: methods for the connection

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing or self.wire.is_closing():
            return
        taken = self._tls.write(data)
        if taken < len(data):  # OpenSSL takes one record at a time
            rest = memoryview(data)[taken:]
            while rest:
                rest = rest[self._tls.write(rest) :]
        self.wire.write(self._out.read())

    def pause_reading(self) -> None:
        self._paused = True
        self.wire.pause_reading()

    def resume_reading(self) -> None:
        if self._paused:
            self._paused = False
            if self._in.pending or self._tls.pending():
                self._schedule()
            elif not self._scheduled:
                self.wire.resume_reading()

    def _schedule(self) -> None:
        """Pass on the rest in the next iteration, and receive nothing before that."""
        if not self._scheduled:
            self._scheduled = True
            self.wire.pause_reading()
            asyncio.get_running_loop().call_soon(self._resume)

    def _resume(self) -> None:
        self._scheduled = False
        self._read()
        self._inner.on_late_data()
        if not (self._paused or self._scheduled or self.is_closing()):
            self.wire.resume_reading()

    def write_eof(self) -> None:
        """Send close_notify and FIN. Data that still arrives is discarded."""
        self._write_ended = True
        with suppress(
            ssl.SSLError
        ):  # OpenSSL wants the client's close_notify too; we do not wait for it
            self._tls.unwrap()
        self._flush()
        if not self.wire.is_closing():
            self.wire.write_eof()

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
        self.wire.close()

    def abort(self) -> None:
        self._closing = True
        self.wire.abort()

    def is_closing(self) -> bool:
        return self._closing or self.wire.is_closing()

    def get_write_buffer_size(self) -> int:
        return self.wire.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.wire.set_write_buffer_limits(high, low)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._tls if name == "ssl_object" else self.wire.get_extra_info(name, default)
