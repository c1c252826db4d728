"""A bounded thread pool for work that would block the event loop.

Equal jobs are shared, jobs that nobody waits for are dropped, and a full queue makes room for a job
of higher priority.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Hashable
from contextlib import suppress
from itertools import islice
from typing import Any, Generic, NamedTuple, TypeVar

__all__ = ["Overloaded", "WorkerPool"]

T = TypeVar("T")

LOOKED_AT = 32
"""Waiting jobs whose requesters are looked at to make room: each look is a system call."""


class Overloaded(Exception):
    """The queue has no room for the job."""


class Waiter(NamedTuple):
    """A requester that waits for the result of a job."""

    result: asyncio.Future[Any]
    is_there: Callable[[], bool]
    source: Hashable
    priority: int


class Job(Generic[T]):
    """A function to call and the requesters that wait for its result."""

    __slots__ = ("function", "key", "waiters")

    def __init__(self, function: Callable[[], T], key: Hashable) -> None:
        self.function, self.key = function, key
        self.waiters: list[Waiter] = []

    @property
    def priority(self) -> int:
        """The highest priority of a requester."""
        return max((waiter.priority for waiter in self.waiters), default=0)

    def is_wanted(self) -> bool:
        """Return whether a requester is certainly still there."""
        return any(waiter.is_there() for waiter in self.waiters)

    def is_from(self, source: Hashable) -> bool:
        """Return whether a requester has this source."""
        return any(waiter.source == source for waiter in self.waiters)

    def finish(self, made: Any, error: Exception | None) -> None:
        """Give each requester the result or the exception."""
        for waiter in self.waiters:
            if waiter.result.done():
                continue
            if error is None:
                waiter.result.set_result(made)
            else:
                waiter.result.set_exception(error)


def _always() -> bool:
    return True


class WorkerPool:
    """Calls functions in up to ``workers`` threads; up to ``queue_size`` jobs wait for one.

    With ``per_source``, only so many jobs of one source wait. Of jobs with equal priority the
    oldest runs first; with ``alternates``, the newest and the oldest in turn, so that a flood of
    jobs delays later ones little. Each kind of work has its own pool,
    so that no kind delays another. The threads are daemons: a server that is told to stop does not
    wait for results that nobody needs.
    """

    def __init__(
        self,
        workers: int,
        queue_size: int,
        per_source: int | None = None,
        *,
        alternates: bool = False,
    ) -> None:
        self._workers, self._queue_size, self._per_source = workers, queue_size, per_source
        self._alternates, self._takes_newest = alternates, False
        self._queue: deque[Job[Any]] = deque()
        self._running: list[Job[Any]] = []

    async def run(
        self,
        function: Callable[[], T],
        key: Hashable = None,
        *,
        pure: bool = False,
        is_there: Callable[[], bool] = _always,
        source: Hashable = None,
        priority: int = 0,
    ) -> T:
        """Call a function in a thread and return its result.

        A job with the same ``key`` that has not started is shared, because it still sees every
        change made until now. A ``pure`` job depends on its key alone and is shared even when it
        has started. ``is_there`` tells whether the requester is still connected; jobs of requesters
        that may have gone run last and are dropped first. Among the others a higher ``priority``
        goes first. Raises Overloaded, or the exception that the function raised.
        """
        waiter = Waiter(asyncio.get_running_loop().create_future(), is_there, source, priority)
        job: Job[T] | None = self._find(key, pure=pure)
        if job is None:
            if len(self._running) >= self._workers:
                self._make_room(waiter)
            job = Job(function, key)
            self._queue.append(job)
        job.waiters.append(waiter)
        self._start_jobs()
        try:
            result: T = await waiter.result
            return result
        finally:
            job.waiters.remove(waiter)
            if not job.waiters and job in self._queue:
                self._queue.remove(job)

    def _find(self, key: Hashable, *, pure: bool) -> Job[Any] | None:
        if key is None:
            return None
        among = [*self._running, *self._queue] if pure else self._queue
        return next((job for job in among if job.key == key), None)

    def _make_room(self, waiter: Waiter) -> None:
        """When the queue is full, drop a job of lower priority or without a certain requester.

        Raises Overloaded when there is none.
        """
        if self._per_source is not None:
            waiting = sum(job.is_from(waiter.source) for job in self._queue)
            if waiting >= self._per_source:
                raise Overloaded
        if len(self._queue) < self._queue_size:
            return
        lowest = min(self._queue, key=lambda job: job.priority, default=None)
        if lowest is None or lowest.priority >= waiter.priority:
            some = islice(self._queue, LOOKED_AT) if waiter.is_there() else ()
            lowest = next((job for job in some if not job.is_wanted()), None)
        if lowest is None:
            raise Overloaded
        self._queue.remove(lowest)
        lowest.finish(None, Overloaded())

    def _start_jobs(self) -> None:
        loop = asyncio.get_running_loop()
        while self._queue and len(self._running) < self._workers:
            job = self._next_job()
            self._queue.remove(job)
            self._running.append(job)
            try:
                threading.Thread(target=self._call, args=(job, loop), daemon=True).start()
            except (RuntimeError, MemoryError):  # the system has no thread left
                self._running.remove(job)
                job.finish(None, Overloaded())

    def _next_job(self) -> Job[Any]:
        jobs = list(self._queue)
        self._takes_newest = self._alternates and not self._takes_newest
        if self._takes_newest:
            jobs.reverse()
        jobs.sort(key=lambda job: -job.priority)  # equal ones keep their order
        return next((job for job in jobs if job.is_wanted()), jobs[0])

    def _call(self, job: Job[T], loop: asyncio.AbstractEventLoop) -> None:
        made: T | None = None
        error: Exception | None = None
        try:
            made = job.function()
        except BaseException as raised:  # noqa: BLE001 - raised again where the result is awaited
            error = _for_future(raised)
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(self._done, job, made, error)

    def _done(self, job: Job[Any], made: object, error: Exception | None) -> None:
        self._running.remove(job)
        job.finish(made, error)
        self._start_jobs()


def _for_future(raised: BaseException) -> Exception:
    """Return an exception that a future accepts and that does not end the event loop."""
    if isinstance(raised, Exception) and not isinstance(raised, StopIteration):
        return raised
    error = RuntimeError(f"{type(raised).__name__}: {raised}")
    error.__cause__ = raised
    return error
