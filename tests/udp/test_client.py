"""The UDP client on a network that loses, doubles, delays, forges and refuses."""

import asyncio
import gc
import os
import random
import socket
import threading
from contextlib import contextmanager

import pytest

from stretta import udp
from stretta.errors import InvalidReply, NetworkError, TimedOut, TooLong, UsageError
from stretta.options import DatagramPatience
from stretta.reports import Asked, Resending
from stretta.udp import client
from support import PATIENCE, free_port

IMPATIENT = DatagramPatience(timeout=0.1, retries=2)


def ask_async(message, *words, **options):
    return asyncio.run(udp.ask_async(message, *words, **options))


BOTH = pytest.mark.parametrize("ask", [udp.ask, ask_async])


@contextmanager
def peer(answer, family=socket.AF_INET):
    """A peer that calls ``answer(sock, data, source, number)`` for each datagram it gets."""
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(PATIENCE)

        def serve():
            number = 0
            while True:
                data, source = sock.recvfrom(65_535)
                if data == b"stop":
                    return
                number += 1
                answer(sock, data, source, number)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield sock.getsockname()[1]
        finally:
            with socket.socket(family, socket.SOCK_DGRAM) as stop:
                stop.sendto(b"stop", sock.getsockname())
            thread.join(PATIENCE)


@BOTH
@pytest.mark.parametrize("message", [b"", b"ciao", "perché".encode(), bytes(65_507)])
def test_one_datagram_one_reply(ask, message, udp_upper_server):
    assert ask(message, port=udp_upper_server.port) == message.decode().upper().encode()


@BOTH
def test_a_lost_datagram_is_sent_again_and_that_is_said(ask):
    def lossy(sock, data, source, number):
        if number == 3:
            sock.sendto(data.upper(), source)

    reports = []
    with peer(lossy) as port:
        assert ask(b"ciao", port=port, patience=IMPATIENT, watch=reports.append) == b"CIAO"
    assert [type(report) for report in reports] == [Asked, Resending, Resending]


@BOTH
def test_no_reply_is_a_time_out(ask):
    with peer(lambda *_: None) as port, pytest.raises(TimedOut, match=r"3 datagrams.*0\.3 s") as e:
        ask(b"ciao", port=port, patience=IMPATIENT)
    assert e.value.status == 6


@BOTH
def test_a_refused_port_is_reported_at_once(ask):
    port = free_port(socket.SOCK_DGRAM)
    patient = DatagramPatience(timeout=PATIENCE * 10)
    with pytest.raises(NetworkError, match=f"port {port}.*ICMP port unreachable.*server -p {port}"):
        ask(b"x", port=port, patience=patient)


@BOTH
def test_a_reply_from_another_address_is_ignored(ask):
    def forged(sock, data, source, _):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.sendto(b"forged", source)
        sock.sendto(data.upper(), source)

    with peer(forged) as port:
        assert ask(b"ciao", port=port) == b"CIAO"


@BOTH
def test_a_double_or_late_reply_does_not_answer_the_next_message(ask):
    def doubling(sock, data, source, _):
        for _ in range(2):
            sock.sendto(data.upper(), source)

    with peer(doubling) as port:
        assert [ask(word, port=port) for word in (b"uno", b"due", b"tre")] == [
            b"UNO",
            b"DUE",
            b"TRE",
        ]


@BOTH
def test_a_truncated_reply_is_reported(ask, udp_upper_server):
    with pytest.raises(InvalidReply, match="longer than 3 bytes"):
        ask(b"ciao", port=udp_upper_server.port, patience=DatagramPatience(max_reply=3))


@BOTH
@pytest.mark.parametrize(("host", "most"), [("127.0.0.1", 65_507), ("::1", 65_527)])
def test_a_message_that_cannot_fit_is_refused_before_it_is_sent(ask, host, most):
    with pytest.raises(TooLong, match=f"at most {most}") as caught:
        ask(bytes(most + 1), host, 9)
    assert caught.value.status == 2


@BOTH
def test_a_name_s_addresses_are_tried_in_turn(ask):
    """Whichever of ::1 and 127.0.0.1 comes first, the server has only the other."""
    names = [i[4][0] for i in socket.getaddrinfo("localhost", 1, type=socket.SOCK_DGRAM)]
    with peer(lambda sock, data, source, _: sock.sendto(data, source)) as port:
        assert "127.0.0.1" in names
        assert ask(b"x", "localhost", port, patience=IMPATIENT) == b"x"


@BOTH
def test_a_name_that_does_not_exist(ask):
    with pytest.raises(NetworkError, match=r"cannot find nowhere\.invalid"):
        ask(b"x", "nowhere.invalid")


@BOTH
@pytest.mark.parametrize("group", ["239.1.2.3", "ff02::1"])
def test_a_multicast_group_cannot_be_asked(ask, group):
    with pytest.raises(UsageError, match=f"multicast group {group}.*own addresses"):
        ask(b"x", group, 12000)


@BOTH
def test_a_wake_up_without_a_datagram_is_no_reply(ask, monkeypatch):
    """A datagram with a bad checksum wakes the client, and recvmsg() finds none."""
    real, calls = client.receive, []

    def at_first_nothing(sock, most):
        calls.append(most)
        if len(calls) < 3:
            raise BlockingIOError
        return real(sock, most)

    monkeypatch.setattr(client, "receive", at_first_nothing)
    with peer(lambda sock, data, source, _: sock.sendto(data.upper(), source)) as port:
        assert ask(b"ciao", port=port) == b"CIAO"
    assert len(calls) == 3


def test_a_late_reply_does_not_answer_the_next_message_after_a_time_out():
    """The reply to the first message comes when the second one waits."""
    held = []

    def late(sock, data, source, _):
        if data == b"first":
            held.append(source)
        else:
            sock.sendto(b"FIRST", held[0])
            sock.sendto(data.upper(), source)

    with peer(late) as port:
        with pytest.raises(TimedOut):
            udp.ask(b"first", port=port, patience=DatagramPatience(timeout=0.05, retries=0))
        assert udp.ask(b"second", port=port) == b"SECOND"


def test_cancelled_calls_close_their_sockets():
    """With a socket left to the garbage collector the ResourceWarning would fail the test."""
    rng = random.Random(1)

    async def main(port):
        for _ in range(2000):
            task = asyncio.create_task(udp.ask_async(b"ciao", "localhost", port))
            for _ in range(rng.randrange(12)):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        del task
        gc.collect()

    with peer(lambda *_: None) as port:
        before = len(os.listdir("/proc/self/fd"))
        asyncio.run(main(port))
        assert len(os.listdir("/proc/self/fd")) <= before
