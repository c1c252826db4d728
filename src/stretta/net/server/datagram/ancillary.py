"""Ancillary data of datagrams (cmsg(3)): the traffic class, and the local address asked."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

__all__ = [
    "MARK", "SIZE", "Ancillary", "control_messages", "packed_source", "read_ancillary",
    "request_ancillary", "source_message",
]  # fmt: skip

MARK = 0xAC
"""The traffic class of our replies: DSCP 43, of the pool for local use (RFC 2474 section 6).

The upper case of upper case is itself: one datagram with a forged source would make two such
servers talk for ever. A datagram with this mark is another server's reply and gets none.
"""

ECN = 0x03
"""The two bits of the traffic class that routers may change (RFC 3168 section 5)."""

IPV6_RECVTCLASS, IPV6_TCLASS = socket.IPV6_RECVTCLASS, socket.IPV6_TCLASS
IP_RECVTOS = 13  # Linux; the socket module does not name it before Python 3.13
IP_PKTINFO = 8
LOOPBACK = {
    socket.inet_pton(socket.AF_INET, "127.0.0.1"),
    socket.inet_pton(socket.AF_INET6, "::1"),
    socket.inet_pton(socket.AF_INET6, "::ffff:127.0.0.1"),
}
IPV6_MULTICAST = 0xFF
"""The first byte of an IPv6 multicast address (RFC 4291 section 2.7)."""

SIZE = socket.CMSG_SPACE(4) + socket.CMSG_SPACE(20)
CMSG_HEADER = struct.Struct("@Nii")  # struct cmsghdr

Message = tuple[int, int, bytes]
"""A control message: level, type, value."""


class Ancillary(NamedTuple):
    """Whether a datagram has our mark, and the packed local address that it was sent to.

    ``local`` is empty where the kernel chooses the address of the reply.
    """

    marked: bool
    local: bytes
    to_loopback: bool


def read_ancillary(messages: Iterable[Message]) -> Ancillary:
    """Return the meaning of control messages (ip(7), ipv6(7))."""
    marked, local, to_loopback = False, b"", False
    for level, kind, value in messages:
        if kind in (socket.IP_TOS, IPV6_TCLASS) and value[0] & ~ECN == MARK:
            marked = True
        elif kind == IP_PKTINFO and level == socket.IPPROTO_IP:
            local, to_loopback = value, value[4:8] in LOOPBACK
        elif kind == socket.IPV6_PKTINFO and value[0] != IPV6_MULTICAST:
            local, to_loopback = value, value[:16] in LOOPBACK
    return Ancillary(marked, local, to_loopback)


def control_messages(control: bytes) -> Iterator[Message]:
    """Yield the control messages in the buffer that recvmmsg(2) has filled."""
    at = 0
    while at + CMSG_HEADER.size <= len(control):
        length, level, kind = CMSG_HEADER.unpack_from(control, at)
        yield level, kind, control[at + CMSG_HEADER.size : at + length]
        at += socket.CMSG_SPACE(length - CMSG_HEADER.size)


def source_message(local: bytes) -> Message:
    """Return the control message that makes a reply leave from a local address."""
    if len(local) == 20:  # struct in6_pktinfo: the address, then the interface
        return socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, local
    return socket.IPPROTO_IP, IP_PKTINFO, struct.pack("I", 0) + local[4:]  # any interface


def packed_source(local: bytes) -> bytes:
    """Return ``source_message`` as sendmmsg(2) takes it; b"" for any address."""
    if not local:
        return b""
    level, kind, value = source_message(local)
    space = socket.CMSG_SPACE(len(value))
    header = CMSG_HEADER.pack(socket.CMSG_LEN(len(value)), level, kind)
    return (header + value).ljust(space, b"\0")


def request_ancillary(sock: socket.socket) -> None:
    """Ask the kernel for each datagram's mark and local address, and mark our replies."""
    wildcard = sock.getsockname()[0] in ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
    wanted = [
        (socket.IPPROTO_IP, IP_RECVTOS, 1),
        (socket.IPPROTO_IP, socket.IP_TOS, MARK),
    ]
    if sock.family == socket.AF_INET:
        wanted += [(socket.IPPROTO_IP, IP_PKTINFO, int(wildcard))]
    else:
        wanted += [
            (socket.IPPROTO_IPV6, IPV6_RECVTCLASS, 1),
            (socket.IPPROTO_IPV6, IPV6_TCLASS, MARK),
            (socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, int(wildcard)),
        ]
    for level, name, value in wanted:
        try:
            sock.setsockopt(level, name, value)
        except OSError:  # another kernel: the guards that need it are not there
            continue
