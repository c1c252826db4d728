"""Many datagrams a call: what comes out is what went in, whoever sent it, and back to them."""

import errno
import socket

import pytest

from stretta import udp
from stretta.net import datagrams
from stretta.net.batch import SIZE, open_batch
from support import PATIENCE, serving

HOSTS = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


def bound(family, host=None):
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.settimeout(PATIENCE)
    sock.bind((host or HOSTS[family], 0))
    return sock


@pytest.fixture(params=HOSTS, ids=["IPv4", "IPv6"])
def server(request):
    with bound(request.param) as sock:
        batch = open_batch(sock)
        if batch is None:
            pytest.skip("this system takes one datagram a call")
        yield sock, batch


def refuse(number, error):
    raise AssertionError((number, error))


def test_nothing_has_come(server):
    _, batch = server
    assert batch.receive() == 0
    assert batch.requests() == []


def test_each_gets_the_reply_to_what_it_sent(server):
    sock, batch = server
    clients = [bound(sock.family) for _ in range(5)]
    try:
        for number, client in enumerate(clients):
            client.sendto(b"%d" % number * (number * 1000), sock.getsockname())
        assert batch.receive() == 5
        requests = batch.requests()
        assert requests == [b"%d" % n * (n * 1000) for n in range(5)]
        addresses = [batch.address(number) for number in range(5)]
        assert addresses == [client.getsockname() for client in clients]
        assert len(set(batch.sources())) == 5
        batch.answer([data + b"!" for data in requests], b"", refuse)
        for number, client in enumerate(clients):
            assert client.recv(9000) == b"%d" % number * (number * 1000) + b"!"
    finally:
        for client in clients:
            client.close()


def test_more_than_one_call_takes_wait_for_the_next(server):
    sock, batch = server
    with bound(sock.family) as client:
        for number in range(SIZE + 3):
            client.sendto(b"%d" % number, sock.getsockname())
        assert batch.receive() == SIZE
        assert batch.requests() == [b"%d" % n for n in range(SIZE)]
        assert len(set(batch.sources())) == 1
        assert batch.receive() == 3
        assert batch.requests() == [b"%d" % n for n in range(SIZE, SIZE + 3)]


def test_the_longest_datagram_comes_whole_and_one_that_cannot_go_is_told(server):
    sock, batch = server
    with bound(sock.family) as client:
        client.sendto(b"x" * 60_000, sock.getsockname())
        client.sendto(b"y", sock.getsockname())
        assert batch.receive() == 2
        assert batch.requests() == [b"x" * 60_000, b"y"]
        failed = []
        batch.answer([b"x" * 65_535, b"Y"], b"", lambda n, error: failed.append((n, error.errno)))
        assert failed == [(0, errno.EMSGSIZE)]
        assert client.recv(10) == b"Y"


def test_what_comes_beside_is_shared_or_not():
    with bound(socket.AF_INET) as sock, bound(socket.AF_INET) as client:
        datagrams._ask_for_ancillary(sock)
        batch = open_batch(sock)
        if batch is None:
            pytest.skip("this system takes one datagram a call")
        for _ in range(2):
            client.sendto(b"x", sock.getsockname())
        batch.receive()
        alike = batch.shared_control()
        assert alike == batch.control(0) == batch.control(1)
        assert not datagrams._aside(datagrams._messages(alike)).marked
        client.sendto(b"x", sock.getsockname())
        client.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, datagrams.MARK)
        client.sendto(b"x", sock.getsockname())
        batch.receive()
        assert batch.shared_control() is None
        marked = [datagrams._aside(datagrams._messages(batch.control(n))).marked for n in (0, 1)]
        assert marked == [False, True]


@pytest.mark.parametrize("together", [True, False], ids=["many a call", "one a call"])
def test_a_mixed_crowd_is_answered_alike_either_way(together, monkeypatch):
    """Marked, empty, growing, unchanged, failing, and to two addresses of ours, all at once."""

    def service(data):
        if data == b"fail":
            raise ValueError("no")
        return None if data == b"none" else data.upper()

    if not together:
        monkeypatch.setattr(datagrams, "open_batch", lambda _: None)
    with serving(udp.serve(service, host="0.0.0.0")) as server, bound(socket.AF_INET) as client:
        for data in (b"a", b"", b"fail", b"B", b"none", b"c" * 1000, b"last"):
            client.sendto(data, ("127.0.0.1", server.port))
        client.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, datagrams.MARK)
        client.sendto(b"marked", ("127.0.0.1", server.port))
        client.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0)
        client.sendto(b"other", ("127.0.0.2", server.port))
        got = [client.recvfrom(2000) for _ in range(6)]
        assert got == [
            *(
                (data, ("127.0.0.1", server.port))
                for data in (b"A", b"", b"B", b"C" * 1000, b"LAST")
            ),
            (b"OTHER", ("127.0.0.2", server.port)),
        ]
        wanted = {"datagrams": 9, "replies": 6, "failed": 1, "loops": 1}
        assert dict(server.counts) == wanted
