"""Serving datagrams: reading them, answering from the address that was asked, and staying calm.

Three guards against being used: no reply to a server's port (below 1024, or our own), no reply to a
reply of our kind (they carry a mark), and a bound on what one address gets.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from abc import abstractmethod
from collections import Counter
from typing import Any

from stretta.address import Endpoint
from stretta.net.server import Server
from stretta.options import DatagramLimits
from stretta.reports import Received, Sent, Watch

__all__ = ["DatagramServer"]

MARK = 0xAC
"""The traffic class of our replies: DSCP 43, of the pool for local use (RFC 2474 section 6).

Upper case of upper case is itself: one datagram with a forged source would make two such servers
talk for ever. A datagram with this mark is another server's reply, and gets none.
"""

LOOPS = 5000
"""Of so many datagrams a second from one address that a service gave back unchanged, the last gets
no reply: a loop through somebody else's server ends there, and a client sends again."""

MOST_PER_SOURCE = 10_000
MOST_SOURCES = 65_536
BATCH = 64
"""Datagrams taken before other sockets and timers get their turn."""

IPV6_RECVTCLASS, IPV6_TCLASS = socket.IPV6_RECVTCLASS, socket.IPV6_TCLASS
IP_RECVTOS = 13  # Linux; the socket module does not name it before Python 3.13
IP_PKTINFO = 8
LOOPBACK = {
    socket.inet_pton(socket.AF_INET, "127.0.0.1"),
    socket.inet_pton(socket.AF_INET6, "::1"),
    socket.inet_pton(socket.AF_INET6, "::ffff:127.0.0.1"),
}
ANCILLARY = socket.CMSG_SPACE(4) + socket.CMSG_SPACE(20)


class DatagramServer(Server):
    """A server that answers each datagram by itself: subclasses say how in ``answer``."""

    kind = socket.SOCK_DGRAM

    def __init__(
        self, host: str, port: int, *, limits: DatagramLimits, watch: Watch | None = None
    ) -> None:
        super().__init__(host, port, drain_timeout=limits.drain_timeout, watch=watch)
        self.limits = limits
        self._sockets: list[socket.socket] = []
        self._sources: Counter[str] = Counter()
        self._loops: Counter[Any] = Counter()
        self._timer: asyncio.TimerHandle | None = None

    @abstractmethod
    def answer(self, data: bytes, reply_to: ReplyTo) -> None:
        """Answer one datagram: now, or later through ``self.reply``."""

    async def _open(self, sockets: list[socket.socket]) -> None:
        self._sockets = sockets
        loop = asyncio.get_running_loop()
        for sock in sockets:
            _ask_for_ancillary(sock)
            loop.add_reader(sock, self._readable, sock)
        self._timer = loop.call_later(1.0, self._tick)

    def _close(self) -> None:
        loop = asyncio.get_running_loop()
        for sock in self._sockets:
            self._readable(sock)  # what came before the end was called is answered
            loop.remove_reader(sock)

    def _wind_up(self) -> int:
        return 0

    def abort(self) -> None:
        for sock in self._sockets:
            asyncio.get_running_loop().remove_reader(sock)
            sock.close()
        self._sockets = []
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self) -> None:
        super()._tick()
        self._sources.clear()
        self._loops.clear()
        self._timer = asyncio.get_running_loop().call_later(1.0, self._tick)

    def _readable(self, sock: socket.socket) -> None:
        """Take what has come, a batch at a time."""
        for _ in range(BATCH):
            try:
                data, ancillary, _, source = sock.recvmsg(65_535, ANCILLARY)
            except BlockingIOError:
                return
            except OSError:  # an ICMP error for an earlier reply: that client is gone
                self.counts["icmp_errors"] += 1
                continue
            self.counts["datagrams"] += 1
            local = self._examine(source, ancillary)
            if local is not None:
                if self.watched:
                    self.watch(Received(Endpoint.from_sockaddr(source)))
                self.answer(data, ReplyTo(sock, source, local))

    def _examine(self, source: Any, ancillary: list[tuple[int, int, bytes]]) -> bytes | None:
        """Return the packed local address to answer from (b'' for any), or None not to answer."""
        local = b""
        for level, kind, value in ancillary:
            if kind in (socket.IP_TOS, IPV6_TCLASS) and value[0] == MARK:
                self._leave(source, "loops", "it is a server's reply, not a request")
                return None
            if kind in (IP_PKTINFO, socket.IPV6_PKTINFO):
                address = value[4:8] if level == socket.IPPROTO_IP else value[:16]
                # from loopback to loopback is what the kernel chooses by itself, and faster
                local = b"" if address in LOOPBACK and _is_loopback(source[0]) else value
        port = source[1]
        if port < 1024 or port == self.port:
            self._leave(source, "low_ports", f"port {port} is a server's, not a client's")
            return None
        if self._is_too_fast(source[0]):
            self._leave(source, "too_fast", "it sends faster than one address may")
            return None
        return local

    def _is_too_fast(self, host: str) -> bool:
        most = self.limits.max_rate
        if most is None:
            if _is_loopback(host):
                return False
            most = MOST_PER_SOURCE
        if len(self._sources) >= MOST_SOURCES and host not in self._sources:
            return False  # a flood from everywhere: nobody in it gets more than a datagram or two
        self._sources[host] += 1
        return self._sources[host] > most

    def reply(self, request: bytes, reply: bytes, to: ReplyTo) -> None:
        """Send a reply, unless it cannot be sent or would keep a loop alive."""
        if reply == request:
            if len(self._loops) >= MOST_SOURCES:
                self._loops.clear()
            self._loops[to.source] += 1
            if self._loops[to.source] % LOOPS == 0:
                self._leave(to.source, "loops", "its datagrams look like our own replies")
                return
        try:
            if to.local:
                to.sock.sendmsg([reply], [_from(to.local)], 0, to.source)
            else:
                to.sock.sendto(reply, to.source)
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                self._leave(to.source, "too_long", f"a reply of {len(reply)} bytes cannot fit")
            else:  # no buffer free, no route back: UDP may lose a datagram
                self._leave(to.source, "unsent", (error.strerror or "").lower())
            return
        self.counts["replies"] += 1
        if self.watched:
            self.watch(Sent(Endpoint.from_sockaddr(to.source)))

    def _leave(self, source: Any, name: str, why: str) -> None:
        self.dropped(Endpoint.from_sockaddr(source), name, why)


class ReplyTo:
    """Where a reply goes: through which socket, to whom, and from which of our addresses."""

    __slots__ = ("local", "sock", "source")

    def __init__(self, sock: socket.socket, source: Any, local: bytes) -> None:
        self.sock, self.source, self.local = sock, source, local


def _is_loopback(host: str) -> bool:
    return host.startswith(("127.", "::ffff:127.")) or host == "::1"


def _from(local: bytes) -> tuple[int, int, bytes]:
    """Return the ancillary data that makes a reply leave from this address (ip(7), ipv6(7))."""
    if len(local) == 20:  # struct in6_pktinfo: the address, then the interface
        return socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, local
    return socket.IPPROTO_IP, IP_PKTINFO, struct.pack("I", 0) + local[4:]  # any interface


def _ask_for_ancillary(sock: socket.socket) -> None:
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
