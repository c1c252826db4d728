"""A connected socket under TLS, for clients that block: the few methods of a socket they use."""

from __future__ import annotations

import select
import socket
import ssl
import time
from contextlib import suppress
from typing import cast

from stretta.errors import TimedOut
from stretta.net.tls import client_context, tls_error
from stretta.options import ClientTls

__all__ = ["TlsSocket"]

RECORDS = 64 * 1024
"""Bytes encrypted, or received, at a time: four records."""


class TlsSocket:
    """Behaves as a non-blocking socket; ``secure`` makes one.

    OpenSSL works on memory here, not on the socket: only so can one direction be closed while the
    other goes on, since its way of saying goodbye takes what comes meanwhile for an error.
    """

    def __init__(self, sock: socket.socket, tls_in: ssl.SSLContext, host: str) -> None:
        self._sock = sock
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = tls_in.wrap_bio(self._in, self._out, server_hostname=host)
        self._waiting = memoryview(b"")  # encrypted, and not yet taken by the kernel

    @classmethod
    def secure(
        cls, sock: socket.socket, host: str, port: int, options: ClientTls, timeout: float
    ) -> TlsSocket:
        """Do the handshake over a connected, non-blocking socket, within ``timeout`` seconds.

        ``host`` is whom the certificate must be for. Raises NetworkError when it is not, or when
        no secure connection comes about, and TimedOut.
        """
        context = client_context(options.tls_ca, insecure=options.insecure)
        secured = cls(sock, context, host)
        try:
            secured._shake_hands(time.monotonic() + timeout)
        except ssl.SSLError as error:
            with suppress(OSError):
                secured._flush()  # the alert
            sock.close()
            raise tls_error(error, host, port) from error
        except TimeoutError:
            sock.close()
            raise TimedOut(
                f"no secure connection to {host} port {port}",
                f"the TLS handshake was not done in {timeout:g} s",
                "Does the server speak TLS on this port?",
            ) from None
        except BaseException:
            sock.close()
            raise
        return secured

    def _shake_hands(self, deadline: float) -> None:
        poll = select.poll()
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                pass
            else:
                self._flush()
                return
            self._flush()
            poll.register(self._sock, select.POLLIN | (select.POLLOUT if self._waiting else 0))
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise TimeoutError
            with suppress(BlockingIOError):
                self._take_in()

    def send(self, data: memoryview) -> int:
        """Send what can be sent now. Raises BlockingIOError when that is nothing."""
        self._flush()
        if self._waiting:
            raise BlockingIOError
        taken = self._tls.write(data[:RECORDS])
        self._flush()
        return taken

    def recv_into(self, buffer: memoryview) -> int:
        """Receive what is there; 0 is the end. Raises BlockingIOError when nothing is there.

        The buffer must hold what ``RECORDS`` bytes decrypt to: then nothing is left over for which
        polling the socket would wait in vain.
        """
        self._flush()
        if not self._take_in():
            return 0
        size = 0
        try:
            while size < len(buffer):
                more = cast("int", self._tls.read(len(buffer) - size, buffer[size:]))
                if not more:
                    return size
                size += more
        except ssl.SSLWantReadError:
            if not size:
                raise BlockingIOError from None
        except ssl.SSLZeroReturnError:
            pass
        return size

    def shutdown(self, _how: int) -> None:
        """Say that no more will be sent (close_notify, RFC 8446 section 6.1); receiving goes on."""
        with suppress(ssl.SSLError):  # it wants the server's own, for which nobody waits
            self._tls.unwrap()
        poll = select.poll()
        poll.register(self._sock, select.POLLIN | select.POLLOUT)
        self._flush()
        # without room the server may be waiting for us to read, which comes first then
        while self._waiting and not poll.poll()[0][1] & ~select.POLLOUT:
            self._flush()

    def fileno(self) -> int:
        """Return the descriptor, -1 once closed."""
        return self._sock.fileno()

    def getpeername(self) -> object:
        """Return the address at the other end."""
        return self._sock.getpeername()

    def close(self) -> None:
        """Close both directions."""
        self._sock.close()

    def _take_in(self) -> bool:
        """Take what the kernel has; return whether it was more than the end."""
        data = self._sock.recv(RECORDS)
        if data:
            self._in.write(data)
        else:
            self._in.write_eof()
        return bool(data)

    def _flush(self) -> None:
        """Give the kernel what it takes."""
        if self._out.pending:
            self._waiting = memoryview(bytes(self._waiting) + self._out.read())
        with suppress(BlockingIOError):
            while self._waiting:
                self._waiting = self._waiting[self._sock.send(self._waiting) :]
