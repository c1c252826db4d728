"""The compiled transport on real sockets: no byte, no end and no descriptor is lost."""

import array
import asyncio
import ctypes
import fcntl
import gc
import os
import random
import select
import socket
import struct
import time
import warnings
import weakref
from contextlib import contextmanager, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support import PATIENCE

Poller = pytest.importorskip(
    "stretta.net.server._poller", reason="the transport is not compiled here"
).Poller

ROOM = 256 * 1024  # the size of the receive buffer
SIOCOUTQNSD = 0x894B  # bytes not sent yet (linux/sockios.h)
LOOPS = ["asyncio", "uvloop"]


class Recorder(asyncio.Protocol):
    """Records the callbacks in order; ``then`` maps a callback's name to a function to run."""

    def __init__(self, wire, **then):
        self.wire, self.then = wire, then
        self.calls, self.data = [], b""
        self.transport = self.error = None
        self.inside = False  # a callback is running

    def _note(self, name, *more):
        assert not (name == "connection_lost" and self.inside), "it was told within another call"
        before, self.inside = self.inside, True
        self.calls.append(name)
        try:
            return self.then.get(name, lambda *_: None)(self, *more)
        finally:
            self.inside = before

    def connection_made(self, transport):
        self.transport = transport
        self._note("connection_made")

    def data_received(self, data):
        self.data += data
        self._note("data_received", data)

    def eof_received(self):
        return self._note("eof_received")

    def pause_writing(self):
        self._note("pause_writing")

    def resume_writing(self):
        self._note("resume_writing")

    def connection_lost(self, exc):
        self.error = exc
        self._note("connection_lost")

    @property
    def lost(self):
        return self.calls.count("connection_lost")

    @property
    def holds(self):
        """The calls of pause_writing and resume_writing."""
        return [name for name in self.calls if name in ("pause_writing", "resume_writing")]


class Wire:
    """An event loop with a poller, whose iterations the test itself runs, and clients."""

    def __init__(self, loop_of, host="127.0.0.1"):
        if loop_of == "uvloop":
            self.loop = pytest.importorskip("uvloop").new_event_loop()
        else:
            self.loop = asyncio.new_event_loop()
        self.troubles = []
        self.loop.set_exception_handler(lambda _, context: self.troubles.append(context))
        self.poller = Poller(self.loop)
        self.listener = socket.create_server(
            (host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET,
            dualstack_ipv6=host == "::",
        )  # fmt: skip
        self.listener.setblocking(False)
        self.clients = []

    def iterate(self):
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()

    def until(self, condition):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, "the condition never came"
            self.iterate()

    def dial(self, address=None, *, small=False):
        """Return a client's socket that is not accepted yet."""
        address = address or self.listener.getsockname()
        client = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        if small:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(address)
        client.setblocking(False)
        self.clients.append(client)
        return client

    def accept(self, factory):
        while not select.select([self.listener], [], [], PATIENCE)[0]:
            raise AssertionError("nobody came")
        self.poller.accept(self.listener, factory, 1)

    def connect(self, *, small=False, made_by=Recorder, **then):
        """Return a client and its protocol; ``small`` shrinks the kernel's buffers."""
        client = self.dial(small=small)
        protocol = made_by(self, **then)
        self.accept(lambda: protocol)
        if small and protocol.transport is not None:
            its = protocol.transport.get_extra_info("socket")
            its.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        return client, protocol

    def receive(self, client, size):
        """Iterate until the client has received ``size`` bytes, or the end."""
        data = b""
        deadline = time.monotonic() + PATIENCE
        while len(data) < size:
            try:
                piece = client.recv(size - len(data))
            except BlockingIOError:
                assert time.monotonic() < deadline, f"{size - len(data)} bytes never came"
                self.iterate()
            else:
                if not piece:
                    break
                data += piece
        return data

    def close(self):
        self.poller.retire()
        for client in self.clients:
            client.close()
        self.listener.close()
        if not self.loop.is_closed():
            self.iterate()
            self.loop.close()


def arrived(protocol, size=1):
    """Wait until ``size`` bytes can be received, without an iteration of the loop."""
    number = protocol.transport.fileno()
    with socket.socket(fileno=os.dup(number)) as sock:
        deadline = time.monotonic() + PATIENCE
        while True:
            select.select([sock], [], [], PATIENCE)
            if len(sock.recv(size, socket.MSG_PEEK)) >= size:
                return
            assert time.monotonic() < deadline, "it never arrived"


def reset(client):
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def descriptors():
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def fill(protocol):
    """Write until bytes are queued; return all that was written."""
    written = []
    transport = protocol.transport
    while not (transport.get_write_buffer_size() or transport.is_closing()):
        written.append(random.Random(len(written)).randbytes(65536))
        transport.write(written[-1])
    return b"".join(written)


@pytest.fixture(params=LOOPS)
def wire(request):
    wire = Wire(request.param)
    yield wire
    wire.close()


# receiving: every edge is used up, or asked for again


def test_data_larger_than_the_buffer_alternates_with_other_connections(wire):
    wire.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    order = []
    busy, talker = wire.connect(data_received=lambda _, data: order.append(len(data)))
    quiet, listener = wire.connect(data_received=lambda *_: order.append("quiet"))
    busy.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
    sent = busy.send(bytes(3 * ROOM))
    arrived(talker, min(sent, ROOM))
    quiet.send(b"!")
    arrived(listener)
    wire.until(lambda: listener.data and len(talker.data) == sent)
    assert order.index("quiet") <= 1
    assert max(size for size in order if size != "quiet") <= ROOM


@pytest.mark.parametrize("resumes", ["at once", "later"])
def test_a_pause_while_data_is_unread_loses_nothing(wire, resumes):
    wire.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)

    def hold(protocol, _):
        protocol.transport.pause_reading()
        if resumes == "at once":
            protocol.transport.resume_reading()
        else:
            wire.loop.call_soon(protocol.transport.resume_reading)

    client, protocol = wire.connect(data_received=hold)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
    data = random.Random(1).randbytes(3 * ROOM)
    sent = client.send(data)
    client.shutdown(socket.SHUT_WR)
    wire.until(lambda: protocol.lost)
    assert protocol.data == data[:sent]
    assert protocol.calls[-2:] == ["eof_received", "connection_lost"] and protocol.error is None


@pytest.mark.parametrize("what", ["data", "end", "reset"])
def test_an_event_during_a_pause_is_delivered_after_it(wire, what):
    client, protocol = wire.connect()
    other, witness = wire.connect()
    protocol.transport.pause_reading()
    assert not protocol.transport.is_reading()
    client.send(b"ciao") if what == "data" else reset(client) if what == "reset" else client.close()
    select.select([protocol.transport.fileno()], [], [], PATIENCE)
    other.send(b"!")
    wire.until(lambda: witness.data)  # its edge came later
    assert protocol.calls == ["connection_made"]
    protocol.transport.resume_reading()
    wire.until(lambda: len(protocol.calls) > 1)
    wire.until(lambda: protocol.lost or what == "data")
    assert protocol.data == (b"ciao" if what == "data" else b"")
    assert isinstance(protocol.error, ConnectionResetError) == (what == "reset")


def test_urgent_data_is_skipped_and_the_data_after_it_arrives(wire):
    client, protocol = wire.connect()
    client.send(b"before")
    client.send(b"!", socket.MSG_OOB)
    client.send(b"behind")
    wire.until(lambda: len(protocol.data) >= 12)
    client.send(b"!", socket.MSG_OOB)
    client.send(b"last")
    client.shutdown(socket.SHUT_WR)
    wire.until(lambda: protocol.lost)
    assert protocol.data == b"beforebehindlast"


def test_data_sent_during_a_callback_arrives_in_a_later_iteration(wire):
    turns = []

    def ask_again(protocol, data):
        turns.append(data)
        if data == b"first":
            wire.loop.call_soon(turns.append, "turn")
            client.send(b"second")
            arrived(protocol)

    client, protocol = wire.connect(data_received=ask_again)
    client.send(b"first")
    wire.until(lambda: b"second" in turns)
    assert turns == [b"first", "turn", b"second"]
    assert protocol.data == b"firstsecond"


def test_a_new_protocol_gets_the_rest(wire):
    wire.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    second = Recorder(wire)

    def hand_over(protocol, _):
        protocol.transport.set_protocol(second)

    client, first = wire.connect(data_received=hand_over)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
    data = random.Random(2).randbytes(2 * ROOM)
    sent = client.send(data)
    arrived(first, min(sent, ROOM))
    client.close()
    wire.until(lambda: second.lost)
    assert first.data + second.data == data[:sent]
    assert (first.lost, len(first.data)) == (0, min(sent, ROOM))


def test_a_protocol_that_returns_true_at_eof_can_still_answer(wire):
    client, protocol = wire.connect(eof_received=lambda _: True)
    client.send(b"ciao")
    client.shutdown(socket.SHUT_WR)
    wire.until(lambda: "eof_received" in protocol.calls)
    protocol.transport.pause_reading()
    protocol.transport.resume_reading()
    protocol.transport.write(b"mondo")
    assert wire.receive(client, 5) == b"mondo"
    assert not protocol.transport.is_closing()
    protocol.transport.close()
    wire.until(lambda: protocol.lost)
    assert protocol.calls.count("eof_received") == 1


def test_the_fast_path_answers_or_passes_data_to_the_protocol(wire):
    client, protocol = wire.connect()
    transport = protocol.transport
    transport.set_fast_path(lambda data: bytes(data).upper() if data != b"what?" else None)
    assert not transport.fast_path_used()
    for asked, answer in ((b"ciao", b"CIAO"), (b"x" * 8192, b"X" * 8192)):
        client.send(asked)
        wire.until(lambda: select.select([client], [], [], 0)[0])
        assert client.recv(1 << 20) == answer
        assert (transport.fast_path_used(), transport.fast_path_used()) == (True, False)
    client.send(b"what?")
    wire.until(lambda: protocol.data == b"what?")
    assert not transport.fast_path_used()
    transport.set_fast_path(None)
    client.send(b"ciao")
    wire.until(lambda: protocol.data == b"what?ciao")
    transport.set_fast_path(len)
    transport.set_protocol(protocol)  # a new protocol has no fast path
    client.send(b"!")
    wire.until(lambda: protocol.data == b"what?ciao!")


def test_a_fast_path_that_fails_or_returns_no_bytes_ends_its_connection_only(wire):
    for quick in (lambda _: 1 / 0, len):
        client, protocol = wire.connect()
        protocol.transport.set_fast_path(quick)
        client.send(b"ciao")
        wire.until(lambda: protocol.lost)  # noqa: B023 - within this iteration
        assert isinstance(protocol.error, (ZeroDivisionError, TypeError)) and wire.troubles.pop()


def test_a_peer_of_the_fast_path_that_does_not_read_is_not_read_from(wire):
    def hold(protocol):
        protocol.transport.pause_reading()

    def go_on(protocol):
        protocol.transport.resume_reading()

    client, protocol = wire.connect(small=True, pause_writing=hold, resume_writing=go_on)
    asked = []

    def echo(data):
        asked.append(bytes(data))
        return data

    protocol.transport.set_fast_path(echo)
    sent, got = 0, b""
    client.setblocking(False)
    while "pause_writing" not in protocol.calls:
        with suppress(BlockingIOError):
            sent += client.send(bytes([sent % 251]) * 10_000)
        wire.iterate()
    client.shutdown(socket.SHUT_WR)
    while len(got) < sent:
        wire.iterate()
        with suppress(BlockingIOError):
            got += client.recv(1 << 16)
    assert got == b"".join(asked)


class Keeper(Recorder):
    """Keeps the views that it gets."""

    takes_views = True

    def __init__(self, wire, **then):
        super().__init__(wire, **then)
        self.kept = []

    def data_received(self, data):
        self.kept.append((data[10:] if len(self.kept) % 2 else data, bytes(data)))
        self.data += data


def test_a_view_that_is_kept_does_not_change(wire):
    client, protocol = wire.connect(made_by=Keeper)
    sent = b""
    for number in range(5):
        piece = random.Random(number).randbytes(5000)
        sent += piece
        client.send(piece)
        wire.until(lambda: protocol.data == sent)  # noqa: B023 - evaluated in this round
    assert any(isinstance(data, memoryview) for data, _ in protocol.kept)
    protocol.transport.abort()
    wire.until(lambda: protocol.lost)
    for data, was in protocol.kept:
        assert was.endswith(data) and len(data) >= len(was) - 10


# sending: all of it, in order, once


@contextmanager
def a_file(data=b"", size=0):
    with open(os.memfd_create("stretch"), "r+b") as file:
        file.write(data)
        file.flush()
        if size:
            file.truncate(size)
        yield file


def test_bytes_written_in_connection_made_arrive(wire):
    data = random.Random(3).randbytes(8 << 20)
    client, protocol = wire.connect(connection_made=lambda it: it.transport.write(data))
    assert protocol.transport.get_write_buffer_size()
    assert wire.receive(client, len(data)) == data
    assert protocol.transport.get_write_buffer_size() == 0 and not protocol.lost


def test_writes_inside_pause_and_resume_stay_in_order_and_the_calls_alternate(wire):
    pieces = [random.Random(n).randbytes(100_000) for n in range(30)]
    todo = list(pieces)

    def write(protocol):
        if todo:
            protocol.transport.write(todo.pop(0))

    client, protocol = wire.connect(small=True, pause_writing=write, resume_writing=write)
    protocol.transport.set_write_buffer_limits(high=1000)
    while not protocol.holds:
        write(protocol)
    assert wire.receive(client, 3_000_000) == b"".join(pieces)
    wire.until(lambda: not protocol.transport.get_write_buffer_size())
    assert protocol.holds == ["pause_writing", "resume_writing"] * (len(protocol.holds) // 2)


def test_a_large_file_range_does_not_delay_other_connections(wire):
    wire.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    client, protocol = wire.connect()
    its = protocol.transport.get_extra_info("socket")
    its.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
    data = random.Random(4).randbytes(4 << 20)
    with a_file(data) as file:
        protocol.transport.sendfile(file, 0, len(data))
        assert protocol.transport.get_write_buffer_size() >= 3 << 20
        assert wire.receive(client, len(data)) == data
    assert protocol.transport.get_write_buffer_size() == 0


def test_offsets_and_sizes_beyond_32_bits(wire):
    client, protocol = wire.connect(small=True)
    with a_file(size=6 << 30) as file:
        os.pwrite(file.fileno(), b"far behind", (4 << 30) - 3)
        assert protocol.transport.offer_file(b"head ", file.fileno(), (4 << 30) - 3, 10) == 10
        protocol.transport.sendfile(file, (4 << 30) - 3, 10)
        protocol.transport.sendfile(file, 0, 5 << 30)
        assert protocol.transport.get_write_buffer_size() > 4 << 30
        assert wire.receive(client, 25) == b"head far behindfar behind"
        protocol.transport.abort()
        wire.until(lambda: protocol.lost)


def test_a_truncated_file_does_not_block_the_queue(wire):
    client, protocol = wire.connect()
    with a_file(b"short") as file:
        protocol.transport.sendfile(file, 0, 100)
        protocol.transport.sendfile(file, 0, 0)
        protocol.transport.sendfile(file, 0, -1)
        protocol.transport.write(b" and on")
    assert protocol.transport.get_write_buffer_size() == 0
    assert wire.receive(client, 12) == b"short and on"


def test_a_file_that_cannot_be_sent_ends_the_connection(wire):
    client, protocol = wire.connect()
    with a_pipe() as end:
        protocol.transport.sendfile(end, 5, 10)  # a pipe has no offset
        wire.until(lambda: protocol.lost)
    assert isinstance(protocol.error, OSError)
    assert wire.receive(client, 1) == b""


@contextmanager
def a_pipe():
    reading, writing = os.pipe()
    with open(reading, "rb") as end, open(writing, "wb"):
        yield end


@pytest.mark.parametrize("bad", [False, True])
def test_a_head_is_sent_without_its_file_if_that_fails(wire, bad):
    client, protocol = wire.connect()
    with a_file(b"data") as file:
        if bad:
            with pytest.raises(TypeError):
                protocol.transport.offer_file("no bytes", file.fileno(), 0, 4)
            protocol.transport.write(b"head")
        else:
            assert protocol.transport.offer_file(b"head", file.fileno(), 0, 0) == 0
        number = protocol.transport.fileno()
        assert fcntl.ioctl(number, SIOCOUTQNSD, bytes(4)) == bytes(4)
    assert wire.receive(client, 4) == b"head"


class Big(ctypes.BigEndianStructure):
    _fields_ = [("number", ctypes.c_uint32), ("other", ctypes.c_uint32)]


@pytest.mark.parametrize("waiting", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        bytes,
        bytearray,
        memoryview,
        lambda data: memoryview(data).cast("I"),
        lambda data: memoryview(data).cast("B", (4, len(data) // 4)),
        lambda data: array.array("d", data),
        lambda data: (Big * (len(data) // 8)).from_buffer_copy(data),
        lambda data: memoryview(data)[:],
    ],
)
def test_every_kind_of_buffer_can_be_queued(wire, make, waiting):
    client, protocol = wire.connect(small=True)
    sent = fill(protocol) if waiting else b""
    data = random.Random(5).randbytes(1 << 20)
    buffer = make(data)
    protocol.transport.write(buffer)
    if isinstance(buffer, bytearray):
        buffer[:] = bytes(len(buffer))  # the caller may reuse it
        buffer.clear()
    assert wire.receive(client, len(sent) + len(data)) == sent + data


def test_an_object_without_a_buffer_is_refused_and_nothing_is_sent(wire):
    client, protocol = wire.connect()
    gone = memoryview(b"gone")
    gone.release()
    for bad, error in [
        ("text", TypeError), (None, TypeError), (7, TypeError),
        (memoryview(b"abcd")[::2], BufferError), (gone, ValueError),
    ]:  # fmt: skip
        with pytest.raises(error):
            protocol.transport.write(bad)
    protocol.transport.writelines([b"ci", bytearray(b"a"), memoryview(b"o")])
    assert wire.receive(client, 4) == b"ciao"


def test_write_eof_comes_after_the_queue_and_nothing_after_it(wire):
    client, protocol = wire.connect(small=True, data_received=lambda it, _: it.transport.close())
    sent = fill(protocol)
    transport = protocol.transport
    assert transport.can_write_eof()
    transport.write_eof()
    transport.write(b"late")
    with a_file(b"late") as file:
        transport.sendfile(file, 0, 4)
        assert transport.offer_file(b"late", file.fileno(), 0, 4) == 0
    assert wire.receive(client, len(sent) + 1) == sent
    assert not transport.is_closing()
    client.send(b"still heard")
    wire.until(lambda: protocol.lost)
    assert protocol.data == b"still heard"


def test_watermarks(wire):
    _, protocol = wire.connect()
    transport = protocol.transport
    assert transport.get_write_buffer_limits() == (16 * 1024, 64 * 1024)
    transport.set_write_buffer_limits(low=10)
    assert transport.get_write_buffer_limits() == (10, 40)
    transport.set_write_buffer_limits(high=0)
    assert transport.get_write_buffer_limits() == (0, 0)
    transport.set_write_buffer_limits(high=2**100, low=2**80)
    low, high = transport.get_write_buffer_limits()
    assert low >= 2**31 and high >= 2**31
    for high, low in [(-1, None), (None, -1), (1, 2), (5, -5)]:
        with pytest.raises(ValueError, match="must be >="):
            transport.set_write_buffer_limits(high, low)


def test_new_watermarks_apply_at_once(wire):
    _, protocol = wire.connect(small=True)
    fill(protocol)
    waiting = protocol.transport.get_write_buffer_size()
    protocol.transport.set_write_buffer_limits(high=0)
    assert protocol.holds == ["pause_writing"]
    protocol.transport.set_write_buffer_limits(high=4 * waiting, low=waiting)
    assert protocol.holds == ["pause_writing", "resume_writing"]
    protocol.transport.set_write_buffer_limits(high=0)
    protocol.transport.abort()
    protocol.transport.set_write_buffer_limits()
    wire.until(lambda: protocol.lost)
    protocol.transport.set_write_buffer_limits()  # no protocol is left to be resumed
    assert protocol.holds == ["pause_writing", "resume_writing", "pause_writing"]
    assert not wire.troubles


STEP = st.one_of(
    st.tuples(st.just("write"), st.sampled_from([bytes, bytearray, memoryview])),
    st.tuples(st.just("sendfile"), st.integers(0, 1000)),
    st.tuples(st.just("offer_file"), st.integers(0, 1000)),
    st.tuples(st.just("read"), st.just(0)),
)
SIZE = st.integers(0, 300) | st.integers(0, 60_000)


@pytest.mark.parametrize("loop_of", LOOPS)
@settings(max_examples=60)
@given(
    steps=st.lists(st.tuples(STEP, SIZE), max_size=25),
    takes=st.integers(1, 40_000),
    high=st.integers(0, 50_000),
)
def test_everything_written_arrives_complete_and_in_order(loop_of, steps, takes, high):
    source = random.Random(6).randbytes(61_000)
    wire = Wire(loop_of)
    try:
        with a_file(source) as file:
            client, protocol = wire.connect(small=True)
            transport = protocol.transport
            transport.set_write_buffer_limits(high=high)
            expected, came = b"", b""
            for (what, how), size in steps:
                if what == "write":
                    transport.write(how(source[-size:] if size else b""))
                    expected += source[-size:] if size else b""
                elif what == "sendfile":
                    transport.sendfile(file, how, size)
                    expected += source[how : how + size]
                elif what == "offer_file":
                    head = b"head %d" % size
                    sent = transport.offer_file(head, file.fileno(), how, size)
                    assert 0 <= sent <= size
                    expected += head + source[how : how + sent]
                else:
                    came += wire.receive(client, min(size, len(expected) - len(came)))
                held = len(protocol.holds) % 2
                assert held or transport.get_write_buffer_size() <= high
            while len(came) < len(expected):
                came += wire.receive(client, min(takes, len(expected) - len(came)))
            assert came == expected
            wire.until(lambda: not transport.get_write_buffer_size())
            holds = protocol.holds
            assert holds == ["pause_writing", "resume_writing"] * (len(holds) // 2)
            transport.close()
            assert wire.receive(client, 1) == b""
            wire.until(lambda: protocol.lost)
            assert protocol.lost == 1 and not wire.troubles
    finally:
        wire.close()


# ending: once, outside of every call, and nothing after it


def test_close_sends_the_queue_and_ends_once(wire):
    client, protocol = wire.connect(small=True, data_received=lambda it, _: it.transport.close())
    sent = fill(protocol)
    client.send(b"!")
    wire.until(protocol.transport.is_closing)
    protocol.transport.write(b"late")
    protocol.transport.close()
    assert wire.receive(client, len(sent) + 1) == sent
    wire.until(lambda: protocol.lost)
    protocol.transport.close()
    protocol.transport.abort()
    wire.iterate()
    assert protocol.lost == 1 and protocol.error is None and protocol.data == b"!"


def test_a_close_outside_a_callback_is_reported_in_the_next_iteration(wire):
    _, protocol = wire.connect()
    protocol.transport.close()
    assert not protocol.lost
    wire.until(lambda: protocol.lost)
    assert protocol.lost == 1


def test_a_reset_ends_a_connection_that_is_being_flushed(wire):
    client, protocol = wire.connect(small=True)
    fill(protocol)
    protocol.transport.pause_reading()
    protocol.transport.close()
    reset(client)
    wire.until(lambda: protocol.lost)
    assert isinstance(protocol.error, ConnectionResetError)
    assert protocol.transport.get_write_buffer_size() == 0


def test_a_connection_aborted_in_the_same_batch_gets_connection_lost_only(wire):
    def cut_the_other(protocol, _):
        other = two if protocol is one else one
        number = other.transport.fileno()
        other.transport.abort()
        _, new = wire.connect()  # the other's descriptor is not reused: it is still in this batch
        assert new.transport.fileno() != number
        others.append(new)

    others = []
    first, one = wire.connect(data_received=cut_the_other)
    second, two = wire.connect(data_received=cut_the_other)
    for client, protocol in ((first, one), (second, two)):
        client.send(b"!")
        arrived(protocol)
    wire.until(lambda: one.lost or two.lost)
    wire.iterate()
    assert sorted([one.data, two.data]) == [b"", b"!"]
    assert one.lost + two.lost == 1 and len(others) == 1 and not others[0].lost


def test_connection_lost_may_abort_other_connections(wire):
    def end_all(_):
        for each in protocols:
            each.transport.write(b"late")
            each.transport.resume_reading()
            each.transport.close()
            each.transport.abort()

    protocols = [wire.connect(connection_lost=end_all)[1] for _ in range(5)]
    protocols[2].transport.close()
    wire.until(lambda: all(each.lost for each in protocols))
    wire.iterate()
    assert [each.lost for each in protocols] == [1] * 5


def test_a_transport_after_its_end_can_be_called_and_does_nothing(wire):
    client, protocol = wire.connect()
    transport = protocol.transport
    its = transport.get_extra_info("socket")
    assert its.fileno() == transport.fileno()
    assert transport.get_extra_info("sockname") == client.getpeername()
    transport.abort()
    wire.until(lambda: protocol.lost)
    assert its.fileno() == -1
    assert transport.get_extra_info("peername") == client.getsockname()
    for name in ("fileno", "socket", "sockname", "ssl_object"):
        assert transport.get_extra_info(name, "none") == "none"
    transport.write(b"late")
    transport.write_eof()
    transport.pause_reading()
    transport.resume_reading()
    assert transport.is_closing() and not transport.is_reading()
    assert transport.get_write_buffer_size() == 0 and transport.get_protocol() is None
    with a_file(b"late") as file:
        transport.sendfile(file, 0, 4)
        assert transport.offer_file(b"late", file.fileno(), 0, 4) == 0
    wire.iterate()
    assert protocol.lost == 1


def test_a_transport_that_was_never_accepted_does_nothing():
    transport = type(transport_of_a_connection())()
    transport.write(b"x")
    transport.resume_reading()
    transport.set_write_buffer_limits(high=0)
    transport.close()
    transport.abort()
    assert transport.is_closing() and transport.get_extra_info("peername", "none") == "none"


def transport_of_a_connection():
    wire = Wire("asyncio")
    _, protocol = wire.connect()
    protocol.transport.abort()
    wire.until(lambda: protocol.lost)
    wire.close()
    return protocol.transport


@pytest.mark.parametrize(
    ("host", "to"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("::", "::1"), ("::", "127.0.0.1")]
)
def test_addresses_are_those_of_the_socket(host, to):
    wire = Wire("asyncio", host)
    try:
        client = wire.dial((to, wire.listener.getsockname()[1]))
        protocol = Recorder(wire)
        wire.accept(lambda: protocol)
        get = protocol.transport.get_extra_info
        assert get("peername") == get("socket").getpeername()
        assert get("peername")[1] == client.getsockname()[1]
        assert get("sockname") == get("socket").getsockname()
    finally:
        wire.close()


# protocols that fail


def fails(error):
    def fail(*_):
        raise error

    return fail


@pytest.mark.parametrize("error", [ValueError("no"), asyncio.CancelledError()], ids=repr)
@pytest.mark.parametrize(
    "name",
    ["connection_made", "data_received", "eof_received", "pause_writing", "resume_writing",
     "connection_lost"],
)  # fmt: skip
def test_a_protocol_that_fails_ends_its_own_connection_only(wire, name, error):
    other, good = wire.connect()
    client, bad = wire.connect(small=True, **{name: fails(error)})
    if name != "connection_made":
        client.send(b"ciao")
        wire.until(lambda: bad.data or bad.lost)
    if "writing" in name:
        bad.transport.set_write_buffer_limits(high=0)
        size = len(fill(bad))
        if name == "resume_writing":
            wire.receive(client, size)
    client.close()
    other.send(b"!")
    wire.until(lambda: bad.lost and good.data)
    assert bad.lost == 1 and not good.lost
    (trouble,) = wire.troubles
    assert trouble["exception"] is error and name in trouble["message"]
    assert trouble["protocol"] is bad and trouble["transport"] is bad.transport


def test_a_failure_after_a_pause_ends_the_connection_too(wire):
    def fail(protocol, _):
        protocol.transport.pause_reading()
        raise ValueError

    client, protocol = wire.connect(data_received=fail)
    client.send(b"ciao")
    wire.until(lambda: protocol.lost)
    assert wire.receive(client, 1) == b"" and isinstance(protocol.error, ValueError)


def test_a_factory_that_fails_ends_its_connection(wire):
    client = wire.dial()
    wire.accept(fails(ValueError("no protocol")))
    with suppress(ConnectionResetError):
        assert wire.receive(client, 1) == b""
    assert [str(each["exception"]) for each in wire.troubles] == ["no protocol"]


def interrupted(wire, protocols):
    """Iterate until all have ended; return how many interrupts left the loop."""
    count, deadline = 0, time.monotonic() + PATIENCE
    while not all(each.lost for each in protocols):
        assert time.monotonic() < deadline, "an end was lost"
        try:
            wire.iterate()
        except KeyboardInterrupt:
            count += 1
    return count


def test_an_interrupt_loses_no_data_and_no_end(wire):
    clients, protocols = zip(
        *(wire.connect(data_received=fails(KeyboardInterrupt)) for _ in range(4)), strict=True
    )
    for client, protocol in zip(clients, protocols, strict=True):
        client.send(b"!")
        arrived(protocol)
    assert interrupted(wire, protocols)
    assert [each.data for each in protocols] == [b"!"] * 4
    assert [each.lost for each in protocols] == [1] * 4


def test_an_interrupt_in_connection_lost_loses_no_other_end(wire):
    protocols = [wire.connect(connection_lost=fails(KeyboardInterrupt))[1] for _ in range(3)]
    numbers = [each.transport.fileno() for each in protocols]
    for protocol in protocols:
        protocol.transport.abort()
    assert interrupted(wire, protocols)
    assert [each.lost for each in protocols] == [1] * 3
    for number in numbers:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)


def test_an_interrupt_in_connection_made_ends_that_connection(wire):
    with pytest.raises(KeyboardInterrupt):
        wire.connect(connection_made=fails(KeyboardInterrupt))
    client = wire.dial()
    with pytest.raises(KeyboardInterrupt):
        wire.accept(fails(KeyboardInterrupt))
    with suppress(ConnectionResetError):
        assert wire.receive(client, 1) == b""


# what is held, and let go of


def test_a_connection_that_epoll_refuses_is_closed(wire):
    wire.poller.retire()
    client = wire.dial()
    before = descriptors()
    made = []
    with pytest.raises(OSError, match="Bad file descriptor"):
        wire.accept(lambda: made.append(1))
    assert not made and descriptors() == before
    with suppress(ConnectionResetError):
        assert wire.receive(client, 1) == b""


def talk(wire, *, closes_first):
    """Run fifty connections to their end; return weak references to their protocols."""
    pairs = [wire.connect(eof_received=lambda _: True) for _ in range(50)]
    for client, protocol in pairs:
        protocol.transport.get_extra_info("sockname")
        client.send(b"ciao")
    wire.until(lambda: all(protocol.data for _, protocol in pairs))
    for client, protocol in pairs:
        if closes_first:
            protocol.transport.close()
        client.close()
        protocol.transport.abort()
    wire.until(lambda: all(protocol.lost for _, protocol in pairs))
    wire.clients.clear()
    wire.iterate()
    return [weakref.ref(protocol) for _, protocol in pairs]


def test_connections_leak_nothing(wire):
    before = descriptors()
    for closes_first in (True, False):
        gone = talk(wire, closes_first=closes_first)
        assert descriptors() == before
        assert not [each for each in gone if each() is not None]


def test_a_retired_poller_closes_with_its_last_connection(wire):
    before = descriptors()  # the poller's included
    _, protocol = wire.connect()
    wire.poller.retire()
    protocol.transport.write(b"still at work")
    assert wire.receive(wire.clients[0], 13) == b"still at work"
    protocol.transport.close()
    wire.until(lambda: protocol.lost)
    wire.clients.pop().close()
    assert descriptors() == before - 1


@pytest.mark.parametrize("loop_of", LOOPS)
def test_a_closed_loop_releases_open_connections(loop_of):
    wire = Wire(loop_of)
    _, protocol = wire.connect()
    number = protocol.transport.fileno()
    its = protocol.transport.get_extra_info("socket")
    wire.loop.close()
    wire.clients.pop().close()
    wire.listener.close()
    gone = weakref.ref(protocol)
    del wire, protocol
    gc.collect()
    assert gone() is None
    os.fstat(number)  # the caller still has the socket
    assert its.fileno() == number
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del its
        gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


def test_a_duplicate_of_a_descriptor_wakes_no_other_connection(wire):
    client, first = wire.connect()
    number = first.transport.fileno()
    copy = os.dup(number)  # as a forked process has
    second = Recorder(wire)
    other, witness = wire.connect()
    wire.dial()
    try:
        first.transport.close()
        wire.until(lambda: first.lost)
        client.send(b"to nobody")
        other.send(b"!")
        wire.until(lambda: witness.data == b"!")
        wire.accept(lambda: second)
        assert second.transport.fileno() == number
        client.close()
        other.send(b"!")
        wire.until(lambda: witness.data == b"!!")
        assert second.calls == ["connection_made"] and not wire.troubles
    finally:
        os.close(copy)


def test_asyncio_streams_run_on_it(wire):
    async def echo(reader, writer):
        while data := await reader.read(50_000):
            writer.write(data)
            await writer.drain()
        writer.close()
        await writer.wait_closed()
        done.set_result(None)

    done = wire.loop.create_future()

    def new():
        reader = asyncio.StreamReader(limit=20_000, loop=wire.loop)
        return asyncio.StreamReaderProtocol(reader, echo, loop=wire.loop)

    client = wire.dial(small=True)
    wire.accept(new)
    data, came = random.Random(7).randbytes(2 << 20), b""

    async def ask():
        sending = asyncio.ensure_future(wire.loop.sock_sendall(client, data))
        got = bytearray()
        while len(got) < len(data):
            got += await wire.loop.sock_recv(client, 65536)
        await sending
        client.shutdown(socket.SHUT_WR)
        assert await wire.loop.sock_recv(client, 1) == b""
        await done
        return bytes(got)

    came = wire.loop.run_until_complete(asyncio.wait_for(ask(), PATIENCE))
    assert came == data
