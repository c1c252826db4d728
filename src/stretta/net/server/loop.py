"""The event loop: uvloop where it is installed, asyncio's own elsewhere."""

from __future__ import annotations

import _thread
import asyncio
import os
import select
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

__all__ = ["ExitDeadline", "run"]

T = TypeVar("T")

try:
    import uvloop

    new_event_loop: Callable[[], asyncio.AbstractEventLoop] | None = uvloop.new_event_loop
except ImportError:  # no wheel for this platform
    new_event_loop = None


GRACE = 2.0
"""Seconds beyond its time after which a stop that user code delays ends the process."""

LAST_LINE = b"stretta: a service did not end in time; the process ends without it\n"


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run ``main`` on the fastest event loop available, and return its result.

    Tasks and threads of user code that do not end are not waited for.
    """
    deadline = ExitDeadline()
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            return runner.run(_then_end_tasks(main, deadline))
    finally:
        deadline.disarm()


async def _then_end_tasks(main: Coroutine[Any, Any, T], deadline: ExitDeadline) -> T:
    """Cancel the tasks that ``main`` leaves, and forget those that ignore it."""
    try:
        return await main
    finally:
        if threading.current_thread() is threading.main_thread():
            deadline.arm(GRACE)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            _, ignoring = await asyncio.wait(tasks, timeout=GRACE / 2)
            for task in ignoring:  # else the runner waits for them for ever
                asyncio.tasks._unregister_task(task)  # noqa: SLF001
                task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001


class ExitDeadline:
    """Ends the process at a time, whatever the event loop does, unless it is disarmed before.

    User code can block the event loop, ignore its cancellation, or never leave a thread that the
    interpreter waits for. ``before_exit`` is called first, in a thread of its own.
    """

    def __init__(self, before_exit: Callable[[], object] = lambda: None) -> None:
        self._before_exit = before_exit
        self._generation = 0

    def arm(self, seconds: float) -> None:
        """End the process in so many seconds; an earlier deadline no longer holds.

        It can be called in a signal handler: it takes no lock.
        """
        self._generation += 1
        _thread.start_new_thread(self._wait, (seconds, self._generation))

    def disarm(self) -> None:
        """Let the process live."""
        self._generation += 1

    def _wait(self, seconds: float, generation: int) -> None:
        time.sleep(seconds)
        if generation == self._generation:
            with suppress(Exception):  # the process ends in any case
                self._before_exit()
            if select.select([], [2], [], 0)[1]:  # a full pipe would block
                os.write(2, LAST_LINE)
            os._exit(1)
