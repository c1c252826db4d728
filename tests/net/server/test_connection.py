"""The adapter of a connection: observations of the kernel, and decisions carried out."""

import asyncio
import resource
import socket
import struct

import pytest

from stretta.net.server import tcp_info
from stretta.net.server.connection import Connection
from stretta.net.server.lifecycle import Event, State
from stretta.net.server.stream_server import StreamServer
from stretta.options import ConnectionLimits
from stretta.reports import Dropped
from support import PATIENCE

LIMITS = ConnectionLimits(idle_timeout=3, stall_timeout=3)


class Discard(Connection):
    """Records that data came, and keeps the connection open after the peer's end."""

    __slots__ = ("rests",)

    def connection_made(self, transport):
        self.rests = 0
        super().connection_made(transport)

    def data_received(self, data):
        self.busy = True

    def eof_received(self):
        return True

    def on_rest(self):
        self.rests += 1


class World:
    """A server, whose ticks the test makes, and one client."""

    def __init__(self, **options):
        self.reports = []
        self.server = StreamServer(
            lambda: Discard(self.server), "127.0.0.1", 0, limits=LIMITS,
            watch=self.reports.append, **options,
        )  # fmt: skip

    async def __aenter__(self):
        await self.server.start()
        self.server._timer.cancel()
        self.client = socket.socket()
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(self.client, ("127.0.0.1", self.server.port))
        await self.until(lambda: self.server.open)
        (self.connection,) = self.server.open
        return self

    async def __aexit__(self, *_):
        self.client.close()
        self.server.abort()
        await self.server.stop()

    async def until(self, condition):
        async def wait():
            while not condition():  # noqa: ASYNC110 - the kernel sets no event
                await asyncio.sleep(0.001)

        await asyncio.wait_for(wait(), PATIENCE)

    def reset_by_client(self):
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.client.close()

    @property
    def dropped(self):
        return [report.why for report in self.reports if isinstance(report, Dropped)]


@pytest.fixture(params=["compiled", "pure"])
def run(request, monkeypatch):
    """Run a test's coroutine with a world, with the compiled transport and without it."""
    if request.param == "pure":
        monkeypatch.setenv("STRETTA_PURE", "1")

    def run(test):
        async def main():
            async with World() as world:
                await test(world)

        asyncio.run(main())

    return run


def test_an_idle_connection_is_closed_and_reported(run):
    async def test(world):
        world.connection.tick(1)  # it was made since the last tick
        for rests in (1, 2):
            world.connection.tick(1)
            assert (world.connection.rests, world.dropped) == (rests, [])
        world.connection.tick(1)
        assert world.dropped == ["silent for 3 s"]
        loop = asyncio.get_running_loop()
        assert await asyncio.wait_for(loop.sock_recv(world.client, 1), PATIENCE) == b""
        await world.until(lambda: world.connection.state is State.CLOSED)
        assert world.server.counts["idle"] == 1 and not world.server.open
        world.connection.tick(100)  # it is over: nothing happens any more

    run(test)


def test_data_keeps_a_connection_open(run):
    async def test(world):
        for _ in range(6):
            world.connection.tick(2)
            world.client.send(b"x")
            await world.until(lambda: world.connection.busy)
        assert not world.dropped and world.connection.rests == 0

    run(test)


def test_a_peer_that_is_gone_is_noticed_even_if_no_callback_told_of_it(run, monkeypatch):
    async def test(world):
        world.connection.tick(1)
        monkeypatch.setattr(Connection, "is_gone", lambda _: True)
        world.connection.tick(1)
        await world.until(lambda: not world.server.open)
        assert not world.dropped

    run(test)


def test_the_kernel_tells_whether_a_peer_has_finished_or_gone(run):
    async def test(world):
        connection = world.connection
        connection.transport.pause_reading()  # so that no callback hears of it
        assert not connection.peer_finished() and not connection.is_gone()
        world.client.shutdown(socket.SHUT_WR)
        await world.until(connection.peer_finished)
        assert not connection.is_gone()
        number = connection.fileno()
        with socket.socket(fileno=number) as sock:
            assert sock.getpeername() == world.client.getsockname()
            sock.detach()
        connection.transport.abort()
        await world.until(lambda: not world.server.open)
        assert connection.fileno() == -1
        assert not connection.is_gone() and not connection.peer_finished()

    run(test)


def fill(connection):
    """Write until bytes are queued in this process."""
    while connection.transport.get_write_buffer_size() < 100_000:
        connection.transport.write(bytes(65536))


def test_a_peer_that_reads_nothing_is_reset(run):
    async def test(world):
        fill(world.connection)
        world.connection.tick(1)
        for _ in range(2):
            world.connection.tick(1)
            assert not world.dropped
        world.connection.tick(1)
        assert world.dropped == ["it did not read its reply"]
        assert world.server.counts["stalled"] == 1
        with pytest.raises(ConnectionResetError):
            while await asyncio.get_running_loop().sock_recv(world.client, 65536):
                pass

    run(test)


def test_a_slow_reader_that_makes_progress_is_served(run):
    """It takes less than what would let the kernel accept more from us."""

    async def test(world):
        fill(world.connection)
        world.connection.tick(1)
        queued = world.connection.transport.get_write_buffer_size()
        before = unacknowledged(world)
        for _ in range(6):
            while unacknowledged(world) >= before:  # read until the kernel knows of it
                await asyncio.get_running_loop().sock_recv(world.client, 1024)
            before = unacknowledged(world)
            world.connection.busy = False  # resume_writing() would be progress too
            world.connection.tick(2)
        assert not world.dropped and queued

    run(test)


def unacknowledged(world):
    queued = world.connection.transport.get_write_buffer_size()
    return queued + tcp_info.unacknowledged(world.connection.fileno())


def test_a_drain_closes_what_is_at_rest_and_waits_for_the_rest(run, monkeypatch):
    async def test(world):
        connection = world.connection
        world.client.send(b"x")
        await world.until(lambda: tcp_info.bytes_received(connection.fileno()))
        monkeypatch.setattr(Discard, "is_working", lambda _: True)
        connection.drain()  # it was made a moment ago
        for _ in range(3):
            connection.drain()
        assert not connection.transport.is_closing() and connection.state is State.DRAINING
        monkeypatch.setattr(Discard, "is_working", lambda _: False)
        connection.drain()
        assert connection.transport.is_closing() and not world.dropped

    run(test)


def test_a_drain_gives_a_new_client_time_for_its_first_byte(run):
    async def test(world):
        connection = world.connection
        for _ in range(3):
            connection.drain()
        assert connection.state is State.EXPECTING and not connection.transport.is_closing()
        connection.tick(1)
        assert connection.transport.is_closing() and not world.dropped

    run(test)


def test_a_lingering_connection_ends_after_its_time(run):
    async def test(world):
        world.connection.transport.write(b"refused")
        world.connection.transport.write_eof()
        world.connection.linger()
        world.connection.tick(1)
        assert not world.connection.transport.is_closing()
        world.connection.tick(1)
        await world.until(lambda: not world.server.open)
        assert not world.dropped

    run(test)


def test_a_handshake_that_takes_too_long_is_aborted_and_reported(run):
    async def test(world):
        world.connection.state = State.HANDSHAKING
        world.connection.tick(9)
        assert not world.dropped and world.connection.rests == 0
        world.connection.tick(2)
        assert world.dropped == ["the TLS handshake took too long"]
        assert world.connection.transport.is_closing()

    run(test)


def test_a_secured_connection_is_open():
    async def main():
        async with World() as world:
            world.connection.state = State.HANDSHAKING
            assert world.connection.is_handshaking
            world.connection.on_secured()
            assert world.connection.state is State.OPEN and not world.connection.is_handshaking
            world.connection.change(Event.END)

    asyncio.run(main())


def test_writing_pauses_reading_and_its_end_is_progress(run):
    async def test(world):
        connection = world.connection
        fill(connection)
        await world.until(lambda: not connection.transport.is_reading())
        connection.busy = False
        while not connection.transport.is_reading():
            await asyncio.get_running_loop().sock_recv(world.client, 65536)
            await asyncio.sleep(0)
        assert connection.busy

    run(test)


def test_the_next_connection_after_a_lack_of_descriptors_is_served(monkeypatch):
    monkeypatch.setattr("stretta.net.server.accept.PAUSE", 0.01)

    async def main():
        async with World() as world:
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            with socket.socket() as waiting:
                waiting.setblocking(False)
                highest = max(waiting.fileno(), world.connection.fileno())
                resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
                try:
                    address = "127.0.0.1", world.server.port
                    await asyncio.get_running_loop().sock_connect(waiting, address)
                    await world.until(lambda: world.server.counts["exhausted"] >= 2)
                    assert len(world.server.open) == 1
                finally:
                    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                await world.until(lambda: len(world.server.open) == 2)

    asyncio.run(main())


class Counting(Connection):
    """Counts its ticks; ``fails`` raises an exception in one of them."""

    __slots__ = ("ticks",)

    def connection_made(self, transport):
        self.ticks = 0
        super().connection_made(transport)

    def tick(self, elapsed):
        self.ticks += 1
        if self.ticks == 1:
            raise RuntimeError("this one fails")


@pytest.mark.parametrize("slice_length", [0.005, 0.0])
def test_ticks_come_in_slices_and_a_failing_one_stops_no_other(monkeypatch, slice_length):
    monkeypatch.setattr("stretta.net.server.stream_server.SLICE", slice_length)
    limits = ConnectionLimits(idle_timeout=0.04)

    async def main():
        failures = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: failures.append(context))
        server = StreamServer(lambda: Counting(server), "127.0.0.1", 0, limits=limits)
        async with server:
            clients = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(5)]
            async with asyncio.timeout(PATIENCE):
                while (  # noqa: ASYNC110 - the server sets no event
                    len(server.open) < 5 or min(each.ticks for each in server.open) < 4
                ):
                    await asyncio.sleep(0.001)
            assert len(failures) == 5
            for client in clients:
                client.close()
            server.abort()

    asyncio.run(main())
