"""The worker pool: bounded, shared, ordered by rank, and never without an answer."""

import asyncio
import subprocess
import sys
import threading

import pytest

from stretta.http.server.worker_pool import Overloaded, WorkerPool
from support import PATIENCE


class Gate:
    """A job that waits until the gate opens, and counts its calls."""

    def __init__(self):
        self.open, self.calls = threading.Event(), 0

    def __call__(self):
        self.calls += 1
        self.open.wait()
        return "made"


async def iterations():
    """Let the event loop run a few times."""
    for _ in range(3):
        await asyncio.sleep(0)


def gone():
    return False


def test_a_job_beyond_the_queue_is_refused_at_once_and_the_others_run():
    async def main():
        pool, gate = WorkerPool(1, 2), Gate()
        tasks = [asyncio.create_task(pool.run(gate)) for _ in range(3)]
        await iterations()
        with pytest.raises(Overloaded):
            await pool.run(gate)
        gate.open.set()
        assert await asyncio.gather(*tasks) == ["made"] * 3
        assert gate.calls == 3

    asyncio.run(main())


def test_a_pool_without_a_queue_refuses_while_its_worker_is_busy():
    async def main():
        pool, gate = WorkerPool(1, 0), Gate()
        task = asyncio.create_task(pool.run(gate))
        await iterations()
        with pytest.raises(Overloaded):
            await pool.run(gate)
        gate.open.set()
        assert await task == "made"
        assert await pool.run(lambda: 1) == 1

    asyncio.run(main())


def test_equal_jobs_that_have_not_started_are_shared():
    async def main():
        pool, gate = WorkerPool(1, 1), Gate()
        tasks = [asyncio.create_task(pool.run(gate, "key")) for _ in range(40)]
        await iterations()
        gate.open.set()
        assert set(await asyncio.gather(*tasks)) == {"made"}
        assert gate.calls == 2  # the second one sees changes made after the first one started
        gate.calls = 0
        gate.open.clear()
        tasks = [asyncio.create_task(pool.run(gate, "key", pure=True)) for _ in range(40)]
        await iterations()
        gate.open.set()
        assert set(await asyncio.gather(*tasks)) == {"made"}
        assert gate.calls == 1

    asyncio.run(main())


def test_jobs_without_a_key_are_not_shared():
    async def main():
        pool, gate = WorkerPool(1, 2), Gate()
        tasks = [asyncio.create_task(pool.run(gate, pure=True)) for _ in range(2)]
        await iterations()
        gate.open.set()
        await asyncio.gather(*tasks)
        assert gate.calls == 2

    asyncio.run(main())


def test_a_job_that_nobody_waits_for_is_not_started():
    async def main():
        pool, gate, left = WorkerPool(1, 8), Gate(), Gate()
        first = asyncio.create_task(pool.run(gate))
        cancelled = [asyncio.create_task(pool.run(left, "key")) for _ in range(2)]
        await iterations()
        for task in cancelled:
            task.cancel()
        await asyncio.gather(*cancelled, return_exceptions=True)
        gate.open.set()
        assert await first == "made"
        assert await pool.run(lambda: "next") == "next"
        assert left.calls == 0

    asyncio.run(main())


def test_requesters_that_may_have_gone_come_last_and_make_room():
    async def main():
        pool, gate, order = WorkerPool(1, 2), Gate(), []
        tasks = [asyncio.create_task(pool.run(gate))]
        await iterations()
        for name in ("first", "second"):
            work = pool.run(lambda name=name: order.append(name), is_there=gone)
            tasks.append(asyncio.create_task(work))
        await iterations()
        with pytest.raises(Overloaded):
            await pool.run(gate, is_there=gone)
        tasks.append(asyncio.create_task(pool.run(lambda: order.append("there"))))
        await iterations()
        gate.open.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(results[1], Overloaded)
        assert order == ["there", "second"]

    asyncio.run(main())


def test_a_higher_priority_goes_first_and_makes_room():
    async def main():
        pool, gate, order = WorkerPool(1, 2), Gate(), []
        tasks = [asyncio.create_task(pool.run(gate))]
        await iterations()
        for priority in (0, 1, 2):
            work = pool.run(lambda priority=priority: order.append(priority), priority=priority)
            tasks.append(asyncio.create_task(work))
            await iterations()
        with pytest.raises(Overloaded):
            await pool.run(gate, priority=1)  # equal rank makes no room
        gate.open.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(results[1], Overloaded)
        assert order == [2, 1]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("alternates", "expected"), [(False, [0, 1, 2, 3, 4]), (True, [0, 4, 1, 3, 2])]
)
def test_jobs_of_equal_priority_run_by_age_or_newest_and_oldest_in_turn(alternates, expected):
    async def main():
        pool, gate, order = WorkerPool(1, 8, alternates=alternates), Gate(), []
        tasks = [asyncio.create_task(pool.run(gate))]
        await iterations()
        for number in range(5):
            work = pool.run(lambda number=number: order.append(number))
            tasks.append(asyncio.create_task(work))
            await iterations()
        gate.open.set()
        await asyncio.gather(*tasks)
        assert order == expected

    asyncio.run(main())


def test_a_source_has_a_bounded_number_of_waiting_jobs():
    async def main():
        pool, gate = WorkerPool(1, 8, per_source=2), Gate()
        tasks = [asyncio.create_task(pool.run(gate, source="a")) for _ in range(3)]
        await iterations()
        with pytest.raises(Overloaded):
            await pool.run(gate, source="a", priority=9)
        tasks.append(asyncio.create_task(pool.run(gate, source="b")))
        await iterations()
        gate.open.set()
        assert await asyncio.gather(*tasks) == ["made"] * 4

    asyncio.run(main())


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (FileNotFoundError("gone"), FileNotFoundError),
        (MemoryError(), MemoryError),
        (StopIteration(), RuntimeError),
        (SystemExit(3), RuntimeError),
        (KeyboardInterrupt(), RuntimeError),
        (GeneratorExit(), RuntimeError),
        (asyncio.CancelledError(), RuntimeError),
    ],
)
def test_whatever_a_job_raises_reaches_the_requester(raised, expected):
    def fail():
        raise raised

    async def main():
        pool = WorkerPool(1, 1)
        with pytest.raises(expected):
            await asyncio.wait_for(pool.run(fail), PATIENCE)
        assert await pool.run(lambda: 1) == 1

    asyncio.run(main())


@pytest.mark.parametrize("error", [RuntimeError, MemoryError])
def test_a_system_without_threads_refuses_every_job(monkeypatch, error):
    async def main():
        pool, gate = WorkerPool(1, 2000), Gate()
        first = asyncio.create_task(pool.run(gate))
        tasks = [asyncio.create_task(pool.run(gate)) for _ in range(1500)]
        await iterations()

        def fail(thread):
            raise error("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", fail)
        gate.open.set()
        assert await first == "made"
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(result) for result in results} == {Overloaded}
        monkeypatch.undo()
        assert await pool.run(lambda: 1) == 1

    asyncio.run(main())


LEAVING = """
import asyncio, threading
from stretta.http.server.worker_pool import WorkerPool

async def main():
    started = threading.Event()
    def endless():
        started.set()
        threading.Event().wait()
    task = asyncio.create_task(WorkerPool(1, 1).run(endless))
    while not started.is_set():
        await asyncio.sleep(0)
    task.cancel()

asyncio.run(main())
"""


def test_a_program_exits_without_waiting_for_its_jobs():
    subprocess.run([sys.executable, "-c", LEAVING], timeout=PATIENCE, check=True)
