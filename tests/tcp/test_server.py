"""The TCP server through real sockets, in this process; see test_command.py for real processes."""

import asyncio
import random
import re
import resource
import socket
import struct
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from stretta import tcp
from stretta.errors import CannotServe, UsageError
from stretta.options import StreamLimits
from stretta.reports import Dropped, Received, Sent
from stretta.services import discard, echo, upper_ascii
from support import PATIENCE, Running, serving, until


def dial(server, **options):
    sock = socket.create_connection(("127.0.0.1", server.port), PATIENCE)
    for name, value in options.items():
        sock.setsockopt(socket.SOL_SOCKET, getattr(socket, name), value)
    return sock


def receive_all(sock):
    data = b""
    while piece := sock.recv(65536):
        data += piece
    return data


def receive(sock, size):
    data = b""
    while len(data) < size and (piece := sock.recv(size - len(data))):
        data += piece
    return data


def test_a_client_that_waits_without_closing_gets_its_reply(tcp_upper_server):
    with dial(tcp_upper_server) as sock:
        for word in (b"ciao", b"mondo"):
            sock.sendall(word)
            assert receive(sock, 5 if word == b"mondo" else 4) == word.upper()


def test_after_a_half_close_the_whole_reply_comes_then_the_end(tcp_upper_server):
    with dial(tcp_upper_server) as sock:
        sock.sendall("è".encode() * 100_000)
        sock.shutdown(socket.SHUT_WR)
        assert receive_all(sock).decode() == "È" * 100_000


def test_a_character_cut_between_segments_is_joined(tcp_upper_server):
    with dial(tcp_upper_server) as sock:
        first, second = "é".encode()[:1], "é".encode()[1:]
        sock.sendall(b"perch" + first)
        assert receive(sock, 5) == b"PERCH"
        sock.sendall(second)
        assert receive(sock, 2).decode() == "É"
        sock.sendall(first)  # and never completed: passed through at the end
        sock.shutdown(socket.SHUT_WR)
        assert receive_all(sock) == first


def test_binary_passes_through_upper(tcp_upper_server):
    data = bytes(range(256)) * 10
    assert tcp.ask(data, port=tcp_upper_server.port) == data.replace(
        bytes(range(97, 123)), bytes(range(65, 91))
    )


@pytest.mark.parametrize(
    ("service", "reply"),
    [(echo, b"perch\xc3\xa9\n"), (upper_ascii, b"PERCH\xc3\xa9\n"), (discard, b"")],
)
def test_each_service_answers(service, reply):
    with serving(tcp.serve(service)) as server:
        assert tcp.ask("perché\n".encode(), port=server.port) == reply


def test_an_async_service_answers_in_order_and_to_the_end():
    async def slowly(data):
        await asyncio.sleep(0)
        return data.upper()

    with serving(tcp.serve(slowly, framing="line")) as server:
        message = b"".join(b"line %d\n" % n for n in range(1000)) + b"last"
        assert tcp.ask(message, port=server.port) == message.upper()


def test_an_async_service_is_not_fed_faster_than_it_answers():
    at_once, most, calls = 0, 0, 0

    async def big(_):
        nonlocal at_once, most, calls
        calls += 1
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0)
        at_once -= 1
        return b"x" * 100_000

    with serving(tcp.serve(big, framing="line")) as server, dial(server) as sock:
        sock.sendall(b"\n" * 300)
        sock.shutdown(socket.SHUT_WR)
        until(lambda: server.open)
        (connection,) = server.open
        until(lambda: not connection._writable.is_set())
        assert calls < 200  # the buffers are full, and the service waits
        assert len(receive_all(sock)) == 300 * 100_001
    assert most == 1


def test_line_framing_calls_the_service_once_a_line():
    seen = []

    def note(line):
        seen.append(line)
        return line[::-1]

    with serving(tcp.serve(note, framing="line")) as server, dial(server) as sock:
        for byte in b"uno\r\ndue\n":
            sock.sendall(bytes([byte]))
        sock.shutdown(socket.SHUT_WR)
        assert receive_all(sock) == b"onu\r\neud\n"
    assert seen == [b"uno", b"due"]


def test_a_line_beyond_the_limit_ends_the_connection_after_the_replies_before():
    reports = []
    limits = StreamLimits(max_line=10)
    with serving(tcp.serve(framing="line", limits=limits, watch=reports.append)) as server:
        with dial(server) as sock:
            sock.sendall(b"uno\n" + b"x" * 100_000)
            assert receive(sock, 4) == b"UNO\n"
            with pytest.raises(ConnectionResetError):  # no orderly end: not all was answered
                sock.recv(1)
        assert server.counts["too_long"] == 1
    assert any(isinstance(r, Dropped) and "longer than 10 bytes" in r.why for r in reports)


def test_a_service_that_fails_costs_its_own_connection_only():
    def picky(data):
        if data == b"bad\n":
            raise ValueError("no")
        return data

    reports = []
    with serving(tcp.serve(picky, watch=reports.append)) as server, dial(server) as good:
        with dial(server) as bad:
            bad.sendall(b"bad\n")
            with pytest.raises(ConnectionResetError):
                bad.recv(10)
        good.sendall(b"good")
        assert good.recv(10) == b"good"
    assert [r.why for r in reports if isinstance(r, Dropped)] == [
        "the service failed with ValueError: no"
    ]


def test_silence_is_closed_at_the_idle_limit():
    limits = StreamLimits(idle_timeout=0.2)
    with serving(tcp.serve(limits=limits)) as server, dial(server) as sock:
        assert sock.recv(1) == b""
        assert server.counts["idle"] == 1


def test_a_peer_that_never_reads_is_cut_off_and_disturbs_nobody():
    limits = StreamLimits(stall_timeout=0.3)
    with serving(tcp.serve(echo, limits=limits)) as server:
        with dial(server, SO_RCVBUF=4096) as deaf, dial(server) as other:
            deaf.settimeout(0.05)
            sent = 0
            with pytest.raises(OSError):  # noqa: PT011 - TimeoutError: nothing is read from it now
                while True:
                    sent += deaf.send(b"x" * 65536)
            for _ in range(100):
                other.sendall(b"ping")
                assert receive(other, 4) == b"ping"
            until(lambda: server.counts["stalled"] == 1)


def test_resets_are_counted_and_nothing_else(tcp_upper_server):
    for greeting in (b"", b"ciao"):
        with dial(tcp_upper_server) as sock:
            sock.sendall(greeting)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    until(lambda: tcp_upper_server.counts["resets"] >= 1)
    assert tcp.ask(b"still there", port=tcp_upper_server.port) == b"STILL THERE"


def test_connections_beyond_the_limit_are_refused_at_once_and_counted():
    with serving(tcp.serve(limits=StreamLimits(max_connections=2))) as server:
        first, second = dial(server), dial(server)
        for sock in (first, second):
            sock.sendall(b"x")
            assert sock.recv(1) == b"X"
        with pytest.raises(ConnectionResetError), dial(server) as third:
            third.recv(1)
        first.close()
        until(lambda: len(server.open) == 1)
        with dial(server) as fourth:
            fourth.sendall(b"y")
            assert fourth.recv(1) == b"Y"
        second.close()
        assert server.counts["refused"] == 1


def test_one_source_has_a_limit_of_its_own():
    with serving(tcp.serve(limits=StreamLimits(max_per_source=1))) as server:
        with dial(server) as first:
            first.sendall(b"x")
            assert first.recv(1) == b"X"
            with pytest.raises(ConnectionResetError), dial(server) as second:
                second.recv(1)


def test_a_thousand_clients_each_in_random_pieces():
    """Each sends its own message in pieces of its own, all at the same time."""

    async def client(number, port):
        rng = random.Random(number)
        message = f"client {number} " * rng.randint(1, 200) + "è"
        data = message.encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        reading = asyncio.create_task(reader.read(-1))
        while data:
            size = rng.randint(1, 700)
            writer.write(data[:size])
            await writer.drain()
            await asyncio.sleep(0)
            data = data[size:]
        writer.write_eof()
        reply = await reading
        writer.close()
        return reply.decode() == message.upper()

    async def main():
        async with tcp.serve() as server:
            deaf = [dial(server) for _ in range(5)]
            results = await asyncio.gather(*(client(n, server.port) for n in range(1000)))
            for sock in deaf:
                sock.close()
            return results

    assert asyncio.run(main()) == [True] * 1000


def test_reports_come_in_the_lecture_s_order():
    reports = []
    with serving(tcp.serve(watch=reports.append)) as server:
        assert tcp.ask(b"ciao", port=server.port) == b"CIAO"
        until(lambda: not server.open)
    kinds = [type(report) for report in reports if isinstance(report, Received | Sent)]
    assert kinds == [Received, Sent]


def test_a_conversation_that_stays_open_is_reported_when_it_rests():
    reports = []
    limits = StreamLimits(idle_timeout=100, stall_timeout=0.4)
    with serving(tcp.serve(limits=limits, watch=reports.append)) as server, dial(server) as sock:
        for round_ in (1, 2):
            sock.sendall(b"ciao")
            assert receive(sock, 4) == b"CIAO"
            until(lambda n=round_: sum(isinstance(r, Sent) for r in reports) == n)
        assert sum(isinstance(r, Received) for r in reports) == 2


def test_a_drain_lets_a_conversation_end_and_takes_no_new_one():
    async def main():
        server = tcp.serve()
        await server.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"x" * 1_000_000)
        stopping = asyncio.create_task(server.stop())
        await asyncio.sleep(0)
        received = await reader.readexactly(1_000_000)
        rest = await reader.read()
        await stopping
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", server.port)
        writer.close()
        return received + rest

    assert asyncio.run(main()) == b"X" * 1_000_000


def test_a_drain_ends_at_its_limit():
    async def main():
        server = tcp.serve(echo, limits=StreamLimits(drain_timeout=0.3))
        await server.start()
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect(("127.0.0.1", server.port))
            deaf.setblocking(False)
            try:
                for _ in range(1000):
                    deaf.send(b"x" * 65536)
                    await asyncio.sleep(0)
            except BlockingIOError:
                pass
            await asyncio.wait_for(server.stop(), PATIENCE)

    asyncio.run(main())


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "::", "0.0.0.0"])
def test_every_kind_of_address_can_be_listened_on(host):
    with serving(tcp.serve(host=host)) as server:
        for client in ("127.0.0.1", "::1"):
            if host in ("::", client) or (host, client) == ("0.0.0.0", "127.0.0.1"):
                assert tcp.ask(b"x", client, server.port) == b"X"


def test_a_port_in_use_says_by_whom_and_which_is_free(tcp_upper_server):
    port = tcp_upper_server.port
    with pytest.raises(CannotServe, match=r"in use by .*process \d+.*Port \d+ is free"):
        asyncio.run(tcp.serve(port=port).start())


def test_an_address_of_another_machine_is_refused():
    with pytest.raises(CannotServe, match="does not have that address"):
        asyncio.run(tcp.serve(host="192.0.2.1").start())


def test_an_unknown_framing_is_refused():
    with pytest.raises(UsageError, match="stream, line"):
        tcp.serve(framing="lines")


def test_a_slow_client_costs_no_other_anything(tcp_upper_server):
    done = threading.Event()
    replies = []

    def slow():
        with dial(tcp_upper_server) as sock:
            for byte in b"one byte at a time":
                sock.sendall(bytes([byte]))
                replies.append(sock.recv(1))
        done.set()

    thread = threading.Thread(target=slow)
    thread.start()
    assert tcp.ask(b"fast", port=tcp_upper_server.port) == b"FAST"
    assert done.wait(PATIENCE)
    thread.join()
    assert b"".join(replies) == b"ONE BYTE AT A TIME"


def test_who_is_answered_at_once_is_not_taken_for_silent():
    """What is quick may be answered without the connection's own doing."""

    async def main():
        async with tcp.serve() as server:
            server._timer.cancel()  # the test's own ticks are all there are
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            quiet = []
            for text in (b"the first goes the careful way", b"the second does not", b"", b"again"):
                writer.write(text)
                assert await reader.readexactly(len(text)) == text.upper()
                (connection,) = server.open
                connection.tick(1.0)
                quiet.append(connection.clock)
            writer.close()
            await writer.wait_closed()
            return quiet

    assert asyncio.run(main()) == [0.0, 0.0, 1.0, 0.0]


def test_out_of_descriptors_accepting_pauses_without_spinning_and_recovers():
    """The server's process may have so few files open that most clients have to wait."""
    few = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24))  # noqa: E731
    with Running("tcp", "server", "--max-connections", "1000", preexec_fn=few) as server:
        first = [dial(server) for _ in range(40)]
        server.expect("too many open files: accepting pauses")
        cpu = Path(f"/proc/{server.process.pid}/stat")
        before = sum(map(int, cpu.read_text().split()[13:15]))
        server.expect("too many open files: accepting pauses")
        for sock in first:
            sock.close()
        with dial(server) as sock:
            sock.sendall(b"still there")
            assert receive(sock, 11) == b"STILL THERE"
        spent = sum(map(int, cpu.read_text().split()[13:15])) - before
        assert spent < 50  # hundredths of a second, in more than one of waiting
        assert server.stop() == 0
        stopped = int(re.search(r"exhausted (\d+)", server.lines[-1])[1])
        assert stopped < 10


def test_a_server_needs_neither_uvloop_nor_aiofastnet():
    code = "import sys; sys.modules.update(uvloop=None, aiofastnet=None)\n" + textwrap.dedent("""
        from stretta import tcp
        with tcp.serve().in_background() as server:
            print(tcp.ask(b"ciao" * 100_000, port=server.port) == b"CIAO" * 100_000)
    """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.stdout, done.stderr) == (b"True\n", b"")


def test_a_stop_answers_who_waited_in_the_listen_queue():
    async def main():
        server = tcp.serve()
        await server.start()
        with socket.socket() as sock:
            sock.setblocking(True)
            sock.connect(("127.0.0.1", server.port))  # the kernel completes the handshake alone
            sock.sendall(b"ciao")
            stopping = asyncio.create_task(server.stop())
            reply = await asyncio.get_running_loop().run_in_executor(None, receive_all, sock)
            await stopping
        return reply

    assert asyncio.run(main()) == b"CIAO"
