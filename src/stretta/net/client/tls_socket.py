"""TLS for blocking clients, with the few methods of a socket that they use."""

from __future__ import annotations

import select
import socket
import ssl
import time
from contextlib import suppress
from typing import cast

from stretta.errors import TimedOut
from stretta.net.tls import client_context, tls_error, trusts_local_authority
from stretta.options import ClientTls

__all__ = ["TlsSocket"]

RECORDS = 64 * 1024
"""Bytes that are encrypted or received at a time: four records."""


class TlsSocket:
    """Behaves like a non-blocking socket; ``secure`` returns one.

    OpenSSL works on memory here, not on the socket: with a socket, SSL_shutdown() treats data that
    still arrives as an error, so one direction could not be closed alone.
    """

    def __init__(self, sock: socket.socket, tls_in: ssl.SSLContext, host: str) -> None:
        self._sock = sock
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = tls_in.wrap_bio(self._in, self._out, server_hostname=host)
        self._unsent = memoryview(b"")  # encrypted, and not yet accepted by the kernel

    @classmethod
    def secure(
        cls, sock: socket.socket, host: str, port: int, options: ClientTls, timeout: float
    ) -> TlsSocket:
        """Do the TLS handshake on a connected, non-blocking socket, within ``timeout`` seconds.

        The certificate must be for ``host``. Raises NetworkError when it is not or when the
        handshake fails, and TimedOut.
        """
        context = client_context(options.tls_ca, insecure=options.insecure)
        secured = cls(sock, context, host)
        try:
            secured._handshake(time.monotonic() + timeout)
        except ssl.SSLError as error:
            with suppress(OSError):
                secured._flush()  # the alert
            sock.close()
            raise tls_error(error, host, port) from error
        except TimeoutError:
            sock.close()
            raise TimedOut(
                f"no secure connection to {host} port {port}",
                f"the TLS handshake took longer than {timeout:g} s",
                "Does the server speak TLS on this port?",
            ) from None
        except BaseException:
            sock.close()
            raise
        return secured

    @property
    def trusts_local_authority(self) -> bool:
        """Whether the local authority has signed the server's certificate."""
        return trusts_local_authority(self._tls)

    def _handshake(self, deadline: float) -> None:
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
            poll.register(self._sock, select.POLLIN | (select.POLLOUT if self._unsent else 0))
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise TimeoutError
            with suppress(BlockingIOError):
                self._receive()

    def send(self, data: memoryview) -> int:
        """Send as much as possible now; return the bytes accepted. Raises BlockingIOError."""
        self._flush()
        if self._unsent:
            raise BlockingIOError
        taken = self._tls.write(data[:RECORDS])
        self._flush()
        return taken

    def recv_into(self, buffer: memoryview) -> int:
        """Receive into ``buffer``; return the bytes received, 0 at the end. Raises BlockingIOError.

        The buffer must hold RECORDS bytes: else decrypted data could be left over, of which polling
        the socket tells nothing.
        """
        self._flush()
        if not self._receive():
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

    def shutdown(self, how: int) -> None:
        """Send close_notify (RFC 8446 section 6.1), after which receiving goes on.

        SHUT_RDWR ends the connection at once instead, also from another thread.
        """
        if how == socket.SHUT_RDWR:
            self._sock.shutdown(how)
            return
        with suppress(ssl.SSLError):  # the server's close_notify is not waited for
            self._tls.unwrap()
        poll = select.poll()
        poll.register(self._sock, select.POLLIN | select.POLLOUT)
        self._flush()
        # a server that accepts nothing may be waiting for us to read: then reading comes first
        while self._unsent and not poll.poll()[0][1] & ~select.POLLOUT:
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

    def _receive(self) -> bool:
        """Receive encrypted bytes; return False at the end of the stream."""
        data = self._sock.recv(RECORDS)
        if data:
            self._in.write(data)
        else:
            self._in.write_eof()
        return bool(data)

    def _flush(self) -> None:
        """Send encrypted bytes, as many as the kernel accepts."""
        if self._out.pending:
            self._unsent = memoryview(bytes(self._unsent) + self._out.read())
        with suppress(BlockingIOError):
            while self._unsent:
                self._unsent = self._unsent[self._sock.send(self._unsent) :]
