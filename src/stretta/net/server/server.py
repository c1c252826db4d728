"""A server's life: start, run until a signal, drain, stop; the same for every protocol."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from stretta.address import Endpoint
from stretta.escape import one_line
from stretta.net.server.listen import bind
from stretta.net.server.loop import run
from stretta.reports import Dropped, Stopped, Stopping, Waiting, Watch

__all__ = ["Server"]

WIND_UP_EVERY = 0.25
"""Seconds between two looks at what is still open while a server drains."""


def _nobody_watches(report: object) -> None:
    """Let a report pass."""


class Server(ABC):
    """What the TCP, UDP and HTTP servers have in common; use it as an async context manager.

    ``endpoints`` are the addresses it waits on, ``counts`` what happened so far, by name.
    """

    kind = socket.SOCK_STREAM
    command = ""

    def __init__(self, host: str, port: int, *, drain_timeout: float, watch: Watch | None) -> None:
        self.host, self.port = host, port
        self.drain_timeout = drain_timeout
        self.watched = watch is not None
        self.watch: Watch = watch or _nobody_watches
        self.endpoints: list[Endpoint] = []
        self.counts: Counter[str] = Counter()
        self._told: set[str] = set()
        self._on_hangup: Callable[[], None] | None = None  # else SIGHUP ends the process
        self._ended: asyncio.Event | None = None
        self.stopping = False  # it takes nothing new, and what is at rest ends

    @property
    def takes_hangup(self) -> bool:
        """Whether SIGHUP means something else to it than the end."""
        return self._on_hangup is not None

    # what each protocol does in its own way

    @abstractmethod
    async def _open(self, sockets: list[socket.socket]) -> None:
        """Begin to serve on bound sockets."""

    @abstractmethod
    def _close(self) -> None:
        """Take nothing new."""

    @abstractmethod
    def _wind_up(self) -> int:
        """End what is at rest; return how many conversations are still going on."""

    @abstractmethod
    def abort(self) -> None:
        """End every conversation at once, whatever is lost."""

    # what they all do alike

    def bind(self, *, shared: bool = False) -> list[socket.socket]:
        """Take the port; return its sockets. Raises CannotServe when it cannot be had.

        A ``shared`` port can be taken again, by shared sockets only.
        """
        sockets = bind(self.host, self.port, self.kind, command=self.command, shared=shared)
        self.endpoints = [Endpoint.from_sockaddr(sock.getsockname()) for sock in sockets]
        self.port = self.endpoints[0].port
        return sockets

    async def start(self, sockets: list[socket.socket] | None = None) -> None:
        """Bind and begin to serve; returns when the server really accepts.

        ``sockets`` are what ``bind()`` has returned, if it was called already. Raises CannotServe
        when the address or port cannot be had.
        """
        if sockets is None:
            sockets = self.bind()
        self._ended = asyncio.Event()
        await self._open(sockets)
        self.announce()

    def announce(self) -> None:
        """Say that the server accepts from now on."""
        for endpoint in self.endpoints:
            self.watch(Waiting(endpoint))

    async def stop(self) -> None:
        """Take nothing new, let open conversations end for ``drain_timeout`` seconds, stop.

        Conversations that are at rest end at once; calling ``abort()`` meanwhile ends them all.
        """
        ended = self._ended
        if ended is None or self.stopping:
            return
        self.stopping = True
        self._close()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.drain_timeout
        still_open, told = self._wind_up(), False
        while still_open and (left := deadline - loop.time()) > 0 and not ended.is_set():
            try:
                await asyncio.wait_for(ended.wait(), min(left, WIND_UP_EVERY))
            except TimeoutError:
                still_open = self._wind_up()
                if still_open and not told:  # what was at rest has ended, and is not counted
                    told = True
                    self.watch(Stopping(still_open, self.drain_timeout))
        self.abort()
        await asyncio.sleep(0)  # what was aborted says so in the loop's next turn
        self.watch(Stopped(dict(self.counts)))

    def run(self, *, workers: int = 1) -> None:
        """Serve until SIGINT or SIGTERM, then stop; a second signal stops at once.

        Blocks: it is the whole program of a simple server. More than one of ``workers`` are
        processes that share the port; limits are each one's own. Raises CannotServe as ``start()``
        does.
        """
        if workers > 1:
            from stretta.net.server.workers import supervise  # noqa: PLC0415 - most servers are one process

            supervise(self, workers)
            return
        # what start-up made lives as long as the server: the collector need not look at it again
        gc.collect()
        gc.freeze()
        run(self.serve_until_stopped())

    @contextmanager
    def in_background(self) -> Iterator[Self]:
        """Serve from a thread of its own while the ``with`` block goes on, then stop.

        For programs and tests that block. Raises CannotServe as ``start()`` does.

        >>> from stretta import tcp
        >>> with tcp.serve().in_background() as server:
        ...     tcp.ask(b"ciao", port=server.port)
        b'CIAO'
        """
        started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

        async def serve() -> None:
            loop, leave = asyncio.get_running_loop(), asyncio.Event()
            loop.set_exception_handler(self._loop_trouble)
            try:
                await self.start()
            except BaseException as error:  # noqa: BLE001 - it is raised in the other thread
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
        """Do what ``run`` does, on the running event loop of the main thread."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._loop_trouble)
        stopping = asyncio.Event()

        def on_signal() -> None:
            if stopping.is_set():
                self.abort()
                if self._ended is not None:
                    self._ended.set()
            stopping.set()

        # before anybody is told that we serve: who is told may send a signal at once
        for number in signals:
            loop.add_signal_handler(number, on_signal)
        if self._on_hangup is not None:
            loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
        await self.start(sockets)
        await stopping.wait()
        await self.stop()

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

    def _idle(self) -> None:
        """Be called when nothing is going on any more: a stop that waits for it ends."""
        if self.stopping and self._ended is not None:
            self._ended.set()

    def dropped(self, client: Endpoint, name: str, why: str) -> None:
        """Count a refusal or a cut under ``name``; report it once a second for each name."""
        self.counts[name] += 1
        if name not in self._told:
            self._told.add(name)
            self.watch(Dropped(client, one_line(why)))

    def _tick(self) -> None:
        """Be called about once a second: let the next refusal of each kind be reported."""
        self._told.clear()

    def _loop_trouble(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Keep the event loop's complaints to one line each, and at most one a second."""
        error = context.get("exception")
        why = f"{context.get('message', 'trouble')}: {error}" if error else context["message"]
        if loop.get_debug():
            loop.default_exception_handler(context)
        self.dropped(self.endpoints[0], "trouble", " ".join(str(why).split()))
