"""The UDP server through real sockets; and two of them, with a forged datagram between them."""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import textwrap
import threading

import pytest

from stretta import udp
from stretta.net.server import datagram_server as datagrams
from stretta.net.server.datagram import ancillary, sources
from stretta.options import DatagramLimits
from stretta.reports import Dropped, Received, Sent
from stretta.services import discard, echo
from support import PATIENCE, serving, until


def client(server, host="127.0.0.1", port=0):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.settimeout(PATIENCE)
    if port:
        sock.bind((host, port))
    sock.connect((host, server.port))
    return sock


@pytest.mark.parametrize("data", [b"", b"ciao", b"\x00\xff", bytes(65_507)])
def test_a_datagram_is_answered_by_one(data, udp_upper_server):
    with client(udp_upper_server) as sock:
        sock.send(data)
        assert sock.recv(70_000) == data.upper()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "::", "0.0.0.0"])
def test_the_reply_comes_from_the_address_that_was_asked(host):
    with serving(udp.serve(host=host)) as server:
        asked = {"127.0.0.1": ["127.0.0.1"], "::1": ["::1"], "0.0.0.0": ["127.0.0.1", "127.0.0.2"]}
        for address in asked.get(host, ["127.0.0.1", "127.0.0.2", "::1"]):
            with client(server, address) as sock:  # connected: other sources are not received
                sock.send(b"x")
                assert sock.recv(10) == b"X"


def test_many_clients_at_once_each_get_their_own(udp_upper_server):
    socks = [client(udp_upper_server) for _ in range(100)]
    for round_ in range(3):
        for number, sock in enumerate(socks):
            sock.send(b"client %d round %d" % (number, round_))
        for number, sock in enumerate(socks):
            assert sock.recv(100) == b"CLIENT %d ROUND %d" % (number, round_)
    for sock in socks:
        sock.close()


def test_a_vanished_client_s_icmp_error_kills_nothing(udp_upper_server):
    for _ in range(20):
        with client(udp_upper_server) as gone:
            gone.send(b"x")
    with client(udp_upper_server) as sock:
        sock.send(b"still there")
        assert sock.recv(100) == b"STILL THERE"


def test_a_reply_that_cannot_fit_is_dropped_and_counted():
    reports = []
    with serving(udp.serve(lambda data: data * 2, watch=reports.append)) as server:
        with client(server) as sock:
            sock.send(bytes(40_000))
            sock.send(b"x")
            assert sock.recv(70_000) == b"xx"
        until(lambda: server.counts["too_long"] == 1)
    assert any("80000 bytes cannot fit" in r.why for r in reports if isinstance(r, Dropped))


def test_discard_answers_nothing():
    with serving(udp.serve(discard)) as server, client(server) as sock:
        sock.send(b"x")
        until(lambda: server.counts["datagrams"] == 1)
        sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            sock.recv(1)
        assert server.counts["replies"] == 0


def test_a_service_that_fails_costs_one_datagram():
    def picky(data):
        if data == b"bad":
            raise ValueError("no")
        return data

    with serving(udp.serve(picky)) as server, client(server) as sock:
        sock.send(b"bad")
        sock.send(b"good")
        assert sock.recv(10) == b"good"
        until(lambda: server.counts["failed"] == 1)


def test_a_service_may_answer_with_bytes_of_its_own_kind():
    class Word(bytes):
        pass

    with serving(udp.serve(lambda data: Word(data + b"!"))) as server, client(server) as sock:
        sock.send(b"x")
        assert sock.recv(10) == b"x!"


def test_a_slow_service_delays_no_other_client():
    release = threading.Event()

    def sometimes_slow(data):
        if data == b"slow":
            release.wait(PATIENCE)
        return data.upper()

    with serving(udp.serve(sometimes_slow)) as server, client(server) as sock:
        sock.send(b"slow")
        with client(server) as other:
            for _ in range(10):
                other.send(b"quick")
                assert other.recv(10) == b"QUICK"
        release.set()
        assert sock.recv(10) == b"SLOW"


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_a_request_that_never_ends_gives_way_when_it_is_overdue(kind, monkeypatch):
    monkeypatch.setattr("stretta.udp.server.LONGEST_CALL", 0.0)
    release = threading.Event()

    def plain(data):
        if data == b"never":
            release.wait(PATIENCE)
        return data.upper()

    async def later(data):
        if data == b"never":
            await asyncio.Event().wait()
        return data.upper()

    service = plain if kind == "plain" else later
    with serving(udp.serve(service, limits=DatagramLimits(max_pending=1))) as server:
        with client(server) as sock:
            for _ in range(3):
                sock.send(b"never")
                sock.send(b"ciao")
                assert sock.recv(10) == b"CIAO"
        release.set()


def test_an_async_service_answers_and_is_bounded():
    release = []

    async def slowly(data):
        gate = asyncio.Event()
        release.append((asyncio.get_running_loop(), gate))
        await gate.wait()
        return data.upper()

    with serving(udp.serve(slowly, limits=DatagramLimits(max_pending=2))) as server:
        with client(server) as sock:
            for word in (b"a", b"b", b"c"):
                sock.send(word)
            until(lambda: server.counts["too_many"] == 1)
            until(lambda: len(release) == 2)
            for loop, gate in release:
                loop.call_soon_threadsafe(gate.set)
            assert {sock.recv(10), sock.recv(10)} == {b"A", b"B"}


def test_a_server_s_port_gets_no_reply():
    with serving(udp.serve(echo, host="127.0.0.1")) as server:
        with client(server, "127.0.0.1") as ordinary:
            try:
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as low:
                    low.bind(("127.0.0.3", 999))
                    low.sendto(b"x", ("127.0.0.1", server.port))
                until(lambda: server.counts["low_ports"] == 1)
            except PermissionError:
                pass  # only the administrator can send from there; the next half is for all
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as same:
                same.bind(("127.0.0.2", server.port))
                same.sendto(b"x", ("127.0.0.1", server.port))
            ordinary.send(b"x")
            assert ordinary.recv(1) == b"x"
        assert server.counts["low_ports"] >= 1
        until(lambda: server.counts["replies"] == 1)


def test_a_reply_of_our_kind_gets_no_reply(udp_upper_server):
    with client(udp_upper_server) as sock:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, ancillary.MARK)
        sock.send(b"a reply")
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0)
        sock.send(b"a request")
        assert sock.recv(100) == b"A REQUEST"
    assert udp_upper_server.counts["loops"] == 1


def replies_until_silence(server, sock, data):
    """Send each reply back at once, as a foreign echo server does; return how many came."""
    sock.send(data)
    count = 0
    while not server.counts["loops"]:
        sock.settimeout(0.01)
        try:
            sock.send(sock.recv(100))
            count += 1
        except TimeoutError:
            continue
    return count


def test_a_loop_through_a_foreign_server_ends():
    with serving(udp.serve()) as server, client(server) as foreign:
        assert replies_until_silence(server, foreign, b"ping") <= sources.LOOP
        foreign.setblocking(False)
        with pytest.raises(BlockingIOError):
            foreign.recv(10)


def test_an_echo_client_loses_nothing_however_much_it_sends():
    with serving(udp.serve(echo)) as server, client(server) as sock:
        for _ in range(10):
            for _ in range(16):
                sock.send(b"ping")
            assert [sock.recv(10) for _ in range(16)] == [b"ping"] * 16
        assert server.counts["replies"] == 160


@pytest.mark.parametrize("together", [True, False], ids=["many a call", "one a call"])
def test_one_source_gets_so_many_replies_a_second(together, monkeypatch):
    if not together:
        monkeypatch.setattr(datagrams, "open_batch", lambda _: None)
    server = udp.serve(limits=DatagramLimits(max_rate=10))
    with serving(server), client(server) as flood:
        monkeypatch.setattr(server._sources, "tick", lambda: None)  # it stays the same second
        for _ in range(50):
            flood.send(b"x")
        until(lambda: server.counts["datagrams"] == 50)
        until(lambda: server.counts["replies"] == 10)
        assert server.counts["too_fast"] == 40


def test_replies_much_longer_than_their_requests_are_bounded(monkeypatch):
    monkeypatch.setattr(sources, "MOST_EXCESS", 100)
    longer = "ΐ".encode()
    server = udp.serve(limits=DatagramLimits(max_rate=1000))
    with serving(server), client(server) as sock:
        monkeypatch.setattr(server._sources, "tick", lambda: None)
        for _ in range(50):
            sock.send(longer)
        until(lambda: server.counts["datagrams"] == 50)
        until(lambda: server.counts["amplified"] == 25)
        assert server.counts["replies"] == 25  # of six bytes for two


def test_reports_come_in_the_lecture_s_order():
    reports = []
    with serving(udp.serve(watch=reports.append)) as server, client(server) as sock:
        sock.send(b"x")
        sock.recv(1)
        until(lambda: any(isinstance(r, Sent) for r in reports))
    assert [type(r) for r in reports if isinstance(r, Received | Sent)] == [Received, Sent]


def test_two_servers_on_one_port_are_one_too_many(udp_upper_server):
    from stretta.errors import CannotServe  # noqa: PLC0415

    with pytest.raises(CannotServe, match="in use"):
        asyncio.run(udp.serve(port=udp_upper_server.port).start())


def in_a_network_of_its_own(script, **names):
    """Run a script in a user namespace of its own, which has the privileges it needs."""
    if not shutil.which("unshare"):
        pytest.skip("unshare (util-linux) is not installed")
    enter = ["unshare", "--user", "--map-root-user", "--net"]
    if subprocess.run([*enter, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine forbids user namespaces")
    tests = os.path.dirname(os.path.dirname(__file__))
    return subprocess.run(
        [*enter, sys.executable, "-c", textwrap.dedent(script).format(tests=tests, **names)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


FORGE = """
import socket, struct, subprocess, sys, time
from stretta import udp
from stretta.services import SERVICES
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
sys.path.insert(0, {tests!r})
from support import serving, until
with serving(udp.serve(SERVICES[{service!r}])) as a, serving(udp.serve(SERVICES[{service!r}])) as b:
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as raw:
        raw.sendto(struct.pack("!HHHH", a.port, b.port, 8 + 4, 0) + b"loop", ("127.0.0.1", b.port))
    until(lambda: a.counts["datagrams"] == 1)
    until(lambda: a.counts["loops"] == 1)
    assert b.counts["datagrams"] == b.counts["replies"] == 1, b.counts
    assert a.counts["replies"] == 0, a.counts
    assert udp.ask(b"x", port=a.port) == SERVICES[{service!r}](b"x")
print("silent")
"""


@pytest.mark.parametrize("service", ["upper", "echo"])
def test_two_servers_and_a_forged_datagram_fall_silent(service):
    """Raw sockets need privileges."""
    done = in_a_network_of_its_own(FORGE, service=service)
    assert done.stdout == "silent\n", done.stderr


def test_a_service_that_replies_no_bytes_fails_and_counts_no_reply():
    with serving(udp.serve(lambda data: data.decode())) as server, client(server) as sock:
        for _ in range(3):
            sock.send(b"x")
        until(lambda: server.counts["failed"] == 3)
        assert server.counts["replies"] == 0


class Silence:
    """A socket to which nothing comes before poll number ``comes_at``."""

    polls = 0
    comes_at = None

    def receive(self):
        self.polls += 1
        return self.polls == self.comes_at


def test_polling_backs_off_where_it_was_in_vain():
    server, nothing = udp.serve(), Silence()
    for _ in range(254 + 2 * 256):
        assert not server._poll(nothing)
    assert nothing.polls == 9 * datagrams.POLLS  # after 1, 3, 7 ... 127, 255, 255 skips
    nothing.comes_at = nothing.polls + 3
    assert server._poll(nothing)
    assert nothing.polls == nothing.comes_at
    for _ in range(2):  # after a success it polls at once, then skips one iteration
        server._poll(nothing)
    assert nothing.polls == nothing.comes_at + datagrams.POLLS


GROUP = """
import socket, subprocess, sys
from stretta import udp
from stretta.errors import CannotServe, UsageError
sys.path.insert(0, {tests!r})
from support import serving

def ip(*words):
    subprocess.run(["ip", *words], check=True)

try:
    with serving(udp.serve(host="239.1.2.3")):
        raise AssertionError
except CannotServe as error:
    assert "cannot join the multicast group 239.1.2.3" in str(error), error
ip("link", "add", "eth0", "type", "veth", "peer", "name", "far")
ip("addr", "add", "192.0.2.1/24", "dev", "eth0")
for name in ("lo", "eth0", "far"):
    ip("link", "set", name, "up")
ip("addr", "add", "fe80::1/64", "dev", "eth0", "nodad")
ip("route", "add", "224.0.0.0/4", "dev", "eth0")
zone = socket.if_nametoindex("eth0")
for group, family, own in (
    ("239.1.2.3", socket.AF_INET, "192.0.2.1"), ("ff02::1234%eth0", socket.AF_INET6, "fe80")
):
    with serving(udp.serve(host=group)) as server, socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(20)
        ends = (0, zone) if family == socket.AF_INET6 else ()
        sock.sendto(b"ciao", (group.partition("%")[0], server.port, *ends))
        reply, source = sock.recvfrom(10)
        assert reply == b"CIAO", reply
        assert source[0].startswith(own), source
    try:
        udp.ask(b"ciao", group, server.port)
        raise AssertionError
    except UsageError as error:
        assert "multicast group" in str(error), error
print("joined")
"""


def test_a_multicast_group_is_joined():
    done = in_a_network_of_its_own(GROUP)
    assert done.stdout == "joined\n", done.stderr
