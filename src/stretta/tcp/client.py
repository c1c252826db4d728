"""The TCP client: sends and receives at the same time, and reports a server that loses data.

All functions block, as the lecture's calls do, except ``ask_async``; they import no event loop.
"""

from __future__ import annotations

import errno
import select
import socket
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from stretta.errors import ReplyEndedEarly
from stretta.net.client.connect import cancel_and_wait, dial, dial_async
from stretta.net.client.peer_address import peer_address
from stretta.options import ClientTls, StreamPatience
from stretta.reports import Closed, Connected, Observer, TrustedLocally
from stretta.tcp.file_source import CHUNK, FileSource
from stretta.tcp.progress import Progress

if TYPE_CHECKING:
    from stretta.net.client.tls_socket import TlsSocket

__all__ = ["Conversation", "ask", "ask_async", "connect"]

SERVER = "stretta tcp server"

Sink = Callable[[memoryview], object]


def ask(
    message: bytes,
    host: str = "127.0.0.1",
    port: int = 12000,
    *,
    patience: StreamPatience | None = None,
    tls: ClientTls | None = None,
) -> bytes:
    """Send ``message``, close our direction, and return all that the server sends.

    ``host`` is an address or a name; every address of a name is tried. ``tls`` turns TLS on. Raises
    NetworkError (refused, reset, unreachable, no such name), TimedOut, and ReplyEndedEarly, whose
    ``reply`` holds the bytes received so far.

    >>> from stretta import tcp
    >>> server = getfixture("tcp_upper_server")
    >>> tcp.ask("perché".encode(), port=server.port).decode()
    'PERCHÉ'
    """
    reply = bytearray()
    with connect(host, port, patience=patience, tls=tls) as conversation:
        try:
            conversation.exchange(message, reply.extend)
        except ReplyEndedEarly as error:
            error.reply = bytes(reply)
            raise
    return bytes(reply)


async def ask_async(
    message: bytes,
    host: str = "127.0.0.1",
    port: int = 12000,
    *,
    patience: StreamPatience | None = None,
    tls: ClientTls | None = None,
) -> bytes:
    """Do what ``ask`` does, without blocking the event loop; raises the same errors.

    >>> import asyncio
    >>> from stretta import tcp
    >>> server = getfixture("tcp_upper_server")
    >>> asyncio.run(tcp.ask_async(b"ciao", port=server.port))
    b'CIAO'
    """
    patience = patience or StreamPatience()
    if wants_tls(tls):
        return await _ask_in_thread(message, host, port, patience, tls)
    sock = await dial_async(host, port, timeout=patience.connect_timeout, server=SERVER)
    with sock:
        return await _exchange_async(sock, message, patience.timeout)


async def _ask_in_thread(
    message: bytes, host: str, port: int, patience: StreamPatience, tls: ClientTls | None
) -> bytes:
    """Ask in a thread, which ends soon after a cancellation."""
    import asyncio  # noqa: PLC0415 - the blocking client starts without it

    opened: list[Conversation] = []
    reply = bytearray()
    is_cancelled = False

    def exchange() -> bytes:
        with connect(host, port, patience=patience, tls=tls) as conversation:
            opened.append(conversation)
            if not is_cancelled:
                conversation.exchange(message, reply.extend)
        return bytes(reply)

    try:
        return await asyncio.to_thread(exchange)
    except ReplyEndedEarly as error:
        error.reply = bytes(reply)
        raise
    except asyncio.CancelledError:
        is_cancelled = True
        for conversation in opened:
            conversation.abort()
        raise


async def _exchange_async(sock: socket.socket, message: bytes, timeout: float | None) -> bytes:
    """Send ``message`` and receive the reply at the same time; return the reply."""
    import asyncio  # noqa: PLC0415 - the blocking client starts without it

    progress = Progress()
    progress.total = len(message)
    reply = bytearray()
    loop = asyncio.get_running_loop()

    async def send() -> None:
        for start in range(0, len(message), CHUNK):
            piece = message[start : start + CHUNK]
            await loop.sock_sendall(sock, piece)
            progress.sent += len(piece)
            extend_limit()
        sock.shutdown(socket.SHUT_WR)
        progress.input_ended = True

    def extend_limit() -> None:
        if timeout is not None:
            limit.reschedule(loop.time() + timeout)

    sending = asyncio.create_task(send())
    try:
        async with asyncio.timeout(timeout) as limit:
            while data := await loop.sock_recv(sock, CHUNK):
                reply += data
                progress.answered += len(data)
                extend_limit()
    except ConnectionResetError as error:
        progress.broken = error
    except TimeoutError:
        raise progress.silence(timeout) from None
    finally:
        # the socket must not be closed while the event loop still uses it
        await cancel_and_wait(sending)
    progress.check_end(bytes(reply))
    return bytes(reply)


def connect(
    host: str = "127.0.0.1",
    port: int = 12000,
    *,
    patience: StreamPatience | None = None,
    tls: ClientTls | None = None,
    watch: Observer | None = None,
) -> Conversation:
    """Return a connected Conversation, a context manager.

    ``tls`` turns TLS on and tells whom to trust. ``watch`` is called with each report. Raises
    NetworkError or TimedOut when no address of ``host`` accepts the connection, or when the TLS
    handshake fails.

    >>> from stretta import tcp
    >>> server = getfixture("tcp_upper_server")
    >>> with tcp.connect(port=server.port) as conversation:
    ...     conversation.send(b"uno\\ndue\\n")
    ...     conversation.receive_until(b"\\n"), conversation.receive_until(b"\\n")
    (b'UNO\\n', b'DUE\\n')
    """
    patience = patience or StreamPatience()
    sock = dial(host, port, timeout=patience.connect_timeout, server=SERVER)
    if not wants_tls(tls):
        return Conversation(sock, patience, watch)
    from stretta.net.client.tls_socket import TlsSocket  # noqa: PLC0415 - a plain client starts without
    from stretta.net.tls import data_folder  # noqa: PLC0415

    assert tls is not None  # noqa: S101 - for the type checker
    secured = TlsSocket.secure(sock, host, port, tls, patience.connect_timeout)
    if watch is not None and secured.trusts_local_authority:
        watch(TrustedLocally(str(data_folder() / "ca.pem")))
    return Conversation(secured, patience, watch)


def wants_tls(tls: ClientTls | None) -> bool:
    """Return whether the options turn TLS on; options that tell whom to trust do so, too."""
    return tls is not None and (tls.tls or tls.insecure or tls.tls_ca is not None)


class Conversation:
    """One TCP connection of a client, whose two directions are closed independently.

    ``connect`` returns one; ``server`` is the server's address. ``partial_sends`` counts the calls
    of ``send()`` that sent a part of their data: the lecture's reason for ``sendall()``.

    >>> from stretta import tcp
    >>> server = getfixture("tcp_upper_server")
    >>> reply = bytearray()
    >>> with tcp.connect(port=server.port) as conversation:
    ...     conversation.exchange(b"ciao", reply.extend)
    >>> reply
    bytearray(b'CIAO')
    """

    def __init__(
        self,
        sock: socket.socket | TlsSocket,
        patience: StreamPatience,
        watch: Observer | None = None,
    ) -> None:
        self.server = peer_address(sock)
        self.partial_sends = 0
        self._sock = sock
        self._patience = patience
        self._watch = watch
        self._progress = Progress()
        self._unread = bytearray()
        self._inbox = memoryview(bytearray(CHUNK))
        if watch:
            watch(Connected(self.server))

    def exchange(self, message: bytes | int, sink: Sink) -> None:
        """Send all of ``message``, close our direction, and call ``sink`` with each piece received.

        ``message`` is bytes, or a file descriptor, which is read only as fast as the server accepts
        the bytes. A piece is valid until ``sink`` returns. Sending and receiving go on at the same
        time: a client that sends everything before it reads deadlocks when both buffers are full.
        Raises NetworkError (reset), TimedOut, ReplyEndedEarly.
        """
        source = FileSource(-1 if isinstance(message, bytes) else message)
        rest = memoryview(message if isinstance(message, bytes) else b"")
        progress, here = self._progress, self._sock.fileno()
        progress.total = len(rest) if isinstance(message, bytes) else source.size
        poll = select.poll()
        while True:
            if not rest and source.ended:
                self.finish()
            reading = not rest and not source.ended
            if reading:
                poll.register(source.descriptor, select.POLLIN)
            poll.register(
                here, select.POLLIN | (select.POLLOUT if rest and not progress.broken else 0)
            )
            ready = self._wait(poll, None if reading else self._patience.timeout)
            if reading:
                poll.unregister(source.descriptor)
                if source.descriptor in ready:
                    rest = source.read()
            if rest and not progress.broken:
                rest = rest[self._send_some(rest) :]
            if ready.get(here, 0) & ~select.POLLOUT:
                piece = self._receive_some()
                if piece is None:
                    break
                sink(piece)
        progress.input_ended = not rest and source.at_end()
        progress.check_end()

    def send(self, data: bytes) -> None:
        """Send all of ``data``; bytes that arrive in the meantime are kept for ``receive_until``.

        Raises NetworkError (reset) and TimedOut.
        """
        rest = memoryview(data)
        poll = select.poll()
        poll.register(self._sock, select.POLLIN | select.POLLOUT)
        while rest:
            ready = self._wait(poll, self._patience.timeout)
            if ready[self._sock.fileno()] & ~select.POLLOUT:
                self._keep()
            rest = rest[self._send_some(rest) :]
            if self._progress.broken:
                self._progress.check_end()

    def receive_until(self, end: bytes) -> bytes:
        """Return the bytes up to and including ``end``, or the rest when the server closes.

        Raises NetworkError (reset) and TimedOut.
        """
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        while end not in self._unread:
            self._wait(poll, self._patience.timeout)
            if not self._keep():
                break
        at = self._unread.find(end)
        length = len(self._unread) if at < 0 else at + len(end)
        data = bytes(self._unread[:length])
        del self._unread[:length]
        return data

    def finish(self) -> None:
        """Close our direction; the server may go on sending (half-close, RFC 9293 section 3.6).

        A server that has closed the connection already is no error here: receiving reports it.
        """
        if not self._progress.input_ended:
            self._progress.input_ended = True
            try:
                self._sock.shutdown(socket.SHUT_WR)
            except OSError as error:
                if error.errno != errno.ENOTCONN:
                    raise

    def close(self) -> None:
        """Close both directions."""
        if self._sock.fileno() >= 0:
            self._sock.close()
            if self._watch:
                self._watch(Closed(self.server))

    def abort(self) -> None:
        """Shut down both directions: a call that waits in another thread returns soon."""
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:  # closed or reset already
            return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _wait(self, poll: select.poll, timeout: float | None) -> dict[int, int]:
        ready = dict(poll.poll(None if timeout is None else timeout * 1000))
        if not ready:
            raise self._progress.silence(timeout)
        return ready

    def _send_some(self, rest: memoryview) -> int:
        """Send as much as the kernel accepts now; return how many bytes that is."""
        try:
            taken = self._sock.send(rest)
        except BlockingIOError:
            return 0
        except OSError as error:  # the server reads no more, but its reply can be received
            self._progress.broken = error
            return 0
        self._progress.sent += taken
        if taken < len(rest):
            self.partial_sends += 1
        return taken

    def _receive_some(self) -> memoryview | None:
        """Return the bytes that have arrived, or None at the end of the stream, orderly or not."""
        try:
            size = self._sock.recv_into(self._inbox)
        except BlockingIOError:
            return self._inbox[:0]
        except OSError as error:
            self._progress.broken = error
            return None
        self._progress.answered += size
        return self._inbox[:size] if size else None

    def _keep(self) -> bool:
        """Keep the bytes that have arrived; return whether more can arrive."""
        piece = self._receive_some()
        if piece is None:
            if self._progress.broken:
                self._progress.check_end()
            return False
        self._unread += piece
        return True
