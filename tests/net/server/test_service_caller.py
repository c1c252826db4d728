"""Calling services: the event loop goes on, and every failure has one form."""

import asyncio
import threading

import pytest

from stretta.net.server import service_caller
from stretta.net.server.service_caller import ServiceCaller
from stretta.services import ServiceFailed, echo, upper
from support import PATIENCE


def run(main):
    return asyncio.run(asyncio.wait_for(main, PATIENCE))


def ask(service, request=b"x", **options):
    return run(ServiceCaller(service, **options)(request))


def test_own_services_run_on_the_event_loop():
    assert ServiceCaller(upper).inline and ServiceCaller(echo).inline
    assert ask(upper) == b"X"


def test_a_plain_service_runs_in_another_thread():
    seen = []
    assert ask(lambda data: seen.append(threading.current_thread()) or data) == b"x"
    assert seen != [threading.current_thread()]


@pytest.mark.parametrize(
    ("raised", "reason"),
    [
        (ValueError("no"), "the service failed with ValueError: no"),
        (asyncio.CancelledError(), "the service failed with CancelledError"),
        (KeyboardInterrupt(), "the service failed with KeyboardInterrupt"),
        (SystemExit(3), "the service failed with SystemExit: 3"),
        (GeneratorExit(), "the service failed with GeneratorExit"),
    ],
)
@pytest.mark.parametrize("kind", ["plain", "async"])
def test_whatever_a_service_raises_is_a_failure(kind, raised, reason):
    def plain(data):
        raise raised

    async def later(data):
        raise raised

    with pytest.raises(ServiceFailed) as caught:
        ask(plain if kind == "plain" else later)
    assert str(caught.value) == reason


def test_an_async_service_whose_caller_is_cancelled_is_cancelled():
    async def main():
        begun, ended = asyncio.Event(), []

        async def endless(data):
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                ended.append(data)
                raise

        task = asyncio.create_task(ServiceCaller(endless)(b"x"))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended == [b"x"]

    run(main())


def test_a_slow_request_delays_no_other_and_threads_are_bounded():
    release, seen = threading.Event(), set()

    def sometimes_slow(data):
        seen.add(threading.current_thread())
        if data == b"slow":
            release.wait(PATIENCE)
        return data.upper()

    async def main():
        caller = ServiceCaller(sometimes_slow, most_threads=3)
        slow = [asyncio.create_task(caller(b"slow")) for _ in range(2)]
        assert [await caller(b"quick") for _ in range(20)] == [b"QUICK"] * 20
        assert not any(task.done() for task in slow)
        release.set()
        assert await asyncio.gather(*slow, *(caller(b"a") for _ in range(50))) == [
            b"SLOW", b"SLOW", *[b"A"] * 50,
        ]  # fmt: skip
        assert len(seen) <= 3

    run(main())


def test_a_request_that_nobody_waits_for_any_more_is_not_run():
    release, seen = threading.Event(), []

    def note(data):
        seen.append(data)
        release.wait(PATIENCE)

    async def main():
        caller = ServiceCaller(note, most_threads=1)
        first = asyncio.create_task(caller(b"first"))
        second = asyncio.create_task(caller(b"second"))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.sleep(0)
        release.set()
        await first
        assert await caller(b"third") is None

    run(main())
    assert seen == [b"first", b"third"]


def test_threads_that_hang_are_replaced(monkeypatch):
    monkeypatch.setattr(service_caller, "STUCK", 0.0)
    release = threading.Event()

    def hangs(data):
        if data == b"hang":
            release.wait(PATIENCE)
        return data

    async def main():
        caller = ServiceCaller(hangs, most_threads=1)
        stuck = [asyncio.create_task(caller(b"hang")) for _ in range(3)]
        assert await caller(b"x") == b"x"
        release.set()
        await asyncio.gather(*stuck)

    run(main())


def test_too_many_waiting_requests_fail_at_once(monkeypatch):
    monkeypatch.setattr(service_caller, "MOST_WAITING", 2)
    release = threading.Event()

    async def main():
        caller = ServiceCaller(lambda data: release.wait(PATIENCE) and data, most_threads=1)
        tasks = [asyncio.create_task(caller(b"x")) for _ in range(6)]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        assert "too many requests" in str(done.pop().exception())
        release.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert b"x" in results

    run(main())


def test_a_thread_that_rests_ends(monkeypatch):
    monkeypatch.setattr(service_caller, "IDLE", 0.01)
    threads = []

    def note(data):
        threads.append(threading.current_thread())
        return data

    async def main():
        caller = ServiceCaller(note)
        assert await caller(b"x") == b"x"
        threads[0].join(PATIENCE)
        assert not threads[0].is_alive()
        assert await caller(b"y") == b"y"

    run(main())
