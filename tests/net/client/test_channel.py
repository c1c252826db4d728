"""Channels and their timer, where sockets alone do not show it."""

import asyncio
import time

import pytest

from stretta.address import Endpoint
from stretta.errors import TimedOut
from stretta.net.client.channel.event_loop import AsyncChannel
from stretta.net.client.channel.interface import Timer, run_now


class Transport:
    """A transport that tells how much waits to be sent, from a list."""

    def __init__(self, *sizes):
        self.sizes = list(sizes)

    def write(self, data):
        pass

    def is_closing(self):
        return False

    def abort(self):
        pass

    def get_write_buffer_size(self):
        return self.sizes.pop(0) if len(self.sizes) > 1 else self.sizes[0]


def send(*sizes, total=None):
    """Send while the peer is full, and see the buffer at these sizes."""

    async def main():
        channel = AsyncChannel(Endpoint("127.0.0.1", 1))
        channel.connection_made(Transport(*sizes))
        channel.pause_writing()
        try:
            await channel.send(b"x", Timer(0.01, total, time.monotonic))
        finally:
            channel.close()

    asyncio.run(main())


def test_a_peer_that_takes_nothing_is_silent():
    with pytest.raises(TimedOut, match="silent"):
        send(9)


def test_a_peer_that_takes_a_little_is_not_silent_until_it_stops():
    with pytest.raises(TimedOut, match="silent"):
        send(9, 8, 8, 7, 7, 7)


def test_the_whole_exchange_has_its_limit_however_much_is_taken():
    with pytest.raises(TimedOut, match="longer than"):
        send(*range(10_000, 0, -1), total=0.05)


def test_the_timer_gives_the_shorter_of_its_limits():
    now = [0.0]
    timer = Timer(5.0, 8.0, lambda: now[0])
    assert timer.left() == 5.0
    now[0] = 6.0
    assert timer.left() == 2.0
    assert timer.left_in_all() == 2.0
    now[0] = 8.0
    with pytest.raises(TimedOut, match="longer than 8 s"):
        timer.left()
    assert Timer(None, None, lambda: now[0]).left() is None


def test_a_coroutine_that_suspends_cannot_be_run_now():
    async def suspends():
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError):
        run_now(suspends())
