"""The TCP client: sends and receives at the same time, and says so when the server does not.

Everything here blocks, as the lecture's calls do, except ``ask_async``; no event loop is imported.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import stat
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from stretta.errors import NetworkError, ReplyEndedEarly, StrettaError, TimedOut
from stretta.net.client.connect import dial, dial_async
from stretta.net.client.peer_address import peer_address
from stretta.options import ClientTls, StreamPatience
from stretta.reports import Closed, Connected, Observer

if TYPE_CHECKING:
    from stretta.net.client.tls_socket import TlsSocket

__all__ = ["Conversation", "ask", "ask_async", "connect"]

CHUNK = 256 * 1024
"""Bytes that one read or receive takes at most: enough to make the cost of a call small."""

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
    """Send ``message``, close our direction, and return everything the server answers.

    ``host`` is an address or a name, all of whose addresses are tried. Raises NetworkError
    (refused, reset, unreachable, no such name), TimedOut, and ReplyEndedEarly, whose ``reply`` is
    what had come.

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
    import asyncio  # noqa: PLC0415 - the blocking client starts without it

    if wants_tls(tls):
        return await asyncio.to_thread(ask, message, host, port, patience=patience, tls=tls)
    patience = patience or StreamPatience()
    sock = await dial_async(host, port, timeout=patience.connect_timeout, server=SERVER)
    tally = Tally()
    reply = bytearray()
    loop = asyncio.get_running_loop()

    async def send() -> None:
        for start in range(0, len(message), CHUNK):
            piece = message[start : start + CHUNK]
            await loop.sock_sendall(sock, piece)
            tally.sent += len(piece)
            progress()
        sock.shutdown(socket.SHUT_WR)
        tally.input_ended = True

    def progress() -> None:
        if patience.timeout is not None:
            limit.reschedule(loop.time() + patience.timeout)

    sending = asyncio.create_task(send())
    try:
        async with asyncio.timeout(patience.timeout) as limit:
            while data := await loop.sock_recv(sock, CHUNK):
                reply += data
                tally.answered += len(data)
                progress()
    except ConnectionResetError as error:
        tally.cut = error
    except TimeoutError:
        raise tally.silence(patience.timeout) from None
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        sock.close()
    tally.total = len(message)
    tally.check(bytes(reply))
    return bytes(reply)


def connect(
    host: str = "127.0.0.1",
    port: int = 12000,
    *,
    patience: StreamPatience | None = None,
    tls: ClientTls | None = None,
    watch: Observer | None = None,
) -> Conversation:
    """Return a connected conversation; use it as a context manager.

    ``tls`` asks for encryption, and says whom to trust. ``watch`` is called with each report.
    Raises NetworkError or TimedOut when no address of ``host`` accepts, or when no secure
    connection comes about.

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

    assert tls is not None  # noqa: S101 - for the type checker
    secured = TlsSocket.secure(sock, host, port, tls, patience.connect_timeout)
    return Conversation(secured, patience, watch)


def wants_tls(tls: ClientTls | None) -> bool:
    """Return whether TLS is asked for, by name or by saying whom to trust."""
    return tls is not None and (tls.tls or tls.insecure or tls.tls_ca is not None)


class Conversation:
    """One TCP connection seen from the client: bytes out, bytes in, each end closed by itself.

    ``connect`` makes one; ``server`` is the address at the other end. ``partial_sends`` counts the
    calls of ``send()`` that took less than they were given: the lecture's reason for ``sendall()``.

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
        self._tally = Tally()
        self._unread = bytearray()
        self._inbox = memoryview(bytearray(CHUNK))
        if watch:
            watch(Connected(self.server))

    def exchange(self, message: bytes | int, sink: Sink) -> None:
        """Send all of ``message``, close our direction, and give ``sink`` each piece of the reply.

        ``message`` is bytes, or a file descriptor that is read to its end as the server takes it;
        ``sink`` must be done with a piece before it returns. Both directions move at once: who
        sends everything before reading stands still as soon as the buffers of both are full.
        Raises NetworkError (reset), TimedOut, ReplyEndedEarly.
        """
        source = FileSource(-1 if isinstance(message, bytes) else message)
        rest = memoryview(message if isinstance(message, bytes) else b"")
        tally, here = self._tally, self._sock.fileno()
        tally.total = len(rest) if isinstance(message, bytes) else source.size
        poll = select.poll()
        while True:
            if not rest and source.ended:
                self.finish()
            hungry = not rest and not source.ended
            if hungry:
                poll.register(source.descriptor, select.POLLIN)
            poll.register(here, select.POLLIN | (select.POLLOUT if rest and not tally.cut else 0))
            ready = self._wait(poll, None if hungry else self._patience.timeout)
            if hungry:
                poll.unregister(source.descriptor)
                if source.descriptor in ready:
                    rest = source.read()
            if rest and not tally.cut:
                rest = rest[self._send_some(rest) :]
            if ready.get(here, 0) & ~select.POLLOUT:
                piece = self._receive_some()
                if piece is None:
                    break
                sink(piece)
        tally.input_ended = not rest and source.at_end()
        tally.check()

    def send(self, data: bytes) -> None:
        """Send all of ``data``; what the server says meanwhile is kept for ``receive_until``.

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
            if self._tally.cut:
                self._tally.check()

    def receive_until(self, end: bytes) -> bytes:
        """Return the server's bytes up to and including ``end``, or all there is when it closes.

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
        """Close our direction: the server sees the end of what we say, and may go on (half-close).

        Raises nothing when the server has closed already: receiving tells.
        """
        if not self._tally.input_ended:
            self._tally.input_ended = True
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
            raise self._tally.silence(timeout)
        return ready

    def _send_some(self, rest: memoryview) -> int:
        """Send what the kernel takes now, and return how many bytes that is."""
        try:
            taken = self._sock.send(rest)
        except BlockingIOError:
            return 0
        except OSError as error:  # nobody reads any more, but the reply so far can be received
            self._tally.cut = error
            return 0
        self._tally.sent += taken
        if taken < len(rest):
            self.partial_sends += 1
        return taken

    def _receive_some(self) -> memoryview | None:
        """Return what has come, or None at the end of the stream, be it orderly or not."""
        try:
            size = self._sock.recv_into(self._inbox)
        except BlockingIOError:
            return self._inbox[:0]
        except OSError as error:
            self._tally.cut = error
            return None
        self._tally.answered += size
        return self._inbox[:size] if size else None

    def _keep(self) -> bool:
        """Put what has come aside; return whether more may come."""
        piece = self._receive_some()
        if piece is None:
            if self._tally.cut:
                self._tally.check()
            return False
        self._unread += piece
        return True


class FileSource:
    """A descriptor that is read piece by piece; -1 is one that has ended."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.ended = descriptor < 0
        self.size = _bytes_left(descriptor)
        self._buffer = memoryview(bytearray(0 if self.ended else CHUNK))

    def read(self) -> memoryview:
        """Return the next piece; an empty one is the end."""
        piece = self._buffer[: os.readv(self.descriptor, [self._buffer])]
        self.ended = not piece
        return piece

    def at_end(self) -> bool:
        """Return whether the input is over, waiting for nothing."""
        if not self.ended:
            poll = select.poll()
            poll.register(self.descriptor, select.POLLIN)
            if poll.poll(0):
                self.read()
        return self.ended


def _bytes_left(descriptor: int) -> int | None:
    """Return how much a regular file has left to read; None where that cannot be known."""
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return None
        return max(0, status.st_size - os.lseek(descriptor, 0, os.SEEK_CUR))
    except OSError:
        return None


class Tally:
    """What was sent and what was answered, and whether that is an orderly end."""

    def __init__(self) -> None:
        self.sent = 0
        self.answered = 0
        self.total: int | None = None  # bytes the message has, where that is known
        self.input_ended = False
        self.cut: OSError | None = None

    def check(self, reply: bytes = b"") -> None:
        """Raise the error that an end at this point is; return if it is an orderly one."""
        if self.input_ended and self.cut is None:
            return
        if self.cut is not None and not isinstance(
            self.cut, ConnectionResetError | BrokenPipeError
        ):
            raise NetworkError("the connection broke", os.strerror(self.cut.errno or 0).lower())
        sent, answered = self.sent, self.answered
        if self.cut is not None and not answered:
            raise NetworkError(
                "the server reset the connection",
                f"it answered none of the {sent} bytes that were sent"
                if sent
                else "before anything was said",
                "It may serve too many already, have failed, or speak another protocol: its own"
                " messages may tell.",
            )
        total = sent if self.total is None else self.total
        what = f"the server closed the connection after {answered} of {total} bytes were answered"
        if self.cut is None:
            raise ReplyEndedEarly(
                what,
                "it did not wait for the end of the input",
                "It was silent for too long (a server's idle limit), was stopped, or serves one"
                " recv() a connection.",
                reply=reply,
            )
        raise ReplyEndedEarly(
            what,
            "it did not read all that was sent, and the rest is lost"
            if answered < total
            else "it reset the connection, so more may be missing",
            "A server that calls recv() once and closes takes one piece of a stream for all of it.",
            reply=reply,
        )

    def silence(self, timeout: float | None) -> StrettaError:
        """Return the error for a server that let ``timeout`` seconds pass."""
        return TimedOut(
            f"the server was silent for {timeout:g} s",
            f"it answered {self.answered} bytes so far ({self.sent} were sent)",
            "Wait longer with --timeout SECONDS, or without limit by leaving it out.",
        )
