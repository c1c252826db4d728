"""Several processes that serve one port: started, watched, replaced and stopped together.

On Linux each has a socket of its own for that port (SO_REUSEPORT), over which the kernel spreads
who comes; with one socket for all, whichever worker wakes first takes nearly everybody. The
supervisor keeps all of them open, so when a worker ends, who waits for it waits for its successor.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import selectors
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NoReturn

from stretta.errors import CannotServe, StrettaError
from stretta.net.server.loop import run
from stretta.reports import Report, Serving, Stopped, Stopping, Waiting, WorkerEnded

if TYPE_CHECKING:
    from stretta.net.server.server import Server

__all__ = ["processors", "supervise"]

NEWS_EVERY = 0.25
"""Seconds between a worker's accounts of what it has counted."""

MOST_FAILURES = 5
"""Workers that may end before they serve, one after the other, until the supervisor gives up."""

SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


def processors() -> int:
    """Return how many processors this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        return os.cpu_count() or 1


def supervise(server: Server, count: int) -> None:
    """Serve with ``count`` processes until SIGINT or SIGTERM; a second signal stops at once.

    ``server`` has not been started; afterwards its ``counts`` are those of all. A worker that ends
    is replaced. Raises CannotServe when the port cannot be had, or no worker comes to serve.
    """
    places = _places(server, count)
    try:
        Supervisor(server, places).run()
    finally:
        _close(places)


Place = list[socket.socket]
"""The sockets of one worker."""


def _places(server: Server, count: int) -> list[Place]:
    place = server.bind()  # alone, to find out who has the port already
    if sys.platform != "linux":  # others let sockets share a port, and give all to one of them
        return [place] * count
    _close([place])
    places: list[Place] = []
    try:
        for _ in range(count):
            places.append(server.bind(shared=True))  # noqa: PERF401 - those bound are closed
    except BaseException:
        _close(places)
        raise
    return places


def _close(places: Iterable[Place]) -> None:
    for place in places:
        for sock in place:
            sock.close()


class Worker:
    """One process as its supervisor sees it."""

    def __init__(self, pid: int, link: socket.socket, place: Place) -> None:
        self.pid, self.link, self.place = pid, link, place
        self.ready = self.stopping = False
        self.counts: dict[str, int] = {}
        self._unread = b""

    def news(self) -> list[dict[str, Any]] | None:
        """Return what it has to say now; None when it has ended."""
        try:
            data = self.link.recv(65536)
        except OSError:
            data = b""
        if not data:
            return None
        *lines, self._unread = (self._unread + data).split(b"\n")
        return [json.loads(line) for line in lines]


class Supervisor:
    """Has no event loop: it waits for signals and for its workers' words, and does nothing else."""

    def __init__(self, server: Server, places: list[Place]) -> None:
        self._server, self._places = server, places
        self._workers: dict[int, Worker] = {}
        self._selector = selectors.DefaultSelector()
        self._past: Counter[str] = Counter()  # counted by workers that have ended
        self._announced = self._stopping = self._said_stopping = False
        self._open = 0  # conversations that were going on when the stop was called
        self._failures = 0
        self._due: list[tuple[float, Place]] = []  # when workers start, and where

    def run(self) -> None:
        gc.collect()
        gc.freeze()  # the workers share these pages until somebody writes to them
        with self._signals() as inbox:
            self._selector.register(inbox, selectors.EVENT_READ)
            try:
                for place in self._places:
                    self._start(place)
                while self._workers or self._due:
                    self._turn(inbox)
            except BaseException:
                self._tell(signal.SIGKILL)
                raise
            finally:
                self._selector.close()
        self._server.counts = self._past
        self._server.watch(Stopped(dict(self._past)))

    @contextmanager
    def _signals(self) -> Iterator[socket.socket]:
        """Turn signals into bytes that can be waited for, beside the workers' words."""
        inbox, outbox = socket.socketpair()
        inbox.setblocking(False)
        outbox.setblocking(False)
        before = {number: signal.signal(number, lambda *_: None) for number in SIGNALS}
        wakeup = signal.set_wakeup_fd(outbox.fileno())
        try:
            with inbox, outbox:
                yield inbox
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _turn(self, inbox: socket.socket) -> None:
        patience = None
        if self._due:
            patience = max(0.0, min(when for when, _ in self._due) - time.monotonic())
        for key, _ in self._selector.select(patience):
            if key.fileobj is inbox:
                for number in inbox.recv(64):
                    self._signalled(number)
            else:
                self._hear(key.data)
        for due in [due for due in self._due if due[0] <= time.monotonic()]:
            self._due.remove(due)
            self._start(due[1])

    def _signalled(self, number: int) -> None:
        if number == signal.SIGHUP and self._server.takes_hangup:
            self._tell(signal.SIGHUP)
        elif number in SIGNALS:
            self._stopping = True
            self._due.clear()
            _close(self._places)  # nobody new: the workers have their own hold on them
            self._tell(signal.SIGTERM)

    def _tell(self, number: int) -> None:
        for pid in self._workers:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    # workers

    def _start(self, place: Place) -> None:
        ours, theirs = socket.socketpair()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()  # else both processes would write what is held
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGINT, signal.SIGHUP):  # a terminal's reach all of us
                signal.signal(number, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            ours.close()
            for worker in self._workers.values():  # else no worker would see the supervisor end
                worker.link.close()
            self._selector.close()
            _close(other for other in self._places if other is not place)
            _be_worker(self._server, place, theirs)
        theirs.close()
        worker = self._workers[pid] = Worker(pid, ours, place)
        self._selector.register(ours, selectors.EVENT_READ, worker)

    def _hear(self, worker: Worker) -> None:
        news = worker.news()
        if news is None:
            self._ended(worker)
            return
        for item in news:
            worker.counts = item.get("counts", worker.counts)
            if "ready" in item:
                worker.ready = True
                self._failures = 0
            if "stopping" in item:
                worker.stopping = True
                self._open += item["stopping"]
        self._say()

    def _ended(self, worker: Worker) -> None:
        self._selector.unregister(worker.link)
        worker.link.close()
        del self._workers[worker.pid]
        self._past.update(worker.counts)
        _, status = os.waitpid(worker.pid, 0)
        if self._stopping:
            self._say()
            return
        code = os.waitstatus_to_exitcode(status)
        why = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with status {code}"
        self._past["workers_replaced"] += 1
        self._server.watch(WorkerEnded(worker.pid, why))
        self._failures = 0 if worker.ready else self._failures + 1
        if self._failures >= MOST_FAILURES:
            raise CannotServe(
                f"cannot listen on {self._server.host} port {self._server.port}",
                f"{MOST_FAILURES} workers have ended before they served, the last {why}",
                "Try with one: --workers 1 --debug",
            )
        self._due.append((time.monotonic() + 0.1 * self._failures, worker.place))

    def _say(self) -> None:
        """Report what holds for all of them, once."""
        workers = self._workers.values()
        if not self._announced and all(worker.ready for worker in workers):
            self._announced = True
            self._server.announce()
        if self._stopping and not self._said_stopping and all(w.stopping for w in workers):
            self._said_stopping = True
            if workers and self._open:
                self._server.watch(Stopping(self._open, self._server.drain_timeout))


# the worker's own side


def _be_worker(server: Server, place: Place, link: socket.socket) -> NoReturn:
    status = 1
    try:
        run(_work(server, place, link))
        status = 0
    except StrettaError as error:
        print(f"stretta: {error}", file=sys.stderr)  # noqa: T201 - the supervisor knows only that it ended
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()
        os._exit(status)  # the supervisor's own ending is not ours to do


async def _work(server: Server, place: Place, link: socket.socket) -> None:
    link.setblocking(False)
    loop = asyncio.get_running_loop()
    outer = server.watch
    told: dict[str, int] = {}

    def tell(**news: object) -> None:
        with suppress(OSError):  # no supervisor any more, or it is far behind
            link.send(json.dumps(news).encode() + b"\n")

    def watch(report: Report) -> None:
        """Leave to the supervisor what is said once for all."""
        if isinstance(report, Waiting | Serving):
            tell(ready=True)
        elif isinstance(report, Stopping):
            tell(stopping=report.open)
        elif not isinstance(report, Stopped):
            outer(report)

    def account() -> None:
        nonlocal told
        if server.counts != told:
            told = dict(server.counts)
            tell(counts=told)
        loop.call_later(NEWS_EVERY, account)

    def orphaned() -> None:
        loop.remove_reader(link)
        os.kill(os.getpid(), signal.SIGTERM)

    server.watch = watch
    loop.add_reader(link, orphaned)  # the supervisor never writes: it can only have ended
    loop.call_later(NEWS_EVERY, account)
    await server.serve_until_stopped(place, [signal.SIGTERM])
    tell(counts=dict(server.counts), stopping=0)
