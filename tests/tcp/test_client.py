"""The TCP client against servers that are correct, naive, slow and rude."""

import asyncio
import gc
import os
import random
import select
import socket
import struct
import threading

import pytest

from stretta import tcp
from stretta.errors import NetworkError, ReplyEndedEarly, TimedOut
from stretta.options import ClientTls, ServerTls, StreamPatience
from stretta.services import discard, echo
from support import PATIENCE, free_port, naive_tcp_server, one_recv, serving, until


def ask_async(message, *words, **options):
    return asyncio.run(tcp.ask_async(message, *words, **options))


BOTH = pytest.mark.parametrize("ask", [tcp.ask, ask_async])


@BOTH
@pytest.mark.parametrize("size", [0, 1, 1024, 3_000_000])
def test_the_reply_is_whole_whatever_its_length(ask, size, tcp_upper_server):
    assert ask(b"x" * size, port=tcp_upper_server.port) == b"X" * size


@BOTH
def test_a_server_that_answers_nothing_is_no_error(ask):
    with serving(tcp.serve(discard)) as server:
        assert ask(b"x" * 1000, port=server.port) == b""


@BOTH
def test_a_naive_server_answers_a_short_message(ask):
    with naive_tcp_server(one_recv) as port:
        assert ask(b"ciao", port=port) == b"CIAO"


@BOTH
def test_a_naive_server_loses_the_rest_of_a_long_one_and_that_is_said(ask):
    with naive_tcp_server(one_recv) as port, pytest.raises(ReplyEndedEarly) as caught:
        ask(b"x" * 5000, port=port)
    assert "the server closed the connection after 1024 of 5000 bytes were answered" in str(
        caught.value
    )
    assert caught.value.reply == b"X" * 1024
    assert caught.value.status == 7


@BOTH
def test_a_reset_before_any_reply(ask):
    def slam(connection):
        connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with naive_tcp_server(slam) as port:
        with pytest.raises(NetworkError, match="reset the connection") as caught:
            ask(b"x" * 100, port=port)
    assert caught.value.status == 1


@BOTH
def test_nobody_listens(ask):
    port = free_port()
    with pytest.raises(NetworkError) as caught:
        ask(b"x", port=port)
    assert str(caught.value) == (
        f"cannot reach 127.0.0.1 port {port}: connection refused. Nothing is listening there."
        f" To start a server: stretta tcp server -p {port}"
    )


@BOTH
def test_a_name_that_does_not_exist(ask):
    with pytest.raises(NetworkError, match=r"cannot find nowhere\.invalid"):
        ask(b"x", "nowhere.invalid")


@BOTH
def test_every_address_of_a_name_is_tried(ask):
    """The server has IPv4 only or IPv6 only; the name may have both."""
    for host in ("127.0.0.1", "::1"):
        with serving(tcp.serve(host=host)) as server:
            names = [i[4][0] for i in socket.getaddrinfo("localhost", 1, type=socket.SOCK_STREAM)]
            if host in names:
                assert ask(b"x", "localhost", server.port) == b"X"


@BOTH
def test_silence_is_a_time_out(ask):
    release = threading.Event()
    with naive_tcp_server(lambda _: release.wait(PATIENCE)) as port:
        with pytest.raises(TimedOut, match=r"silent for 0\.1 s") as caught:
            ask(b"x", port=port, patience=StreamPatience(timeout=0.1))
        release.set()
    assert caught.value.status == 6


@BOTH
def test_a_time_out_counts_from_the_last_progress(ask):
    def drip(connection):
        connection.recv(1)
        for _ in range(5):
            select.select([], [], [], 0.1)  # the passing of time is what is tested
            connection.send(b"x")

    with naive_tcp_server(drip) as port:
        assert ask(b"x", port=port, patience=StreamPatience(timeout=0.35)) == b"x" * 5


def test_a_partial_send_is_continued_where_it_stopped():
    """The lecture's reason for sendall(): a small buffer and a slow reader make send() take part.

    The reader waits until nothing more can be sent, so send() must have taken less than it got.
    """
    message = os.urandom(4_000_000)
    stuck = threading.Event()

    def slow(connection):
        stuck.wait(PATIENCE)
        received = bytearray()
        while piece := connection.recv(65536):
            received += piece
        connection.sendall(b"whole" if received == message else b"damaged")

    with naive_tcp_server(slow) as port, tcp.connect(port=port) as conversation:
        conversation._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        threading.Timer(0, lambda: _when_full(conversation._sock, stuck)).start()
        reply = bytearray()
        conversation.exchange(message, reply.extend)
        assert reply == b"whole"
        assert conversation.partial_sends > 0


def _when_full(sock, stuck):
    poll = select.poll()
    poll.register(sock, select.POLLOUT)
    quiet = 0
    while quiet < 5:  # not writable at five looks in turn: the buffers are full
        quiet = quiet + 1 if not poll.poll(10) else 0
    stuck.set()


def test_both_directions_full_do_not_deadlock():
    """Far more than the buffers hold, through an echo: a client that only sends would deadlock."""
    message = bytes(30_000_000)
    with serving(tcp.serve(echo)) as server:
        assert tcp.ask(message, port=server.port) == message


def test_a_descriptor_is_sent_as_it_comes(tmp_path, tcp_upper_server):
    (tmp_path / "text").write_bytes(b"abc" * 500_000)
    reply = bytearray()
    with open(tmp_path / "text", "rb") as file, tcp.connect(port=tcp_upper_server.port) as talk:
        talk.exchange(file.fileno(), reply.extend)
    assert reply == b"ABC" * 500_000


def test_a_server_that_closes_while_the_input_goes_on():
    inlet, outlet = os.pipe()
    os.write(outlet, b"ciao")
    try:
        with naive_tcp_server(one_recv) as port, tcp.connect(port=port) as conversation:
            with pytest.raises(ReplyEndedEarly, match=r"4 of 4 bytes.*end of the input"):
                conversation.exchange(inlet, lambda _: None)
    finally:
        os.close(inlet)
        os.close(outlet)


def test_lines_over_one_connection(tcp_upper_server):
    with tcp.connect(port=tcp_upper_server.port) as conversation:
        for word in (b"uno\n", b"due\n"):
            conversation.send(word)
            assert conversation.receive_until(b"\n") == word.upper()
        conversation.finish()
        assert conversation.receive_until(b"\n") == b""


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "TLS"])
def test_cancelled_calls_close_their_sockets(encrypted):
    """With a socket left to the garbage collector the ResourceWarning would fail the test."""
    rng = random.Random(1)
    tls = ClientTls(insecure=True) if encrypted else None
    count = 20 if encrypted else 2000

    async def main(port):
        for _ in range(count):
            asking = tcp.ask_async(b"x" * 100_000, "127.0.0.1", port, tls=tls)
            task = asyncio.create_task(asking)
            for _ in range(rng.randrange(20)):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        del task, asking
        gc.collect()

    with serving(tcp.serve(tls=ServerTls(tls=True) if encrypted else None)) as server:
        asyncio.run(main(server.port))
        gc.collect()
        until(lambda: not server.open, "the end of every connection")


def test_a_cancelled_call_ends_although_the_server_is_silent():
    async def main(port):
        task = asyncio.create_task(tcp.ask_async(bytes(50_000_000), port=port))
        assert await asyncio.to_thread(accepted.wait, PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    accepted, release = threading.Event(), threading.Event()

    def silent(_):
        accepted.set()
        release.wait(PATIENCE)

    with naive_tcp_server(silent) as port:
        asyncio.run(asyncio.wait_for(main(port), PATIENCE))
        release.set()
