"""Work that takes long, beside the event loop: a little at once, and only for who still waits."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Any, Generic, TypeVar

__all__ = ["Overloaded", "WorkerPool"]

T = TypeVar("T")


class Overloaded(Exception):
    """So much is waiting already that nothing more is taken."""


class Job(Generic[T]):
    """One piece of work and those who wait for what comes of it."""

    __slots__ = ("askers", "key", "make", "waiters")

    def __init__(self, make: Callable[[], T], key: Hashable) -> None:
        self.make, self.key = make, key
        self.waiters: list[asyncio.Future[T]] = []
        self.askers: list[Callable[[], bool]] = []

    def is_wanted(self) -> bool:
        """Return whether anybody who asked for it is surely there."""
        return any(is_there() for is_there in self.askers)

    def end(self, made: Any, failed: Exception | None) -> None:
        """Give everybody who waits what has come of it."""
        for waiter in self.waiters:
            if waiter.done():
                continue
            if failed is None:
                waiter.set_result(made)
            else:
                waiter.set_exception(failed)


def _always() -> bool:
    return True


class WorkerPool:
    """Runs functions in ``workers`` threads; ``waiting`` more may wait for their turn.

    Each kind of work has one of its own, so that none keeps another waiting. The threads are
    daemons: a server that is told to leave at once does not stay for what nobody waits for.
    """

    def __init__(self, workers: int, waiting: int) -> None:
        self._workers, self._waiting = workers, waiting
        self._queue: deque[Job[Any]] = deque()
        self._running: list[Job[Any]] = []

    async def run(
        self,
        make: Callable[[], T],
        key: Hashable = None,
        *,
        pure: bool = False,
        is_there: Callable[[], bool] = _always,
    ) -> T:
        """Return what ``make()`` does, called in a thread. Raises Overloaded, and what it raises.

        Work with the same ``key`` that has not begun is shared, since it sees all that has happened
        until now; ``pure`` work, whose result hangs on its key alone, even when it has begun. Who
        asks is asked in turn, ``is_there()``: who may have left comes last, and gives up its place.
        """
        job: Job[T] | None = self._find(key, pure=pure)
        if job is None:
            if len(self._running) >= self._workers and len(self._queue) >= self._waiting:
                self._make_room()
            job = Job(make, key)
            self._queue.append(job)
        waiter: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        job.waiters.append(waiter)
        job.askers.append(is_there)
        self._go_on()
        try:
            return await waiter
        finally:
            job.waiters.remove(waiter)
            job.askers.remove(is_there)
            if not job.waiters and job in self._queue:
                self._queue.remove(job)

    def _find(self, key: Hashable, *, pure: bool) -> Job[Any] | None:
        if key is None:
            return None
        among = [*self._running, *self._queue] if pure else self._queue
        return next((job for job in among if job.key == key), None)

    def _make_room(self) -> None:
        unwanted = next((job for job in self._queue if not job.is_wanted()), None)
        if unwanted is None:
            raise Overloaded
        self._queue.remove(unwanted)
        unwanted.end(None, Overloaded())

    def _go_on(self) -> None:
        loop = asyncio.get_running_loop()
        while self._queue and len(self._running) < self._workers:
            job = next((job for job in self._queue if job.is_wanted()), self._queue[0])
            self._queue.remove(job)
            self._running.append(job)
            try:
                threading.Thread(target=self._work, args=(job, loop), daemon=True).start()
            except RuntimeError:  # the machine has no thread left
                self._done(job, None, Overloaded())

    def _work(self, job: Job[T], loop: asyncio.AbstractEventLoop) -> None:
        made: T | None = None
        failed: Exception | None = None
        try:
            made = job.make()
        except Exception as error:  # noqa: BLE001 - it is raised where it is waited for
            failed = error
        with suppress(RuntimeError):  # the server has left
            loop.call_soon_threadsafe(self._done, job, made, failed)

    def _done(self, job: Job[Any], made: object, failed: Exception | None) -> None:
        self._running.remove(job)
        job.end(made, failed)
        self._go_on()
