"""Worker processes that serve one port, and the supervisor that starts, replaces and stops them.

On Linux each worker has a listening socket of its own (SO_REUSEPORT), and the kernel spreads the
connections over them; with one socket for all, the worker that wakes first accepts nearly all. The
supervisor keeps all sockets open, so connections in the queue of a worker that has ended wait for
its successor.
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
from stretta.escape import escape_line
from stretta.net.server.log.writer import flush_all, write_error
from stretta.net.server.loop import run
from stretta.reports import (
    Limited,
    Report,
    Serving,
    Stopped,
    Stopping,
    Waiting,
    WorkerEnded,
    WorkerNotStarted,
)

if TYPE_CHECKING:
    from stretta.net.server.server import Server

__all__ = ["processors", "supervise"]

COUNTS_INTERVAL = 0.25
"""Seconds between two messages of a worker with its counts."""

MAX_FAILURES = 5
"""Workers that may end before they serve, one after the other, before the supervisor gives up.

It never gives up while a worker serves.
"""

MIN_DELAY, MAX_DELAY = 0.1, 5.0
"""Seconds until a failed start is tried again: the first time, and at most."""

SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


def processors() -> int:
    """Return how many processors this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not available on this system
        return os.cpu_count() or 1


def supervise(server: Server, count: int) -> None:
    """Serve with ``count`` processes until SIGINT or SIGTERM; a second signal stops at once.

    ``server`` has not been started; afterwards its ``counts`` are the sums over all workers. A
    worker that ends is replaced. Raises CannotServe when the port cannot be bound, or when no
    worker starts to serve.
    """
    groups = _bind(server, count)
    try:
        Supervisor(server, groups).run()
    finally:
        _close(groups)


Listeners = list[socket.socket]
"""The listening sockets of one worker."""


def _bind(server: Server, count: int) -> list[Listeners]:
    listeners = server.bind()  # not shared, to find another program on the port
    if sys.platform != "linux":  # other systems give all connections of shared sockets to one
        return [listeners] * count
    _close([listeners])
    groups: list[Listeners] = []
    try:
        for _ in range(count):
            groups.append(server.bind(shared=True))  # noqa: PERF401 - on an error those are closed
    except BaseException:
        _close(groups)
        raise
    return groups


def _close(groups: Iterable[Listeners]) -> None:
    for listeners in groups:
        for sock in listeners:
            sock.close()


class Worker:
    """One worker process, seen from the supervisor."""

    def __init__(self, pid: int, channel: socket.socket, listeners: Listeners) -> None:
        self.pid, self.channel, self.listeners = pid, channel, listeners
        self.ready = self.stopping = False
        self.counts: dict[str, int] = {}
        self._unread = b""

    def receive(self) -> list[dict[str, Any]] | None:
        """Return the messages that have arrived; None when the worker has ended."""
        try:
            data = self.channel.recv(65536)
        except InterruptedError:
            return []
        except OSError:
            data = b""
        if not data:
            return None
        *lines, self._unread = (self._unread + data).split(b"\n")
        messages = []
        for line in lines:
            with suppress(ValueError):  # a message that the worker could send in part only
                messages.append(json.loads(line))
        return messages


class Supervisor:
    """Waits for signals and for messages of the workers; it has no event loop."""

    def __init__(self, server: Server, groups: list[Listeners]) -> None:
        self._server, self._groups = server, groups
        self._workers: dict[int, Worker] = {}
        self._selector = selectors.DefaultSelector()
        self._past: Counter[str] = Counter()  # counts of workers that have ended
        self._announced = self._stopping = self._reported_stopping = False
        self._open = 0  # conversations that were open when the stop began
        self._failures = 0  # starts that have failed, one after the other
        self._due: list[tuple[float, Listeners]] = []  # starts to come, by monotonic time

    def run(self) -> None:
        gc.collect()
        gc.freeze()  # the workers share these pages until one writes to them
        with self._signals() as inbox:
            self._selector.register(inbox, selectors.EVENT_READ)
            try:
                for listeners in self._groups:
                    self._start(listeners)
                while self._workers or self._due:
                    self._iterate(inbox)
            except BaseException:
                self._send_signal(signal.SIGKILL)
                raise
            finally:
                self._selector.close()
        self._server.counts = self._past
        self._server.watch(Stopped(dict(self._past)))

    @contextmanager
    def _signals(self) -> Iterator[socket.socket]:
        """Yield a socket on which each signal arrives as a byte (signal.set_wakeup_fd)."""
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

    def _iterate(self, inbox: socket.socket) -> None:
        timeout = None
        if self._due:
            timeout = max(0.0, min(when for when, _ in self._due) - time.monotonic())
        for key, _ in self._selector.select(timeout):
            if key.fileobj is inbox:
                for number in inbox.recv(64):
                    self._on_signal(number)
            else:
                self._on_message(key.data)
        for due in [due for due in self._due if due[0] <= time.monotonic()]:
            self._due.remove(due)
            self._start(due[1])

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGHUP:
            self._send_signal(signal.SIGHUP)
        elif number in SIGNALS:
            self._stopping = True
            self._due.clear()
            _close(self._groups)  # the workers have duplicates
            self._send_signal(signal.SIGTERM)

    def _send_signal(self, number: int) -> None:
        for pid in self._workers:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    # workers

    def _start(self, listeners: Listeners) -> None:
        """Start a worker, or try again later when the system has no resources for it."""
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:  # EMFILE, ENFILE, ENOBUFS
            self._on_start_failure(listeners, error)
            return
        try:
            pid = os.fork()
        except OSError as error:  # EAGAIN, ENOMEM
            ours.close()
            theirs.close()
            self._on_start_failure(listeners, error)
            return
        if pid == 0:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGINT, signal.SIGHUP):  # a terminal sends them to every process
                signal.signal(number, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            ours.close()
            for worker in self._workers.values():  # else no worker sees the supervisor end
                worker.channel.close()
            self._selector.close()
            _close(other for other in self._groups if other is not listeners)
            _run_worker(self._server, listeners, theirs)
        theirs.close()
        worker = self._workers[pid] = Worker(pid, ours, listeners)
        self._selector.register(ours, selectors.EVENT_READ, worker)

    def _on_start_failure(self, listeners: Listeners, error: OSError) -> None:
        self._failures += 1
        delay = self._delay()
        self._past["workers_not_started"] += 1
        why = (error.strerror or str(error)).lower()
        self._server.watch(WorkerNotStarted(why, delay))
        self._due.append((time.monotonic() + delay, listeners))

    def _delay(self) -> float:
        """Return the seconds until the next start: 0, then doubling up to MAX_DELAY."""
        if not self._failures:
            return 0.0
        return min(MAX_DELAY, MIN_DELAY * 2.0 ** (self._failures - 1))

    def _on_message(self, worker: Worker) -> None:
        messages = worker.receive()
        if messages is None:
            self._on_worker_end(worker)
            return
        for item in messages:
            worker.counts = item.get("counts", worker.counts)
            if "ready" in item:
                worker.ready = True
                if not self._due:
                    self._failures = 0
            if "stopping" in item:
                worker.stopping = True
                self._open += item["stopping"]
        self._report()

    def _on_worker_end(self, worker: Worker) -> None:
        self._selector.unregister(worker.channel)
        worker.channel.close()
        del self._workers[worker.pid]
        self._past.update(worker.counts)
        _, status = os.waitpid(worker.pid, 0)
        if self._stopping:
            self._report()
            return
        code = os.waitstatus_to_exitcode(status)
        why = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with status {code}"
        self._past["workers_replaced"] += 1
        self._server.watch(WorkerEnded(worker.pid, why))
        self._failures = 0 if worker.ready else self._failures + 1
        if self._failures >= MAX_FAILURES and not any(w.ready for w in self._workers.values()):
            raise CannotServe(
                f"cannot listen on {self._server.host} port {self._server.port}",
                f"{MAX_FAILURES} workers have ended before they served, the last {why}",
                "Try with one: --workers 1 --debug",
            )
        self._due.append((time.monotonic() + self._delay(), worker.listeners))

    def _report(self) -> None:
        """Report once that all workers are ready, or that all are stopping."""
        workers = self._workers.values()
        if not self._announced and all(worker.ready for worker in workers):
            self._announced = True
            self._server.announce()
            self._server.report_limits()
        if self._stopping and not self._reported_stopping and all(w.stopping for w in workers):
            self._reported_stopping = True
            if workers and self._open:
                self._server.watch(Stopping(self._open, self._server.drain_timeout))


# in the worker


def _run_worker(server: Server, listeners: Listeners, channel: socket.socket) -> NoReturn:
    status = 1
    try:
        run(_serve(server, listeners, channel))
        status = 0
    except StrettaError as error:
        write_error(f"stretta: {escape_line(str(error))}\n")
    except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001 - reported, in one line
        write_error(
            f"stretta: worker {os.getpid()}: {type(error).__name__}: {escape_line(str(error))}\n"
        )
    finally:
        flush_all()
        os._exit(status)  # without the supervisor's own cleanup


async def _serve(server: Server, listeners: Listeners, channel: socket.socket) -> None:
    channel.setblocking(False)
    loop = asyncio.get_running_loop()
    outer = server.watch
    sent: dict[str, int] = {}

    def send(**message: object) -> None:
        with suppress(OSError):  # the supervisor has ended, or the buffer is full
            channel.send(json.dumps(message).encode() + b"\n")

    def watch(report: Report) -> None:
        """Send to the supervisor the reports that it makes once for all workers."""
        if isinstance(report, Waiting | Serving):
            send(ready=True)
        elif isinstance(report, Stopping):
            send(stopping=report.open)
        elif not isinstance(report, Stopped | Limited):
            outer(report)

    def send_counts() -> None:
        nonlocal sent
        if server.counts != sent:
            sent = dict(server.counts)
            send(counts=sent)
        loop.call_later(COUNTS_INTERVAL, send_counts)

    def on_supervisor_end() -> None:
        loop.remove_reader(channel)
        os.kill(os.getpid(), signal.SIGTERM)

    server.watch = watch
    loop.add_reader(channel, on_supervisor_end)  # it never writes: readable means closed
    loop.call_later(COUNTS_INTERVAL, send_counts)
    await server.serve_until_stopped(listeners, [signal.SIGTERM])
    send(counts=dict(server.counts), stopping=0)
