"""Work beside the event loop: bounded, shared, and given up when nobody waits for it."""

import asyncio
import subprocess
import sys
import threading

import pytest

from stretta.http.server.worker_pool import Overloaded, WorkerPool
from support import PATIENCE


class Gate:
    """Work that goes on when it is let through, and counts how often it began."""

    def __init__(self):
        self.open, self.begun = threading.Event(), 0

    def __call__(self):
        self.begun += 1
        self.open.wait()
        return "made"


async def turns():
    for _ in range(3):
        await asyncio.sleep(0)


def test_what_cannot_wait_any_more_is_refused_at_once_and_the_rest_is_done():
    async def main():
        beside, gate = WorkerPool(1, 2), Gate()
        tasks = [asyncio.create_task(beside.run(gate)) for _ in range(3)]
        await turns()
        with pytest.raises(Overloaded):
            await beside.run(gate)
        gate.open.set()
        assert await asyncio.gather(*tasks) == ["made"] * 3
        assert gate.begun == 3

    asyncio.run(main())


def test_equal_work_that_has_not_begun_is_done_once():
    async def main():
        beside, gate = WorkerPool(1, 1), Gate()
        tasks = [asyncio.create_task(beside.run(gate, "key")) for _ in range(40)]
        await turns()
        gate.open.set()
        assert set(await asyncio.gather(*tasks)) == {"made"}
        assert gate.begun == 2  # what came later must see what happened meanwhile
        gate.begun = 0
        gate.open.clear()
        tasks = [asyncio.create_task(beside.run(gate, "key", pure=True)) for _ in range(40)]
        await turns()
        gate.open.set()
        assert set(await asyncio.gather(*tasks)) == {"made"}
        assert gate.begun == 1

    asyncio.run(main())


def test_what_nobody_waits_for_any_more_is_not_begun():
    async def main():
        beside, gate, left = WorkerPool(1, 8), Gate(), Gate()
        first = asyncio.create_task(beside.run(gate))
        gone = [asyncio.create_task(beside.run(left, "key")) for _ in range(2)]
        await turns()
        for task in gone:
            task.cancel()
        await asyncio.gather(*gone, return_exceptions=True)
        gate.open.set()
        assert await first == "made"
        assert await beside.run(lambda: "next") == "next"
        assert left.begun == 0

    asyncio.run(main())


def test_who_may_have_left_comes_last_and_gives_up_its_place():
    async def main():
        beside, gate, order = WorkerPool(1, 2), Gate(), []
        tasks = [asyncio.create_task(beside.run(gate))]
        await turns()
        for name in ("left first", "left later"):
            work = beside.run(lambda name=name: order.append(name), is_there=lambda: False)
            tasks.append(asyncio.create_task(work))
        await turns()
        tasks.append(asyncio.create_task(beside.run(lambda: order.append("there"))))
        await turns()
        gate.open.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(found[1], Overloaded)
        assert order == ["there", "left later"]

    asyncio.run(main())


def test_a_failure_is_raised_where_it_is_waited_for():
    def fail():
        raise FileNotFoundError("gone")

    async def main():
        beside = WorkerPool(1, 1)
        with pytest.raises(FileNotFoundError):
            await beside.run(fail)
        assert await beside.run(lambda: 1) == 1

    asyncio.run(main())


LEAVING = """
import asyncio, threading
from stretta.http.server.worker_pool import WorkerPool

async def main():
    begun = threading.Event()
    def endless():
        begun.set()
        threading.Event().wait()
    task = asyncio.create_task(WorkerPool(1, 1).run(endless))
    while not begun.is_set():
        await asyncio.sleep(0)
    task.cancel()

asyncio.run(main())
"""


def test_a_program_that_leaves_does_not_wait_for_its_work():
    subprocess.run([sys.executable, "-c", LEAVING], timeout=PATIENCE, check=True)
