"""The TCP server: each connection's bytes go through a service, and back."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Literal, cast

from stretta.errors import UsageError
from stretta.net.server.connection import Connection
from stretta.net.server.stream_server import StreamServer
from stretta.options import ServerTls, StreamLimits
from stretta.reports import Observer, Received, Sent
from stretta.services import (
    FastPath,
    Service,
    cut_of,
    fast_path_of,
    is_async,
    no_fast_path,
    upper,
)
from stretta.tcp.framing import Framing, LineFraming, LineTooLong, StreamFraming

__all__ = ["TcpServer", "serve"]


def serve(
    service: Service = upper,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    framing: Literal["stream", "line"] = "stream",
    limits: StreamLimits | None = None,
    tls: ServerTls | None = None,
    watch: Observer | None = None,
) -> TcpServer:
    """Return a TCP server that answers every connection through ``service``.

    ``service`` maps request bytes to reply bytes, plain or async. With ``framing="stream"`` it gets
    whatever arrives, as it arrives; with ``"line"``, each line without its end. ``host`` is an
    address or a name (``"::"`` takes IPv4 too), ``port`` 0 any free port. ``watch`` is called with
    each report. Use the server as an async context manager, or block in its ``run()``; both raise
    CannotServe when the address or port cannot be had. Raises UsageError when ``tls`` asks for a
    certificate that cannot be used.

    >>> import asyncio
    >>> from stretta import tcp
    >>> async def main() -> bytes:
    ...     async with tcp.serve(lambda data: data[::-1], framing="line") as server:
    ...         return await tcp.ask_async(b"ciao\\n", port=server.port)
    >>> asyncio.run(main())
    b'oaic\\n'
    """
    return TcpServer(service, host, port, framing, limits or StreamLimits(), tls, watch)


class TcpServer(StreamServer):
    """What ``serve`` returns: ``endpoints``, ``port`` and ``counts`` tell what it is and did.

    >>> from stretta import tcp
    >>> with tcp.serve().in_background() as server:
    ...     _ = tcp.ask(b"ciao", port=server.port)
    >>> server.counts["connections"]
    1
    """

    command = "stretta tcp server"

    def __init__(
        self,
        service: Service,
        host: str,
        port: int,
        framing: Literal["stream", "line"],
        limits: StreamLimits,
        tls: ServerTls | None,
        watch: Observer | None,
    ) -> None:
        if framing not in ("stream", "line"):
            raise UsageError(f"there is no framing {framing!r}", hint="Framings: stream, line.")
        kind = AsyncAnswering if is_async(service) else Answering

        def new_framing() -> Framing:
            return (
                LineFraming(limits.max_line)
                if framing == "line"
                else StreamFraming(cut_of(service))
            )

        super().__init__(
            lambda: kind(self, service, new_framing()),
            host,
            port,
            limits=limits,
            tls=tls,
            watch=watch,
        )


LINGER = 1.0
"""Seconds from a refusal to the reset that tells of it."""


class Answering(Connection):
    """One connection and a plain service: what arrives is answered before anything else."""

    __slots__ = ("_fast_path", "_framing", "_received", "_service")

    takes_views = True

    def __init__(self, server: TcpServer, service: Service, framing: Framing) -> None:
        super().__init__(server)
        self._service = service
        self._framing = framing
        self._received = False  # and the reply not yet reported
        self._fast_path: FastPath = no_fast_path

    def data_received(self, data: bytes | memoryview) -> None:
        self.busy = True
        fast_path = (
            self._fast_path
        )  # to call an attribute takes longer in __slots__ than a variable
        reply = fast_path(data)
        if reply is None:
            self._take(bytes(data))
        else:
            self.transport.write(reply)

    def _take(self, data: bytes) -> None:
        """Answer what has no fast answer: the first bytes, split characters, other services."""
        framing = self._framing
        if not self._received and not isinstance(framing, Refused):
            self._begin()
        try:
            for request, end in framing.feed(data):
                self._answer(request, end)
        except Exception as error:  # noqa: BLE001 - a service can fail in any way, the server not
            self._failed(error)
            return
        at_rest = isinstance(framing, StreamFraming) and not framing.holds
        self._answer_with(fast_path_of(self._service) if at_rest else None)

    def _answer_with(self, fast_path: FastPath | None) -> None:
        """Let this function answer from now on; our own transport calls it directly."""
        fast = self.fast
        if fast is not None:
            fast.set_fast_path(fast_path)
        else:
            self._fast_path = fast_path or no_fast_path

    def eof_received(self) -> bool:
        # the client has said all it has to say (RFC 9293 3.6): answer the rest, then close
        try:
            for request, end in self._framing.finish():
                self._answer(request, end)
        except Exception as error:  # noqa: BLE001
            self._failed(error)
        if not isinstance(self._framing, Refused):
            self._finish()
        return True  # we close it ourselves, when all is answered

    def connection_lost(self, exc: Exception | None) -> None:
        if self._received and exc is None:
            self._end()
        super().connection_lost(exc)

    def on_rest(self) -> None:
        if self._received:
            self._end()

    def _answer(self, request: bytes, end: bytes) -> None:
        reply = cast("bytes | None", self._service(request))
        if reply is not None:
            self.transport.write(reply + end if end else reply)

    def _finish(self) -> None:
        self.transport.close()  # after what is still to be sent

    def _refuse_more(self, why: str) -> None:
        # a reset tells the client that not all was answered; it comes a moment later, so that the
        # replies to the lines before arrive first
        self._framing, self._received = Refused(), False
        self.server.dropped(self.peer, "too_long", why)
        asyncio.get_running_loop().call_later(LINGER, self.reset)

    def _begin(self) -> None:
        self._received = True
        if self.server.watched:
            self.server.watch(Received(self.peer))

    def _end(self) -> None:
        self._received = False
        self._answer_with(None)  # what comes next is to be reported
        if self.server.watched:
            self.server.watch(Sent(self.peer))

    def drop(self, name: str, why: str) -> None:
        self._received = False  # what was not answered is not reported as sent
        super().drop(name, why)

    def _failed(self, error: Exception) -> None:
        if isinstance(error, LineTooLong):
            self._refuse_more(str(error))
        else:
            self.drop("failed", f"the service failed with {type(error).__name__}: {error}")


class Refused:
    """The framing of a connection that is not listened to any more."""

    def feed(self, data: bytes) -> tuple[()]:
        """Throw the data away."""
        return ()

    def finish(self) -> tuple[()]:
        """Have nothing left."""
        return ()


class AsyncAnswering(Answering):
    """One connection and an async service: one request at a time, in order."""

    __slots__ = ("_eof", "_task", "_todo", "_writable")

    def __init__(self, server: TcpServer, service: Service, framing: Framing) -> None:
        super().__init__(server, service, framing)
        self._todo: deque[tuple[bytes, bytes]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._eof = False

    def pause_writing(self) -> None:
        super().pause_writing()
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()
        if self._task is None:
            super().resume_writing()

    def _answer(self, request: bytes, end: bytes) -> None:
        self._todo.append((request, end))
        if self._task is None:
            self.transport.pause_reading()  # what is not read cannot pile up
            self._task = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        service = cast("Callable[[bytes], Awaitable[bytes | None]]", self._service)
        try:
            while self._todo:
                request, end = self._todo.popleft()
                reply = await service(request)
                if reply is not None:
                    self.transport.write(reply + end)
                self.busy = True
                await self._writable.wait()
        except Exception as error:  # noqa: BLE001
            self._failed(error)
        finally:
            self._task = None
        if self._eof:
            self.transport.close()
        else:
            self.transport.resume_reading()

    def _finish(self) -> None:
        self._eof = True
        if self._task is None:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._task is not None:
            self._task.cancel()
        super().connection_lost(exc)

    def is_working(self) -> bool:
        return self._task is not None
