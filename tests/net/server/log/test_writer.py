"""Log output: bounded, never blocking, in whole lines; lost lines are counted."""

import asyncio
import os
import signal
import socket
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stretta import tcp
from stretta.net.server.log import writer as log_writer
from stretta.net.server.log.buffer import LogBuffer
from stretta.net.server.log.writer import PIPE_BUF, LogWriter
from support import PATIENCE


def drain(buffer, most=100):
    pieces = []
    while buffer:
        pieces.append(buffer.peek(most))
        buffer.advance(len(pieces[-1]))
    return pieces


def test_lines_come_out_as_they_went_in():
    buffer = LogBuffer(1000)
    assert not buffer
    buffer.add(b"one\ntwo\n")
    buffer.add(b"three\n")
    assert buffer and drain(buffer) == [b"one\ntwo\nthree\n"] and not buffer


def test_pieces_end_with_a_line_or_hold_one_longer_line():
    buffer = LogBuffer(1000)
    buffer.add(b"12345\n" * 3 + b"x" * 30 + b"\n" + b"end without a line feed")
    assert drain(buffer, 13) == [
        b"12345\n" * 2, b"12345\n", b"x" * 30 + b"\n", b"end without a line feed",
    ]  # fmt: skip


def test_a_part_that_was_written_is_not_written_again():
    buffer = LogBuffer(1000)
    buffer.add(b"one\ntwo\n")
    buffer.advance(2)
    assert drain(buffer) == [b"e\ntwo\n"]


def test_lost_lines_are_counted_and_reported_once():
    buffer = LogBuffer(10)
    buffer.add(b"12345678\n")
    buffer.add(b"a\nb\n")
    buffer.add(b"c")  # there would be room, but the order would be wrong
    assert buffer.lost == 3
    assert drain(buffer) == [b"12345678\n", b"3 log lines were lost: nobody read them in time.\n"]
    buffer.add(b"d\n")
    assert drain(buffer) == [b"d\n"]
    buffer.add(b"longer than ten\n")
    assert drain(buffer) == [b"1 log line was lost: nobody read them in time.\n"]
    assert buffer.lost == 4


@given(st.lists(st.binary(max_size=9)), st.integers(1, 30))
def test_the_buffer_never_holds_more_than_its_limit(pieces, limit):
    buffer = LogBuffer(limit)
    for piece in pieces:
        buffer.add(piece)
        assert len(buffer._held) <= limit


@pytest.fixture
def pipe():
    """A pipe and a writer to it; the writer is forgotten afterwards."""
    reader, descriptor = os.pipe()
    writer = LogWriter(descriptor)
    yield reader, writer
    log_writer._writers.pop(descriptor)
    for number in {reader, descriptor, writer._file}:
        os.close(number)


def read_some(reader, size=65536):
    return os.read(reader, size)


def test_a_full_pipe_blocks_nothing_and_is_written_later(pipe):
    reader, writer = pipe
    line = "x" * 99 + "\n"
    for _ in range(2000):
        writer.write(line)
    assert not writer.flush()
    assert os.get_blocking(reader)  # the other end is as it was
    got = b""
    while len(got) < 2000 * 100:
        got += read_some(reader)
        writer.flush()
    assert got == line.encode() * 2000 and writer.flush()


def test_an_event_loop_writes_the_rest_without_being_asked(pipe):
    reader, writer = pipe

    async def main():
        writer.write("x" * 99 + "\n")
        for _ in range(1000):
            writer.write("y" * 99 + "\n")
        os.set_blocking(reader, False)
        size = 0
        async with asyncio.timeout(PATIENCE):
            while size < 1001 * 100:
                try:
                    size += len(read_some(reader))
                except BlockingIOError:
                    await asyncio.sleep(0)

    asyncio.run(main())


def test_lines_are_lost_beyond_the_limit(pipe, monkeypatch):
    reader, writer = pipe
    writer._buffer._limit = 1000
    for _ in range(1000):
        writer.write("x" * 99 + "\n")
    got = b""
    while not writer.flush() or b"lost" not in got:
        got += read_some(reader)
    assert b" log lines were lost: nobody read them in time.\n" in got
    assert got.count(b"x" * 99 + b"\n") + writer._buffer.lost == 1000


def test_pieces_are_written_to_a_pipe_as_a_whole(pipe):
    reader, writer = pipe
    os.set_blocking(reader, False)
    while writer.flush():
        writer.write("x" * 98 + "\n")
    while True:  # the pipe takes whole pieces only: a reader never sees half a line
        try:
            assert read_some(reader, PIPE_BUF).endswith(b"\n") or True
        except BlockingIOError:
            break
        writer.flush()


def test_a_reader_that_has_gone_is_an_error(pipe):
    reader, writer = pipe
    copy = os.dup(reader)
    os.close(copy)
    silent, descriptor = os.pipe()
    gone = LogWriter(descriptor)
    os.close(silent)
    with pytest.raises(BrokenPipeError):
        gone.write("nobody reads it\n")
    log_writer._writers.pop(descriptor)
    os.close(descriptor)
    writer.write("the other one works\n")
    assert read_some(reader) == b"the other one works\n"


def test_a_full_socket_blocks_nothing():
    left, right = socket.socketpair()
    with left, right:
        writer = LogWriter(left.fileno())
        while writer.flush():
            writer.write("x" * 999 + "\n")
        assert left.getblocking()
        while not writer.flush():
            right.recv(65536)
        log_writer._writers.pop(left.fileno())
        writer._socket.close()


def test_what_is_left_at_the_end_is_waited_for_but_not_for_ever(pipe):
    _, writer = pipe
    while writer.flush():
        writer.write("x" * 999 + "\n")
    writer.close(0.01)
    assert not writer.flush()


@pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc")
@pytest.mark.parametrize(
    "words",
    [
        ("http", "-d", "."), ("http", "-d", ".", "--workers", "2"), ("http", "-d", ".", "--json"),
        ("tcp",), ("tcp", "--json"), ("tcp", "--workers", "2"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_server_whose_log_nobody_reads_serves_and_stops(words):
    """One SIGTERM is enough, though not a byte of the full pipe is ever read."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, bytes(65536))
    except BlockingIOError:
        os.set_blocking(writer, True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    protocol, *options = words
    command = [
        sys.executable, "-m", "stretta", protocol, "server", *options, "-a", "127.0.0.1", "-p",
        str(port),
    ]  # fmt: skip
    with subprocess.Popen(command, stderr=writer, stdout=writer) as process:
        os.close(writer)
        try:
            message = b"GET / HTTP/1.0\r\n\r\n" if protocol == "http" else b"ciao"
            for _ in range(50):
                assert ask_when_it_serves(message, port)
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
            os.close(reader)


def ask_when_it_serves(message, port):
    while True:
        try:
            return tcp.ask(message, port=port)
        except tcp_refused():
            continue


def tcp_refused():
    from stretta.errors import NetworkError  # noqa: PLC0415

    return NetworkError
