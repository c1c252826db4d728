"""A server's lifecycle: start, run until a signal, drain, stop; the same for every protocol."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from stretta.address import Endpoint
from stretta.escape import one_line
from stretta.net.server.listen import bind
from stretta.net.server.loop import GRACE, ExitDeadline, run
from stretta.options.service import WorkerOptions
from stretta.reports import Dropped, Observer, Stopped, Stopping, Waiting

__all__ = ["Server"]

DRAIN_CHECK_INTERVAL = 0.25
"""Seconds between two checks for open conversations while a server drains."""


def _ignore(report: object) -> None:
    """Ignore a report."""


class Server(ABC):
    """The base of the TCP, UDP and HTTP servers; an async context manager.

    ``endpoints`` are the addresses that it listens on; ``counts`` counts its events by name.
    """

    kind = socket.SOCK_STREAM
    command = ""

    def __init__(
        self, host: str, port: int, *, drain_timeout: float, watch: Observer | None
    ) -> None:
        self.host, self.port = host, port
        self.drain_timeout = drain_timeout
        self.watched = watch is not None
        self.watch: Observer = watch or _ignore
        self.endpoints: list[Endpoint] = []
        self.counts: Counter[str] = Counter()
        self._reported: set[str] = set()  # names of drops reported since the last tick
        self._ended: asyncio.Event | None = None
        self.stopping = False  # it accepts nothing new and closes idle conversations

    # each protocol has its own

    @abstractmethod
    async def _open(self, sockets: list[socket.socket]) -> None:
        """Serve on bound sockets."""

    @abstractmethod
    def _close(self) -> None:
        """Accept nothing new."""

    @abstractmethod
    def _close_idle(self) -> int:
        """Close idle conversations; return how many are still open."""

    @abstractmethod
    def abort(self) -> None:
        """End every conversation at once, even if data is lost."""

    def _before_exit(self) -> None:  # noqa: B027 - not every server has something to do
        """Prepare for the end of a process that user code keeps from stopping in time."""

    def reload(self) -> None:  # noqa: B027 - not every server has such files
        """Read again the files that the server was started with. SIGHUP calls it.

        A server without such files continues unchanged.
        """

    # common to all

    def bind(self, *, shared: bool = False) -> list[socket.socket]:
        """Bind the port and return its sockets. Raises CannotServe.

        Further ``shared`` sockets can be bound to a ``shared`` port.
        """
        sockets = bind(self.host, self.port, self.kind, command=self.command, shared=shared)
        self.endpoints = [Endpoint.from_sockaddr(sock.getsockname()) for sock in sockets]
        self.port = self.endpoints[0].port
        return sockets

    async def start(self, sockets: list[socket.socket] | None = None) -> None:
        """Bind and serve; return when the server accepts.

        ``sockets`` are those that ``bind()`` has returned, if it was called already. Raises
        CannotServe when the address or port cannot be bound.
        """
        if sockets is None:
            sockets = self.bind()
        self._ended = asyncio.Event()
        await self._open(sockets)
        self.announce()
        self.report_limits()

    def report_limits(self) -> None:  # noqa: B027 - not every server has such limits
        """Report what the system allows the server, if that is less than its limits."""

    def announce(self) -> None:
        """Report that the server accepts from now on."""
        for endpoint in self.endpoints:
            self.watch(Waiting(endpoint))

    async def stop(self) -> None:
        """Accept nothing new, give open conversations ``drain_timeout`` seconds to end, stop.

        Idle conversations end at once. Calling ``abort()`` in the meantime ends them all.
        """
        ended = self._ended
        if ended is None or self.stopping:
            return
        self.stopping = True
        self._close()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.drain_timeout
        still_open, reported = self._close_idle(), False
        while still_open and (left := deadline - loop.time()) > 0 and not ended.is_set():
            try:
                await asyncio.wait_for(ended.wait(), min(left, DRAIN_CHECK_INTERVAL))
            except TimeoutError:
                still_open = self._close_idle()
                if still_open and not reported:  # after the idle ones have ended
                    reported = True
                    self.watch(Stopping(still_open, self.drain_timeout))
        self.abort()
        await asyncio.sleep(0)  # connection_lost() of what was aborted runs there
        self.watch(Stopped(dict(self.counts)))

    def run(self, *, workers: int = 1) -> None:
        """Serve until SIGINT or SIGTERM, then stop; a second signal stops at once.

        Blocks. With more than one of ``workers``, that many processes share the port, each with
        limits of its own. Raises CannotServe as ``start()`` does, UsageError for another number.
        """
        WorkerOptions(workers=workers)  # raises UsageError
        if workers > 1:
            from stretta.net.server.workers import supervise  # noqa: PLC0415 - most servers are one process

            supervise(self, workers)
            return
        # objects made at start-up live as long as the server: exempt them from collection
        gc.collect()
        gc.freeze()
        run(self.serve_until_stopped())

    @contextmanager
    def in_background(self) -> Iterator[Self]:
        """Serve from another thread during the ``with`` block, then stop.

        For programs and tests that block. Raises CannotServe as ``start()`` does.

        >>> from stretta import tcp
        >>> with tcp.serve().in_background() as server:
        ...     tcp.ask(b"ciao", port=server.port)
        b'CIAO'
        """
        started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

        async def serve() -> None:
            loop, leave = asyncio.get_running_loop(), asyncio.Event()
            loop.set_exception_handler(self._on_loop_error)
            try:
                await self.start()
            except BaseException as error:  # noqa: BLE001 - raised in the other thread
                started.set_exception(error)
                return
            started.set_result((loop, leave))
            await leave.wait()
            await self.stop()

        thread = threading.Thread(target=run, args=(serve(),), name=self.command)
        thread.start()
        try:
            loop, leave = started.result()
            try:
                yield self
            finally:
                loop.call_soon_threadsafe(leave.set)
        finally:
            thread.join()

    async def serve_until_stopped(
        self,
        sockets: list[socket.socket] | None = None,
        signals: Iterable[int] = (signal.SIGINT, signal.SIGTERM),
    ) -> None:
        """Do what ``run`` does, on the event loop that runs in the main thread."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._on_loop_error)
        stopping = asyncio.Event()
        deadline = ExitDeadline(self._before_exit)
        signals_seen = 0

        def on_signal_at_once(_number: int, _frame: object) -> None:
            nonlocal signals_seen
            signals_seen += 1
            deadline.arm(GRACE + (self.drain_timeout if signals_seen == 1 else 0))

        def on_signal() -> None:
            if stopping.is_set():
                self.abort()
                if self._ended is not None:
                    self._ended.set()
            stopping.set()

        # before the server reports that it serves: a reader of that may send a signal at once
        for number in signals:
            loop.add_signal_handler(number, on_signal)
            # Python calls it between two instructions, also when user code blocks the event loop
            signal.signal(number, on_signal_at_once)
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        await self.start(sockets)
        await stopping.wait()
        await self.stop()
        deadline.disarm()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    def _on_idle(self) -> None:
        """End a pending ``stop()``. Called when the last conversation has ended."""
        if self.stopping and self._ended is not None:
            self._ended.set()

    def dropped(self, client: Endpoint, name: str, why: str) -> None:
        """Count a refusal or a reset under ``name``; report each name once a tick at most."""
        self.counts[name] += 1
        if name not in self._reported:
            self._reported.add(name)
            self.watch(Dropped(client, one_line(why)))

    def _tick(self) -> None:
        """Report the next drop of each name again. Called about once a second."""
        self._reported.clear()

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Report an error of the event loop on one line, at most once a tick."""
        error = context.get("exception")
        why = f"{context.get('message', 'trouble')}: {error}" if error else context["message"]
        if loop.get_debug():
            loop.default_exception_handler(context)
        self.dropped(self.endpoints[0], "trouble", " ".join(str(why).split()))
