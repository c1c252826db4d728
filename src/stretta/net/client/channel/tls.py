"""The client's side of TLS over any channel, also over another TLS channel."""

from __future__ import annotations

import ssl
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

from stretta.address import Endpoint
from stretta.errors import NetworkError, StrettaError
from stretta.net.client.channel.interface import Channel, Timer, run_now
from stretta.net.tls import tls_error, was_cut

__all__ = ["Secured", "TlsChannel"]

STEP = 64 * 1024
"""Bytes that are encrypted at a time."""

MOST_HELD = 64 << 20
"""Encrypted bytes from the peer that are buffered at most while we send."""


@dataclass(frozen=True, slots=True)
class Secured:
    """The result of a handshake: TLS version, cipher suite, and the peer's certificate.

    ``checked`` tells whether the certificate was verified. ``subject`` and ``issuer`` are names,
    ``until`` is the end of its validity, and ``names`` are the hosts that it is for; they are empty
    when it was not verified. ``der`` is the certificate itself.
    """

    version: str
    cipher: str
    checked: bool
    subject: str = ""
    issuer: str = ""
    until: str = ""
    names: list[str] = field(default_factory=list)
    der: bytes = field(default=b"", repr=False)

    @classmethod
    def of(cls, tls: ssl.SSLObject) -> Self:
        """Return the result of a finished handshake."""
        shown: dict[str, Any] = tls.getpeercert() or {}
        cipher = tls.cipher()
        return cls(
            version=(tls.version() or "").replace("v", " "),
            cipher=cipher[0] if cipher else "",
            checked=bool(shown),
            subject=_name(shown.get("subject", ())),
            issuer=_name(shown.get("issuer", ())),
            until=shown.get("notAfter", ""),
            names=[value for _, value in shown.get("subjectAltName", ())],
            der=tls.getpeercert(binary_form=True) or b"",
        )


def _name(parts: Any) -> str:
    """Return the common name of a distinguished name, else its organisation."""
    fields = {key: value for part in parts for key, value in part}
    return str(fields.get("commonName") or fields.get("organizationName") or "")


class TlsChannel:
    """A channel over TLS; ``open`` returns one.

    ``truncated`` tells, after the end, that the peer did not send close_notify (RFC 8446 section
    6.1): an attacker may have cut the connection.
    """

    def __init__(self, inner: Channel, context: ssl.SSLContext, host: str) -> None:
        self.peer: Endpoint = inner.peer
        self.truncated = False
        self._inner = inner
        self._host = host
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=host)
        self._early = b""

    @classmethod
    async def open(
        cls, inner: Channel, context: ssl.SSLContext, host: str, timer: Timer
    ) -> TlsChannel:
        """Do the handshake over ``inner``; the certificate must be for ``host``.

        Raises NetworkError (certificate refused, no TLS on that port) and TimedOut.
        """
        channel = cls(inner, context, host)
        try:
            while True:
                try:
                    channel._tls.do_handshake()
                    await channel._flush(timer)
                    return channel
                except ssl.SSLWantReadError:
                    await channel._flush(timer)
                    await channel._fill(timer)
        except ssl.SSLError as error:
            await channel._send_alert(timer)
            inner.close()
            raise tls_error(error, host, channel.peer.port) from None
        except BaseException:
            inner.close()
            raise

    @property
    def secured(self) -> Secured:
        """The result of the handshake."""
        return Secured.of(self._tls)

    async def send(self, data: bytes | memoryview, timer: Timer) -> int:
        view, sent = memoryview(data), 0
        while sent < len(view):
            sent += self._tls.write(view[sent : sent + STEP])
            await self._flush(timer)
            if self._has_data():
                break
        return sent

    async def receive(self, timer: Timer) -> bytes:
        if self._early:
            data, self._early = self._early, b""
            return data
        while True:
            try:
                return self._tls.read(STEP * 4)
            except ssl.SSLWantReadError:
                await self._flush(timer)  # the reply to a key update
                await self._fill(timer)
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLError as error:
                if was_cut(error):
                    self.truncated = True
                    return b""
                raise tls_error(error, self._host, self.peer.port) from None

    def is_quiet(self) -> bool:
        timer = Timer(None, None, time.monotonic)
        while not self._inner.is_quiet():
            run_now(self._fill(timer))  # data is there, so this does not wait
            if self._has_data():
                return False
        return not self._has_data()

    def close(self) -> None:
        self._inner.close()

    async def _flush(self, timer: Timer) -> None:
        """Send all encrypted bytes; keep the bytes that arrive in the meantime."""
        data = memoryview(self._out.read())
        while data:
            data = data[await self._inner.send(data, timer) :]
            if data:
                await self._fill(timer)
                if self._in.eof:  # the peer has closed: receiving reports its last data
                    return
                if self._in.pending > MOST_HELD:
                    raise NetworkError(
                        "the connection broke", "the server sends without end while we send"
                    )

    async def _fill(self, timer: Timer) -> None:
        """Receive encrypted bytes once."""
        data = await self._inner.receive(timer)
        if data:
            self._in.write(data)
        else:
            self._in.write_eof()

    def _has_data(self) -> bool:
        """Return whether the peer has sent data, which is kept in ``_early``, or the end.

        Session tickets, which follow the handshake, are no data.
        """
        while (self._in.pending or self._in.eof) and not self._early:
            try:
                self._early = self._tls.read(STEP)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLError:  # the end, or an error: receiving reports it
                return True
        return bool(self._early)

    async def _send_alert(self, timer: Timer) -> None:
        """Send the TLS alert with the reason, if possible."""
        with suppress(StrettaError):  # the first error is the one to report
            await self._flush(timer)
