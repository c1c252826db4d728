"""Ancillary data of datagrams: what the kernel writes, and what it is told."""

import socket

import pytest

from stretta.net.server.datagram.ancillary import (
    IP_PKTINFO,
    IPV6_TCLASS,
    MARK,
    Ancillary,
    control_messages,
    packed_source,
    read_ancillary,
    source_message,
)

IPV4, IPV6 = socket.IPPROTO_IP, socket.IPPROTO_IPV6


def ipv4(local, asked):
    return bytes(4) + socket.inet_aton(local) + socket.inet_aton(asked)


def ipv6(asked):
    return socket.inet_pton(socket.AF_INET6, asked) + bytes([2, 0, 0, 0])


@pytest.mark.parametrize("ecn", range(4))
@pytest.mark.parametrize(("level", "kind"), [(IPV4, socket.IP_TOS), (IPV6, IPV6_TCLASS)])
def test_a_mark_is_seen_whatever_routers_did_to_its_last_bits(level, kind, ecn):
    assert read_ancillary([(level, kind, bytes([MARK | ecn]))]).marked
    assert not read_ancillary([(level, kind, bytes([(MARK ^ 4) | ecn]))]).marked


@pytest.mark.parametrize(
    ("level", "kind", "value", "to_loopback"),
    [
        (IPV4, IP_PKTINFO, ipv4("127.0.0.1", "127.0.0.1"), True),
        (IPV4, IP_PKTINFO, ipv4("127.0.0.2", "127.0.0.2"), False),
        (IPV4, IP_PKTINFO, ipv4("192.0.2.1", "192.0.2.1"), False),
        (IPV6, socket.IPV6_PKTINFO, ipv6("::1"), True),
        (IPV6, socket.IPV6_PKTINFO, ipv6("::ffff:127.0.0.1"), True),
        (IPV6, socket.IPV6_PKTINFO, ipv6("2001:db8::1"), False),
    ],
)
def test_the_local_address_is_kept_for_the_reply(level, kind, value, to_loopback):
    assert read_ancillary([(level, kind, value)]) == Ancillary(False, value, to_loopback)


def test_no_reply_leaves_from_a_group():
    multicast = (IPV6, socket.IPV6_PKTINFO, ipv6("ff02::1"))
    assert read_ancillary([multicast]) == Ancillary(False, b"", False)
    assert source_message(ipv4("192.0.2.1", "239.1.1.1"))[2][4:8] == socket.inet_aton("192.0.2.1")


def test_nothing_is_known_without_messages():
    assert read_ancillary([]) == Ancillary(False, b"", False)
    assert packed_source(b"") == b""


@pytest.mark.parametrize("local", [ipv4("192.0.2.1", "192.0.2.1"), ipv6("2001:db8::1")])
def test_what_is_packed_is_read_back(local):
    packed = packed_source(local) + packed_source(local)
    assert list(control_messages(packed)) == [source_message(local)] * 2
