"""Services that do what they must not: each harms its own conversation only.

Every misbehaviour, over TCP, UDP and HTTP, by a plain and an async service, with the compiled
modules and without.
"""

import array
import asyncio
import contextlib
import http.client
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
from dataclasses import dataclass

import pytest

from stretta import http as stretta_http
from stretta import tcp, udp
from stretta.errors import NetworkError, TimedOut
from stretta.net.server import mmsg
from stretta.options import DatagramPatience, StreamLimits
from stretta.reports import Dropped
from support import PATIENCE, UNMEASURED, Running, serving, until

SECRET = "the secret of the service"


def recurse(data):
    return recurse(data)


def raiser(error):
    def misbehave(_):
        raise error

    return misbehave


class Hostile(Exception):
    def __str__(self):
        raise SystemExit


MISBEHAVIOURS = {
    "str": (lambda _: SECRET, "the reply is str, not bytes"),
    "int": (lambda _: 7, "the reply is int, not bytes"),
    "list": (lambda data: [data], "the reply is list, not bytes"),
    "huge": (lambda _: [SECRET] * 10**6, "the reply is list, not bytes"),
    "object": (lambda _: object(), "the reply is object, not bytes"),
    "ValueError": (raiser(ValueError(SECRET)), "the service failed with ValueError"),
    "several lines": (raiser(ValueError(f"a\n\x1b[2J{SECRET}")), r"ValueError: a \\x1b\[2Jthe"),
    "hostile error": (raiser(Hostile()), "the service failed with Hostile"),
    "CancelledError": (raiser(asyncio.CancelledError()), "the service failed with CancelledError"),
    "SystemExit": (raiser(SystemExit(3)), "the service failed with SystemExit: 3"),
    "KeyboardInterrupt": (
        raiser(KeyboardInterrupt()), "the service failed with KeyboardInterrupt"),
    "RecursionError": (recurse, "the service failed with RecursionError"),
    "MemoryError": (raiser(MemoryError()), "the service failed with MemoryError"),
    "GeneratorExit": (raiser(GeneratorExit()), "the service failed with GeneratorExit"),
    "StopIteration": (raiser(StopIteration(1)), "the service failed with "),
    "TimeoutError": (raiser(TimeoutError()), "the service failed with TimeoutError"),
    "OSError": (raiser(OSError(2, SECRET)), "the service failed with FileNotFoundError"),
}  # fmt: skip

BYTES_LIKE = {
    "bytearray": bytearray,
    "memoryview": memoryview,
    "strided view": lambda data: memoryview(bytes(b for byte in data for b in (byte, 0)))[::2],
    "array": lambda data: array.array("B", data),
}


@dataclass
class Callable:
    """A callable object that is not hashable."""

    answer: object

    def __call__(self, data):
        return self.answer(data)


@dataclass
class AsyncCallable:
    """An async callable object that is not hashable."""

    answer: object

    async def __call__(self, data):
        return self.answer(data)


KINDS = {"plain": Callable, "async": AsyncCallable}


def of_kind(kind, answer):
    """Return a service that answers b"bad" so, and everything else as an echo."""
    return KINDS[kind](lambda data: answer(data) if data == b"bad" else data)


@pytest.fixture(params=["compiled", "pure"])
def build(request, monkeypatch):
    if request.param == "pure":
        monkeypatch.setenv("STRETTA_PURE", "1")
        monkeypatch.setattr(mmsg, "DatagramBatch", mmsg.in_python)


KIND = pytest.mark.parametrize("kind", KINDS)


def post(port, data):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request("POST", "/", data)
        response = connection.getresponse()
        return response.status, response.read()


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def check_reason(reports, reason):
    dropped = [report for report in reports if isinstance(report, Dropped)]
    assert len(dropped) == 1
    assert re.search(reason, dropped[0].why)
    assert "\n" not in str(dropped[0]) and len(str(dropped[0])) < 400


@KIND
@pytest.mark.parametrize("name", MISBEHAVIOURS)
@pytest.mark.parametrize("framing", ["stream", "line"])
def test_over_tcp_the_connection_is_reset(framing, name, kind, build):
    answer, reason = MISBEHAVIOURS[name]
    reports = []
    server = tcp.serve(of_kind(kind, answer), framing=framing, watch=reports.append)
    with serving(server):
        before = descriptors()
        with pytest.raises(NetworkError, match="the server reset the connection"):
            tcp.ask(b"bad", port=server.port)
        until(lambda: not server.open)
        assert descriptors() == before
        assert server.counts["failed"] == 1
        assert tcp.ask(b"good", port=server.port) == b"good"
    check_reason(reports, reason)


@KIND
@pytest.mark.parametrize("name", MISBEHAVIOURS)
def test_over_udp_there_is_no_reply(name, kind, build):
    answer, reason = MISBEHAVIOURS[name]
    reports = []
    with serving(udp.serve(of_kind(kind, answer), watch=reports.append)) as server:
        with pytest.raises(TimedOut):
            udp.ask(b"bad", port=server.port, patience=DatagramPatience(timeout=0.05, retries=0))
        until(lambda: server.counts["failed"] == 1)
        assert not server._pending
        assert udp.ask(b"good", port=server.port) == b"good"
        assert server.counts["replies"] == 1
    check_reason(reports, reason)


@KIND
@pytest.mark.parametrize("name", MISBEHAVIOURS)
def test_over_http_the_status_is_500_and_tells_nothing(name, kind, build):
    answer, reason = MISBEHAVIOURS[name]
    reports = []
    server = stretta_http.serve(service=of_kind(kind, answer), watch=reports.append)
    with serving(server):
        before = descriptors()
        status, body = post(server.port, b"bad")
        assert status == 500
        assert SECRET.encode() not in body and b"failed with" not in body
        until(lambda: not server.open)
        assert descriptors() == before
        assert post(server.port, b"good") == (200, b"good")
    check_reason(reports, reason)


@KIND
@pytest.mark.parametrize("name", BYTES_LIKE)
def test_bytes_like_replies_are_sent(name, kind, build):
    service = of_kind(kind, BYTES_LIKE[name])
    with serving(tcp.serve(service)) as server:
        assert tcp.ask(b"bad", port=server.port) == b"bad"
    with serving(udp.serve(service)) as server:
        assert udp.ask(b"bad", port=server.port) == b"bad"
    with serving(stretta_http.serve(service=service)) as server:
        assert post(server.port, b"bad") == (200, b"bad")


@contextlib.contextmanager
def stuck(kind):
    """Give a service that does not answer b"bad" before the block has ended."""
    release = threading.Event()

    def plain(data):
        if data == b"bad":
            release.wait(PATIENCE)
        return data

    async def later(data):
        if data == b"bad":
            await asyncio.Event().wait()
        return data

    try:
        yield plain if kind == "plain" else later
    finally:
        release.set()


@KIND
def test_a_service_that_never_returns_delays_nobody_and_no_success_is_seen(kind, build):
    with stuck(kind) as service:
        with serving(tcp.serve(service, limits=StreamLimits(drain_timeout=0.0))) as server:
            results = []

            def ask():
                try:
                    results.append(tcp.ask(b"bad", port=server.port))
                except NetworkError as error:
                    results.append(error)

            asking = threading.Thread(target=ask)
            asking.start()
            until(lambda: any(connection.is_working() for connection in server.open))
            assert tcp.ask(b"good", port=server.port) == b"good"
        asking.join(PATIENCE)
        assert [type(result) for result in results] == [NetworkError]
        with serving(udp.serve(service)) as server:
            with pytest.raises(TimedOut):
                patience = DatagramPatience(timeout=0.05, retries=0)
                udp.ask(b"bad", port=server.port, patience=patience)
            assert udp.ask(b"good", port=server.port) == b"good"
        with serving(stretta_http.serve(service=service)) as server:
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
            with contextlib.closing(connection):
                connection.request("POST", "/", b"bad")
                assert post(server.port, b"good") == (200, b"good")


@KIND
def test_a_client_that_resets_frees_the_slot_of_a_service_that_never_returns(kind, build):
    with stuck(kind) as service, serving(tcp.serve(service)) as server:
        before = descriptors()
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", server.port)) as sock:
                sock.sendall(b"bad")
                until(lambda: any(connection.is_working() for connection in server.open))
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        until(lambda: not server.open)
        assert descriptors() == before


PROGRAM = """
import asyncio, threading, time

def never(data):
    threading.Event().wait()

async def never_async(data):
    await asyncio.Event().wait()

async def stubborn(data):
    while True:
        try:
            await asyncio.sleep(1000)
        except BaseException:
            pass

async def blocking(data):
    time.sleep(1000)

async def executor(data):
    await asyncio.get_running_loop().run_in_executor(None, never, data)

def interrupt(data):
    raise KeyboardInterrupt
"""


@pytest.fixture
def program(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    return tmp_path


@pytest.mark.parametrize(
    ("service", "status"),
    [("never", 0), ("never_async", 0), ("stubborn", 0), ("blocking", 1), ("executor", 1)],
)
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_stop_does_not_wait_for_a_service_that_never_returns(protocol, service, status, program):
    words = (protocol, "server", "--service", f"program:{service}", "--drain-timeout", "0.1")
    client = [sys.executable, "-m", "stretta", protocol, "client", "-p"]
    with Running(*words, cwd=program, env=UNMEASURED) as server:
        asking = subprocess.Popen([*client, str(server.port), "ciao"], stderr=subprocess.DEVNULL)
        try:
            server.expect("Received request")
            assert server.stop() == status  # within the patience of a test
        finally:
            assert asking.wait(PATIENCE) != 0  # it is not taken for success


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_keyboard_interrupt_of_a_service_stops_nothing_and_a_real_one_does(protocol, program):
    words = (protocol, "server", "--service", "program:interrupt")
    with Running(*words, cwd=program) as server:
        client = [sys.executable, "-m", "stretta", protocol, "client", "-p", str(server.port)]
        for _ in range(2):
            done = subprocess.run([*client, "ciao"], capture_output=True, check=False)
            assert done.returncode in (1, 6) and not done.stdout
        assert server.stop(signal.SIGINT) == 0
        failed = [line for line in server.lines if "Traceback" in line]
        assert not failed
