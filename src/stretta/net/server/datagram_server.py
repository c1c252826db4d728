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
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from operator import eq
from typing import Any, NamedTuple, cast

from stretta.address import Endpoint
from stretta.net.server.mmsg import LONGEST, Batch, open_batch
from stretta.net.server.server import Server
from stretta.options import DatagramLimits
from stretta.reports import Observer, Received, Sent

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
BATCHES = 8
"""Batches taken before other sockets and timers get their turn."""

LOOKS = 20
"""Looks at an empty socket, some 10 µs, before we sleep: being put to sleep and woken takes longer.

Within that time a client that waits for each reply has sent its next datagram, if it has a
processor of its own. Where it has none, and where datagrams are rare, looking rests.
"""

MOST_REST = 255
"""Turns without such looks after they were in vain: one, then twice as many each time, to this."""

MOST_CONTROLS = 1024
"""Different ancillary data whose meaning is kept; there is one for each of our addresses."""

IPV6_RECVTCLASS, IPV6_TCLASS = socket.IPV6_RECVTCLASS, socket.IPV6_TCLASS
IP_RECVTOS = 13  # Linux; the socket module does not name it before Python 3.13
IP_PKTINFO = 8
LOOPBACK = {
    socket.inet_pton(socket.AF_INET, "127.0.0.1"),
    socket.inet_pton(socket.AF_INET6, "::1"),
    socket.inet_pton(socket.AF_INET6, "::ffff:127.0.0.1"),
}
ANCILLARY = socket.CMSG_SPACE(4) + socket.CMSG_SPACE(20)
CMSG_HEADER = struct.Struct("@Nii")  # struct cmsghdr

Fail = Callable[[int, Exception], None]


class DatagramServer(Server):
    """A server that answers each datagram by itself: subclasses say how in ``answer``."""

    kind = socket.SOCK_DGRAM

    def __init__(
        self, host: str, port: int, *, limits: DatagramLimits, watch: Observer | None = None
    ) -> None:
        super().__init__(host, port, drain_timeout=limits.drain_timeout, watch=watch)
        self.limits = limits
        self._sockets: list[socket.socket] = []
        self._sources: dict[Hashable, Source] = {}
        self._rates: Counter[str] = Counter()
        self._asides: dict[bytes, Aside] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._rest = self._resting = 0

    @abstractmethod
    def answer(self, data: bytes, reply_to: ReplyTo) -> None:
        """Answer one datagram: now, or later through ``self.reply``."""

    @property
    @abstractmethod
    def answers_singly(self) -> bool:
        """Whether ``answer`` does it all, and ``answer_all`` nothing."""

    @abstractmethod
    def answer_all(self, requests: list[bytes], fail: Fail) -> list[bytes | None]:
        """Return a reply to each, None where there is none.

        ``fail(number, error)`` is called for each that the service cannot answer.
        """

    async def _open(self, sockets: list[socket.socket]) -> None:
        self._sockets = sockets
        loop = asyncio.get_running_loop()
        for sock in sockets:
            _ask_for_ancillary(sock)
            loop.add_reader(sock, self._readable, sock, open_batch(sock))
        self._timer = loop.call_later(1.0, self._tick)

    def _close(self) -> None:
        loop = asyncio.get_running_loop()
        for sock in self._sockets:
            self._readable(sock, None)  # what came before the end was called is answered
            loop.remove_reader(sock)

    def _close_idle(self) -> int:
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
        self._rates.clear()
        self._timer = asyncio.get_running_loop().call_later(1.0, self._tick)

    def _readable(self, sock: socket.socket, batch: Batch | None) -> None:
        """Take what has come, a batch at a time."""
        for _ in range(BATCHES):
            try:
                if batch is None:
                    self._take_one(sock)
                elif batch.receive() or self._more_follows(batch):
                    self._take_many(sock, batch)
                else:
                    return
            except BlockingIOError:
                return
            except OSError:  # an ICMP error for an earlier reply: that client is gone
                self.counts["icmp_errors"] += 1

    def _take_one(self, sock: socket.socket) -> None:
        data, ancillary, _, address = sock.recvmsg(LONGEST, ANCILLARY)
        self._consider(data, address, address, _aside(ancillary), sock)

    def _more_follows(self, batch: Batch) -> bool:
        """Wait a moment for more, if that was worth it lately; return whether it has come."""
        if self._resting:
            self._resting -= 1
            return False
        if any(batch.receive() for _ in range(LOOKS)):
            self._rest = 0
            return True
        self._rest = self._resting = min(2 * self._rest + 1, MOST_REST)
        return False

    def _take_many(self, sock: socket.socket, batch: Batch) -> None:
        """Answer all that a batch has received."""
        requests, keys = batch.requests(), batch.sources()
        control = batch.shared_control()
        if not (control is None or self.watched or self.answers_singly):
            aside = self._meaning(control)
            sources = None if aside.marked else self._welcome(batch, keys)
            if sources is not None:
                self._answer_together(sock, batch, requests, sources, aside)
                return
        for number, (data, key) in enumerate(zip(requests, keys, strict=True)):
            aside = self._meaning(batch.control(number))
            self._consider(data, key, batch.address(number), aside, sock)

    # datagrams that came together, and are judged together

    def _welcome(self, batch: Batch, keys: Sequence[Hashable]) -> list[Source] | None:
        """Count and return who sent each of these; None if one of them is to be refused."""
        sources: dict[Hashable, Source] = {}
        bounded = False
        for key in set(keys):
            source = self._sources.get(key) or self._meet(key, batch.address(keys.index(key)))
            if source.refusal is not None:
                return None
            bounded = bounded or source.most is not None
            sources[key] = source
        if bounded:
            crowd = Counter(keys)
            if not all(self._has_room(sources[key], count) for key, count in crowd.items()):
                return None
            for key, count in crowd.items():
                self._count(sources[key], count)
        return [sources[key] for key in keys]

    def _answer_together(
        self,
        sock: socket.socket,
        batch: Batch,
        requests: list[bytes],
        sources: list[Source],
        aside: Aside,
    ) -> None:
        def reply_to(number: int) -> ReplyTo:
            source = sources[number]
            return ReplyTo(sock, batch.address(number), _local(aside, source), source)

        def failed(number: int, error: Exception) -> None:
            self._failed(error, reply_to(number))

        def unsent(number: int, error: OSError) -> None:
            self._unsent(error, len(replies[number] or b""), reply_to(number))

        self.counts["datagrams"] += len(requests)
        replies = self.answer_all(requests, failed)
        local = {_local(aside, source) for source in set(sources)} if aside.local else {b""}
        if len(local) == 1 and _are_plain(requests, replies):
            self.counts["replies"] += len(replies)
            batch.answer(cast("list[bytes]", replies), _packed(local.pop()), unsent)
            return
        for number, (request, reply) in enumerate(zip(requests, replies, strict=True)):
            if reply is not None:
                self.reply(request, reply, reply_to(number))

    def _meaning(self, control: bytes) -> Aside:
        aside = self._asides.get(control)
        if aside is None:
            if len(self._asides) >= MOST_CONTROLS:
                self._asides.clear()
            aside = self._asides[control] = _aside(_messages(control))
        return aside

    # one datagram

    def _consider(
        self, data: bytes, key: Hashable, address: Any, aside: Aside, sock: socket.socket
    ) -> None:
        self.counts["datagrams"] += 1
        if aside.marked:
            self._leave(address, "loops", "it is a server's reply, not a request")
            return
        source = self._sources.get(key) or self._meet(key, address)
        if source.refusal is not None:
            self._leave(address, "low_ports", source.refusal)
            return
        if not self._has_room(source, 1):
            self._leave(address, "too_fast", "it sends faster than one address may")
            return
        self._count(source, 1)
        if self.watched:
            self.watch(Received(Endpoint.from_sockaddr(address)))
        self.answer(data, ReplyTo(sock, address, _local(aside, source), source))

    def _meet(self, key: Hashable, address: Any) -> Source:
        """Judge somebody who was not there in this second."""
        host, port = address[:2]
        most = self.limits.max_rate
        if most is None and not _is_loopback(host):
            most = MOST_PER_SOURCE
        refusal = None
        if port < 1024 or port == self.port:
            refusal = f"port {port} is a server's, not a client's"
        if len(self._sources) >= MOST_SOURCES:  # a flood from everywhere
            self._sources.clear()
        source = self._sources[key] = Source(host, most, refusal)
        return source

    def _has_room(self, source: Source, count: int) -> bool:
        if source.most is None:
            return True
        if len(self._rates) >= MOST_SOURCES and source.host not in self._rates:
            self._rates.clear()  # nobody in such a flood gets more than a datagram or two
        return self._rates[source.host] + count <= source.most

    def _count(self, source: Source, count: int) -> None:
        if source.most is not None:
            self._rates[source.host] += count

    def reply(self, request: bytes, reply: bytes, to: ReplyTo) -> None:
        """Send a reply, unless it cannot be sent or would keep a loop alive."""
        if reply == request:
            to.source.unchanged += 1
            if to.source.unchanged % LOOPS == 0:
                self._leave(to.address, "loops", "its datagrams look like our own replies")
                return
        self.counts["replies"] += 1
        try:
            if to.local:
                to.sock.sendmsg([reply], [_from(to.local)], 0, to.address)
            else:
                to.sock.sendto(reply, to.address)
        except OSError as error:
            self._unsent(error, len(reply), to)
            return
        if self.watched:
            self.watch(Sent(Endpoint.from_sockaddr(to.address)))

    def _unsent(self, error: OSError, size: int, to: ReplyTo) -> None:
        self.counts["replies"] -= 1
        if error.errno == errno.EMSGSIZE:
            self._leave(to.address, "too_long", f"a reply of {size} bytes cannot fit")
        else:  # no buffer free, no route back: UDP may lose a datagram
            self._leave(to.address, "unsent", (error.strerror or "").lower())

    def _failed(self, error: Exception, to: ReplyTo) -> None:
        why = f"the service failed with {type(error).__name__}: {error}"
        self._leave(to.address, "failed", why)

    def _leave(self, address: Any, name: str, why: str) -> None:
        self.dropped(Endpoint.from_sockaddr(address), name, why)


class Source:
    """Who sends: its host, how many datagrams a second that may send, why it gets none, if so."""

    __slots__ = ("host", "is_loopback", "most", "refusal", "unchanged")

    def __init__(self, host: str, most: int | None, refusal: str | None) -> None:
        self.host, self.most, self.refusal = host, most, refusal
        self.is_loopback = _is_loopback(host)
        self.unchanged = 0  # datagrams that were their own replies


class Aside(NamedTuple):
    """What came beside a datagram: whether it bears our mark, and to which address it was sent."""

    marked: bool
    local: bytes
    to_loopback: bool


class ReplyTo:
    """Where a reply goes: through which socket, to whom, and from which of our addresses."""

    __slots__ = ("address", "local", "sock", "source")

    def __init__(self, sock: socket.socket, address: Any, local: bytes, source: Source) -> None:
        self.sock, self.address, self.local, self.source = sock, address, local, source


def _local(aside: Aside, source: Source) -> bytes:
    """Return the packed local address to answer from, b'' for what the kernel chooses."""
    # from loopback to loopback is what the kernel chooses by itself, and faster
    return b"" if aside.to_loopback and source.is_loopback else aside.local


def _are_plain(requests: list[bytes], replies: list[bytes | None]) -> bool:
    """Return whether each has a reply, not empty and not the same."""
    return all(replies) and not any(map(eq, requests, replies))


def _aside(messages: Iterable[tuple[int, int, bytes]]) -> Aside:
    """Return what control messages mean: (level, type, value) each (ip(7), ipv6(7))."""
    marked, local, to_loopback = False, b"", False
    for level, kind, value in messages:
        if kind in (socket.IP_TOS, IPV6_TCLASS) and value[0] == MARK:
            marked = True
        elif kind in (IP_PKTINFO, socket.IPV6_PKTINFO):
            local = value
            to_loopback = (value[4:8] if level == socket.IPPROTO_IP else value[:16]) in LOOPBACK
    return Aside(marked, local, to_loopback)


def _messages(control: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Give the control messages in what recvmmsg wrote (cmsg(3)): level, type, value."""
    at = 0
    while at + CMSG_HEADER.size <= len(control):
        length, level, kind = CMSG_HEADER.unpack_from(control, at)
        yield level, kind, control[at + CMSG_HEADER.size : at + length]
        at += socket.CMSG_SPACE(length - CMSG_HEADER.size)


def _packed(local: bytes) -> bytes:
    """Return the control message that makes a reply leave from this address; b'' for any."""
    if not local:
        return b""
    level, kind, value = _from(local)
    space = socket.CMSG_SPACE(len(value))
    header = CMSG_HEADER.pack(socket.CMSG_LEN(len(value)), level, kind)
    return (header + value).ljust(space, b"\0")


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
