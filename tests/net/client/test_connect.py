"""Connecting to a name with several addresses, on loopback: refused, silent, accepted."""

import asyncio
import contextlib
import gc
import os
import random
import socket
import struct

import pytest

from stretta.errors import NetworkError, TimedOut
from stretta.net.client import connect
from stretta.net.client.connect import dial, dial_async
from stretta.net.resolve import Target
from stretta.reports import Connecting, NotReached, Unanswered
from support import PATIENCE


def dial_in_a_loop(*words, **options):
    return asyncio.run(asyncio.wait_for(dial_async(*words, **options), PATIENCE))


BOTH = pytest.mark.parametrize("dial", [dial, dial_in_a_loop])


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


@contextlib.contextmanager
def deaf_listener(host):
    """A listener whose queue is full: the kernel drops each further SYN."""
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(socket.create_server((host, 0), backlog=0))
        for _ in range(3):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(sock.getsockname())
        yield sock.getsockname()


@pytest.fixture
def names(monkeypatch):
    """Give names addresses: ``names("host", sockaddr, ...)``."""

    def give(*sockaddrs):
        found = [Target(socket.AF_INET, sockaddr) for sockaddr in sockaddrs]

        async def resolve_async(*_, **__):
            return found

        monkeypatch.setattr(connect, "resolve", lambda *_, **__: found)
        monkeypatch.setattr(connect, "resolve_async", resolve_async)

    return give


def refused():
    """Return an address of this machine where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()


@BOTH
def test_after_a_refusal_the_next_address_is_tried_at_once(dial, names, listener, monkeypatch):
    """The delay is longer than the test may take."""
    monkeypatch.setattr(connect, "ATTEMPT_DELAY", 1000.0)
    names(refused(), refused(), listener.getsockname())
    reports = []
    with dial("host", 1, timeout=PATIENCE, watch=reports.append) as sock:
        assert sock.getpeername() == listener.getsockname()
    kinds = [type(report) for report in reports[1:]]
    assert kinds == [Connecting, NotReached, Connecting, NotReached, Connecting]


def test_after_a_late_failure_the_next_address_is_tried_at_once(names, listener, monkeypatch):
    """The first attempt is under way when it fails, here with a reset."""
    monkeypatch.setattr(connect, "ATTEMPT_DELAY", 1000.0)
    real = connect._start

    def start(target, failed):
        sock = real(target, failed)
        if target.sockaddr == other.getsockname():
            accepted, _ = other.accept()
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            accepted.close()
        return sock

    monkeypatch.setattr(connect, "_start", start)
    with socket.create_server(("127.0.0.1", 0)) as other:
        names(other.getsockname(), listener.getsockname())
        with dial("host", 1, timeout=PATIENCE) as sock:
            assert sock.getpeername() == listener.getsockname()


@BOTH
def test_an_address_that_does_not_answer_is_overtaken_by_the_next(dial, names, listener):
    reports = []
    with deaf_listener("127.0.0.2") as deaf:
        names(deaf, listener.getsockname())
        with dial("host", 1, timeout=PATIENCE, watch=reports.append) as sock:
            assert sock.getpeername() == listener.getsockname()
    assert [type(report) for report in reports[1:]] == [Connecting, Unanswered, Connecting]


@BOTH
def test_no_answer_is_a_time_out_and_a_refusal_counts_more(dial, names):
    with deaf_listener("127.0.0.2") as deaf:
        names(deaf)
        with pytest.raises(TimedOut, match=r"no answer in 0\.2 s"):
            dial("host", 1, timeout=0.2)
        names(deaf, refused())
        with pytest.raises(NetworkError, match="refused"):
            dial("host", 1, timeout=0.2)


@BOTH
def test_a_family_that_the_machine_lacks_is_an_attempt_that_fails(dial, monkeypatch, listener):
    lacking = Target(9999, ("192.0.2.1", 1))
    found = [lacking, Target(socket.AF_INET, listener.getsockname())]

    async def resolve_async(*_, **__):
        return found

    monkeypatch.setattr(connect, "resolve", lambda *_, **__: found)
    monkeypatch.setattr(connect, "resolve_async", resolve_async)
    with dial("host", 1, timeout=PATIENCE) as sock:
        assert sock.getpeername() == listener.getsockname()
    found[1:] = []
    with pytest.raises(NetworkError, match="does not support that kind of address"):
        dial("host", 1, timeout=PATIENCE)


def test_no_socket_is_left_open_however_dialing_ends(names, listener):
    with deaf_listener("127.0.0.2") as deaf:
        gc.collect()  # what earlier tests left
        before = len(os.listdir("/proc/self/fd"))
        names(deaf, refused(), listener.getsockname())
        for call in (dial, dial_in_a_loop):
            call("host", 1, timeout=PATIENCE).close()
        names(deaf)
        for call in (dial, dial_in_a_loop):
            with pytest.raises(TimedOut):
                call("host", 1, timeout=0.1)
        gc.collect()  # a socket that was left to the collector warns, and fails the test
        assert len(os.listdir("/proc/self/fd")) == before


def test_a_cancelled_dial_closes_its_sockets(names):
    rng = random.Random(1)

    async def main(listener):
        loop = asyncio.get_running_loop()

        def accept():
            listener.accept()[0].close()

        loop.add_reader(listener, accept)
        for _ in range(500):
            task = asyncio.create_task(dial_async("host", 1, timeout=PATIENCE))
            for _ in range(rng.randrange(8)):
                await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                (await task).close()
        loop.remove_reader(listener)

    with socket.create_server(("127.0.0.1", 0), backlog=1000) as listener:
        names(listener.getsockname(), listener.getsockname())
        before = len(os.listdir("/proc/self/fd"))
        asyncio.run(main(listener))
        gc.collect()
        assert len(os.listdir("/proc/self/fd")) <= before
