"""Call services from the event loop, so that one can harm only its own conversation.

The services of Stretta run on the event loop. An async service is awaited. A plain function of the
user runs in a thread: one that is slow, or never returns, delays nobody else.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import cast

from stretta.services import (
    Service,
    ServiceFailed,
    call,
    failure_reason,
    is_async,
    is_own,
    reply_bytes,
)

__all__ = ["ServiceCaller"]

MOST_THREADS = 64
"""Threads that run one server's plain service at once."""

MOST_WAITING = 4096
"""Requests that wait for a thread; one more fails."""

IDLE = 10.0
"""Seconds without a request after which a thread ends."""

STUCK = 30.0
"""Seconds in one call after which a thread no longer counts as one of MOST_THREADS."""

MOST_STUCK = 1024
"""Threads in all, those that hang included."""

Done = Callable[[bytes | None, ServiceFailed | None], None]
Job = tuple[bytes, Done, Callable[[], bool]]


class ServiceCaller:
    """Calls one service; every failure of it becomes ServiceFailed.

    ``inline`` tells whether the service may run on the event loop: then use ``services.call``, or
    the service itself, which never fails. Else await the caller: it returns the reply as bytes, or
    None. ``is_async`` services run as part of the awaiting task.
    """

    def __init__(self, service: Service, *, most_threads: int = MOST_THREADS) -> None:
        self.service = service
        self.inline = is_own(service)
        self.is_async = is_async(service)
        self._threads = ServiceThreads(service, most_threads)

    async def __call__(self, request: bytes) -> bytes | None:
        """Return the reply to one request.

        Raises ServiceFailed, and CancelledError when the task that awaits it is cancelled.
        """
        if self.inline:
            return call(self.service, request)
        if self.is_async:
            return await self._await_service(request)
        waiter: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()

        def done(reply: bytes | None, failed: ServiceFailed | None) -> None:
            if not waiter.done():
                if failed is None:
                    waiter.set_result(reply)
                else:
                    waiter.set_exception(failed)

        self._threads.submit(request, done, is_wanted=lambda: not waiter.done())
        return await waiter

    def submit(self, request: bytes, done: Done) -> None:
        """Run a plain service in a thread; ``done`` is called on the event loop when it has ended.

        Raises ServiceFailed when too many requests wait already.
        """
        self._threads.submit(request, done, is_wanted=lambda: True)

    async def _await_service(self, request: bytes) -> bytes | None:
        service = cast("Callable[[bytes], Awaitable[object]]", self.service)
        try:
            return reply_bytes(await service(request))
        except BaseException as error:
            task = asyncio.current_task()
            cancelled = isinstance(error, asyncio.CancelledError)
            if cancelled and task is not None and task.cancelling():
                raise
            raise ServiceFailed(failure_reason(error)) from None


class ServiceThreads:
    """Daemon threads that run a plain service: they delay no exit, whatever the service does.

    A thread starts when a request finds none at rest, up to ``most`` of them. One that has been in
    the same call for STUCK seconds counts no more, so a service that hangs now and then still
    answers.
    """

    def __init__(self, service: Service, most: int) -> None:
        self._service, self._most = service, most
        self._requests: deque[Job] = deque()
        self._results: list[tuple[Done, bytes | None, ServiceFailed | None]] = []
        self._changed = threading.Condition()
        self._resting = 0
        self._busy_since: dict[threading.Thread, float] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def submit(self, request: bytes, done: Done, *, is_wanted: Callable[[], bool]) -> None:
        """Queue one request; ``done`` gets its reply, unless ``is_wanted()`` is false by then.

        Raises ServiceFailed when MOST_WAITING requests wait already.
        """
        self._loop = asyncio.get_running_loop()
        with self._changed:
            if len(self._requests) >= MOST_WAITING:
                raise ServiceFailed("the service has too many requests to answer already")
            self._requests.append((request, done, is_wanted))
            if self._resting >= len(self._requests):
                self._changed.notify()
            elif self._may_start():
                self._start()

    def _may_start(self) -> bool:
        threads = len(self._busy_since) + self._resting
        if threads < self._most:
            return True
        stuck = sum(time.monotonic() - since > STUCK for since in self._busy_since.values())
        return threads - stuck < self._most and threads < MOST_STUCK

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, daemon=True, name="service")
        self._busy_since[thread] = time.monotonic()
        try:
            thread.start()
        except RuntimeError:  # the system has none to give: those there are must do
            del self._busy_since[thread]
            if not (self._busy_since or self._resting):
                self._requests.pop()
                raise ServiceFailed("the system cannot start a thread for the service") from None

    def _run(self) -> None:
        while (job := self._next()) is not None:
            request, done, is_wanted = job
            if not is_wanted():
                continue
            reply, failed = None, None
            try:
                reply = call(self._service, request)
            except ServiceFailed as error:
                failed = error
            self._give_back(done, reply, failed)

    def _next(self) -> Job | None:
        """Return the next request; None when there has been none for IDLE seconds."""
        me = threading.current_thread()
        with self._changed:
            self._busy_since.pop(me, None)
            self._resting += 1
            found = self._changed.wait_for(lambda: self._requests, IDLE)
            self._resting -= 1
            if not found:
                return None
            self._busy_since[me] = time.monotonic()
            return self._requests.popleft()

    def _give_back(self, done: Done, reply: bytes | None, failed: ServiceFailed | None) -> None:
        """Have the event loop call ``done``; results that come together share one wake-up."""
        with self._changed:
            self._results.append((done, reply, failed))
            if len(self._results) == 1 and self._loop is not None:
                with suppress(RuntimeError):  # the loop is closed: the server has stopped
                    self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        with self._changed:
            results, self._results = self._results, []
        loop = asyncio.get_running_loop()
        for done, reply, failed in results:
            loop.call_soon(done, reply, failed)
