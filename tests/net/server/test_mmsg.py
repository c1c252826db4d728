"""Many datagrams a call: what comes out is what went in, whoever sent it, and back to them."""

import errno
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
from contextlib import ExitStack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stretta import udp
from stretta.net.server import datagram_server as datagrams
from stretta.net.server import mmsg as batches
from stretta.net.server.datagram import ancillary
from stretta.net.server.mmsg import SIZE, open_batch
from stretta.services import SERVICES
from support import PATIENCE, serving, until

HOSTS = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
KINDS = {"compiled": batches.DatagramBatch, "in Python": batches.in_python}

# as Linux numbers them; the socket module names none of them
UDP_SEGMENT, UDP_GRO, UDP_NO_CHECK6_TX, UDP_NO_CHECK6_RX, SO_NO_CHECK = 103, 104, 101, 102, 11


def bound(family, host=None):
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.settimeout(PATIENCE)
    sock.bind((host or HOSTS[family], 0))
    return sock


@pytest.fixture(params=KINDS)
def kind(request, monkeypatch):
    if request.param == "compiled" and batches.DatagramBatch is batches.in_python:
        pytest.skip("stretta.net.server._mmsg is not compiled here")
    monkeypatch.setattr(batches, "DatagramBatch", KINDS[request.param])


@pytest.fixture(params=HOSTS, ids=["IPv4", "IPv6"])
def server(request, kind):
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


def test_what_comes_beside_is_shared_or_not(kind):
    with bound(socket.AF_INET) as sock, bound(socket.AF_INET) as client:
        ancillary.request_ancillary(sock)
        batch = open_batch(sock)
        if batch is None:
            pytest.skip("this system takes one datagram a call")
        for _ in range(2):
            client.sendto(b"x", sock.getsockname())
        batch.receive()
        alike = batch.shared_control()
        assert alike == batch.control(0) == batch.control(1)
        assert not ancillary.read_ancillary(ancillary.control_messages(alike)).marked
        client.sendto(b"x", sock.getsockname())
        client.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, ancillary.MARK)
        client.sendto(b"x", sock.getsockname())
        batch.receive()
        assert batch.shared_control() is None
        marked = [
            ancillary.read_ancillary(ancillary.control_messages(batch.control(n))).marked
            for n in (0, 1)
        ]
        assert marked == [False, True]


@pytest.mark.parametrize("together", [True, False], ids=["many a call", "one a call"])
def test_a_mixed_crowd_is_answered_alike_either_way(together, kind, monkeypatch):
    """Marked, empty, growing, unchanged, failing, and to two addresses of ours, all at once."""

    def service(data):
        if data == b"fail":
            raise ValueError("no")
        return None if data == b"none" else data.upper()

    if not together:
        monkeypatch.setattr(datagrams, "open_batch", lambda _: None)
    monkeypatch.setitem(SERVICES, "mixed", service)  # so it runs on the event loop, in order
    with serving(udp.serve(service, host="0.0.0.0")) as server, bound(socket.AF_INET) as client:
        for data in (b"a", b"", b"fail", b"B", b"none", b"c" * 1000, b"last"):
            client.sendto(data, ("127.0.0.1", server.port))
        client.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, ancillary.MARK)
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


# replies that leave as one message, which the kernel cuts


def cuts(sock):
    """Return whether the kernel cuts messages of this socket."""
    try:
        sock.getsockopt(socket.IPPROTO_UDP, UDP_SEGMENT)
    except OSError:
        return False
    return True


def refuse_cuts(sock, clients, *, refused=True):
    """Have the kernel refuse with EINVAL, which it does where there is no checksum to fill in."""
    if sock.family == socket.AF_INET:
        sock.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, refused)
        return
    sock.setsockopt(socket.IPPROTO_UDP, UDP_NO_CHECK6_TX, refused)
    for client in clients:
        client.setsockopt(socket.IPPROTO_UDP, UDP_NO_CHECK6_RX, refused)


def exchange(sock, batch, sends):
    """Let clients ask, (client, reply) each, and answer all; return the numbers that failed."""
    for client, _ in sends:
        client.sendto(b"?", sock.getsockname())
    assert batch.receive() == len(sends)
    failed = []
    batch.answer([reply for _, reply in sends], b"", lambda *failure: failed.append(failure[0]))
    return failed


def uncut(client):
    """Return what came as the kernel keeps it: the bytes, and how long each datagram was."""
    data, ancillary, _, _ = client.recvmsg(70_000, 100)
    sizes = [struct.unpack("i", value)[0] for _, kind, value in ancillary if kind == UDP_GRO]
    return data, *sizes


@st.composite
def conversations(draw):
    """Draw who gets which replies, with runs of one size among them."""
    runs = st.tuples(
        st.integers(0, 2), st.sampled_from([1, 64, 700, 1400, 3000]), st.integers(1, 40)
    )
    sends, held = [], 0
    for client, size, count in draw(st.lists(runs, min_size=1, max_size=6)):
        for _ in range(count):
            held += size + 1500
            if len(sends) < SIZE and held < 180_000:  # what a socket keeps unread
                sends.append((client, size))
        if sends and draw(st.booleans()):  # the last one is shorter
            sends[-1] = (sends[-1][0], draw(st.integers(1, sends[-1][1])))
    return sends


@pytest.mark.parametrize("refused", [False, True], ids=["", "refused"])
@pytest.mark.parametrize("family", HOSTS, ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("name", KINDS)
def test_whatever_is_sent_as_one_arrives_as_many(name, family, refused):
    if name == "compiled" and batches.DatagramBatch is batches.in_python:
        pytest.skip("stretta.net.server._mmsg is not compiled here")

    @given(conversations())
    @settings(max_examples=40, deadline=None)
    def check(sends):
        with ExitStack() as stack:
            sock, *clients = [stack.enter_context(bound(family)) for _ in range(4)]
            refuse_cuts(sock, clients, refused=refused)
            replies = [b"%d." % n * size for n, (_, size) in enumerate(sends)]
            replies = [reply[:size] for reply, (_, size) in zip(replies, sends, strict=True)]
            to = [clients[client] for client, _ in sends]
            batch = KINDS[name](sock)
            assert exchange(sock, batch, list(zip(to, replies, strict=True))) == []
            for at, reply in zip(to, replies, strict=True):
                assert at.recv(9000) == reply
            for client in clients:
                client.setblocking(False)
                with pytest.raises(BlockingIOError):
                    client.recv(1)

    check()


@pytest.fixture(params=HOSTS, ids=["IPv4", "IPv6"])
def cutting(request):
    if batches.DatagramBatch is batches.in_python:
        pytest.skip("stretta.net.server._mmsg is not compiled here")
    with bound(request.param) as sock, bound(request.param) as client:
        if not cuts(sock):
            pytest.skip("this kernel cuts no messages")
        client.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
        yield sock, batches.DatagramBatch(sock), client


def test_a_long_run_leaves_as_one_message_and_a_short_one_does_not(cutting):
    sock, batch, client = cutting
    assert exchange(sock, batch, [(client, b"x" * 100)] * 15) == []
    assert [uncut(client) for _ in range(15)] == [(b"x" * 100,)] * 15
    assert exchange(sock, batch, [(client, b"x" * 100)] * 20 + [(client, b"y")]) == []
    assert uncut(client) == (b"x" * 2000 + b"y", 100)


def test_a_message_holds_no_more_than_the_kernel_takes(cutting):
    sock, batch, client = cutting
    assert exchange(sock, batch, [(client, b"x" * 3000)] * 40) == []
    assert uncut(client) == (b"x" * 63_000, 3000)
    assert uncut(client) == (b"x" * 57_000, 3000)
    assert exchange(sock, batch, [(client, b"x")] * SIZE) == []
    assert uncut(client) == (b"x" * SIZE, 1)


def test_one_that_cannot_go_takes_no_other_with_it(cutting):
    sock, batch, client = cutting
    run = [(client, b"x" * 100)] * 16
    assert exchange(sock, batch, [*run, (client, b"y" * 65_535), *run]) == [16]
    assert [uncut(client), uncut(client)] == [(b"x" * 1600, 100)] * 2


def test_where_the_kernel_refuses_all_go_singly_for_a_while(cutting):
    sock, batch, client = cutting
    run = [(client, b"x" * 100)] * 16
    refuse_cuts(sock, [client])
    assert exchange(sock, batch, [(client, b"first"), *run]) == []
    assert [uncut(client) for _ in range(17)] == [(b"first",), *[(b"x" * 100,)] * 16]
    refuse_cuts(sock, [client], refused=False)
    batches_on = 0
    while True:
        assert exchange(sock, batch, run) == []
        came = uncut(client)
        if len(came) == 2:
            break
        assert [came] + [uncut(client) for _ in range(15)] == [(b"x" * 100,)] * 16
        batches_on += 1
    assert (came, batches_on) == ((b"x" * 1600, 100), 1024)


@pytest.mark.parametrize(
    ("host", "asked", "seen"),
    [
        ("0.0.0.0", "127.0.0.2", "127.0.0.2"),
        ("::", "127.0.0.2", "127.0.0.2"),
        ("::1", "::1", "::1"),
    ],
)
def test_each_part_has_the_mark_and_comes_from_the_address_asked(host, asked, seen, monkeypatch):
    """The service holds the server up, so that the rest comes together."""
    gate = threading.Event()

    def service(data):
        gate.wait(PATIENCE)
        return data.upper()

    monkeypatch.setitem(SERVICES, "gated", service)  # so it runs on the event loop
    family = socket.AF_INET6 if ":" in asked else socket.AF_INET
    mark = (socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS) if family == socket.AF_INET6 else (
        socket.IPPROTO_IP, ancillary.IP_RECVTOS)  # fmt: skip
    with serving(udp.serve(service, host=host)) as server, bound(family) as client:
        client.setsockopt(*mark, 1)
        client.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
        client.sendto(b"first", (asked, server.port))
        until(lambda: server.counts["datagrams"] == 1)
        for number in range(48):
            client.sendto(b"%02d and so on" % number, (asked, server.port))
        gate.set()
        parts, messages = [], 0
        while len(parts) < 49:
            data, messages_of, _, (source, *_) = client.recvmsg(70_000, 200)
            sizes = [
                struct.unpack("i", value)[0] for _, kind, value in messages_of if kind == UDP_GRO
            ]
            marks = [value[0] for _, kind, value in messages_of if kind != UDP_GRO]
            assert (source, marks) == (seen, [ancillary.MARK])
            size = sizes[0] if sizes else len(data)
            parts += [data[at : at + size] for at in range(0, len(data), size)]
            messages += 1
        assert parts == [b"FIRST", *(b"%02d AND SO ON" % number for number in range(48))]
        assert messages == (
            49 if batches.DatagramBatch is batches.in_python or not cuts(client) else 2
        )
        assert server.counts == {"datagrams": 49, "replies": 49}


NARROW = """
import subprocess, sys
subprocess.run(["ip", "link", "set", "lo", "up", "mtu", "1280"], check=True)
sys.path[:0] = {paths!r}
from test_mmsg import HOSTS, batches, bound, exchange
for family in HOSTS:
    with bound(family) as sock, bound(family) as client:
        batch = batches.DatagramBatch(sock)
        for size in (1300, 1300, 100):
            assert exchange(sock, batch, [(client, b"x" * size)] * 20) == []
            for _ in range(20):
                assert client.recv(2000) == b"x" * size
print("whole")
"""


@pytest.mark.skipif(not shutil.which("unshare"), reason="unshare (util-linux) is not installed")
def test_datagrams_longer_than_the_path_takes_go_in_fragments():
    """The kernel refuses to cut those, and fragments each that comes by itself."""
    enter = ["unshare", "--user", "--map-root-user", "--net"]
    if subprocess.run([*enter, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine forbids user namespaces")
    here = os.path.dirname(__file__)
    shared = os.path.dirname(os.path.dirname(here))
    script = NARROW.format(paths=[here, shared])
    done = subprocess.run(
        [*enter, sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.stdout == "whole\n", done.stderr
