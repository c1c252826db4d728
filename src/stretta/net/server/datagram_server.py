"""The server of datagrams: receives them in batches, and replies from the address that was asked.

The guards against reflection and amplification are in ``datagram.sources``, the mark that our
replies carry in ``datagram.ancillary``.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from operator import eq
from typing import Any, cast

from stretta.address import Endpoint
from stretta.net.server.datagram import ancillary
from stretta.net.server.datagram.ancillary import Ancillary, control_messages, read_ancillary
from stretta.net.server.datagram.multicast import join_group
from stretta.net.server.datagram.sources import TEXTS, DropReason, Source, SourceTable
from stretta.net.server.mmsg import LONGEST, DatagramBatch, open_batch
from stretta.net.server.server import Server
from stretta.options import DatagramLimits
from stretta.reports import Observer, Received, Sent

__all__ = ["DatagramServer", "ReplyAddress"]

BATCHES = 8
"""Batches received before other sockets and timers are served."""

POLLS = 20
"""Polls of an empty socket, some 10 µs, before the event loop sleeps: to sleep takes longer.

Within that time a client that waits for each reply has sent its next datagram, if it has a
processor of its own. Where it has none, and where datagrams are rare, polling backs off.
"""

MOST_SKIPS = 255
"""Event-loop iterations without polling after polls in vain: one, then twice as many, to this."""

MOST_CONTROLS = 1024
"""Different ancillary data whose meaning is cached; there is one for each local address."""

Fail = Callable[[int, str], None]


class ReplyAddress:
    """Where a reply goes: the socket, the peer's address, and the local address to send from."""

    __slots__ = ("address", "local", "sock", "source")

    def __init__(self, sock: socket.socket, address: Any, local: bytes, source: Source) -> None:
        self.sock, self.address, self.local, self.source = sock, address, local, source


class DatagramServer(Server):
    """A server that answers each datagram by itself; subclasses say how in ``answer``.

    ``breaks_loops`` is false for a service whose replies all equal their requests.
    """

    kind = socket.SOCK_DGRAM

    def __init__(
        self,
        host: str,
        port: int,
        *,
        limits: DatagramLimits,
        breaks_loops: bool,
        watch: Observer | None = None,
    ) -> None:
        super().__init__(host, port, drain_timeout=limits.drain_timeout, watch=watch)
        self.limits = limits
        self._breaks_loops = breaks_loops
        self._sources = SourceTable(
            port, limits.max_rate, breaks_loops=breaks_loops, prefix=limits.source_prefix
        )
        self._sockets: list[socket.socket] = []
        self._controls: dict[bytes, Ancillary] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._skips = self._skips_left = 0

    @abstractmethod
    def answer(self, data: bytes, to: ReplyAddress) -> None:
        """Answer one datagram: now, or later through ``self.reply``."""

    @property
    @abstractmethod
    def answers_later(self) -> bool:
        """Whether replies come later: then ``answer`` is called, and ``answer_all`` never."""

    @abstractmethod
    def answer_all(self, requests: list[bytes], fail: Fail) -> list[bytes | None]:
        """Return a reply to each request, None where there is none.

        ``fail(number, why)`` is called for each request that the service cannot answer.
        """

    async def _open(self, sockets: list[socket.socket]) -> None:
        self._sockets = sockets
        self._sources = SourceTable(
            self.port,
            self.limits.max_rate,
            breaks_loops=self._breaks_loops,
            prefix=self.limits.source_prefix,
        )
        loop = asyncio.get_running_loop()
        for sock in sockets:
            join_group(sock)
            ancillary.request_ancillary(sock)
            loop.add_reader(sock, self._on_readable, sock, open_batch(sock))
        self._timer = loop.call_later(1.0, self._tick)

    def _close(self) -> None:
        loop = asyncio.get_running_loop()
        for sock in self._sockets:
            self._on_readable(sock, None)  # datagrams that arrived before the stop are answered
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
        self._sources.tick()
        self._timer = asyncio.get_running_loop().call_later(1.0, self._tick)

    def _on_readable(self, sock: socket.socket, batch: DatagramBatch | None) -> None:
        """Receive what has arrived, a batch at a time."""
        for _ in range(BATCHES):
            try:
                if batch is None:
                    self._receive_one(sock)
                elif batch.receive() or self._poll(batch):
                    self._receive_batch(sock, batch)
                else:
                    return
            except BlockingIOError:
                return
            except OSError:  # an ICMP error for an earlier reply: that client is gone
                self.counts["icmp_errors"] += 1

    def _receive_one(self, sock: socket.socket) -> None:
        data, control, _, address = sock.recvmsg(LONGEST, ancillary.SIZE)
        self._consider(data, address, address, read_ancillary(control), sock)

    def _poll(self, batch: DatagramBatch) -> bool:
        """Poll for the next datagrams, unless that was in vain lately; return whether some came."""
        if self._skips_left:
            self._skips_left -= 1
            return False
        if any(batch.receive() for _ in range(POLLS)):
            self._skips = 0
            return True
        self._skips = self._skips_left = min(2 * self._skips + 1, MOST_SKIPS)
        return False

    def _receive_batch(self, sock: socket.socket, batch: DatagramBatch) -> None:
        """Answer the datagrams of a batch, together where their ancillary data are alike."""
        requests, keys = batch.requests(), batch.sources()
        control = batch.shared_control()
        if not (control is None or self.watched or self.answers_later):
            shared = self._meaning(control)
            sources = None if shared.marked else self._admit(batch, keys)
            if sources is not None:
                self._answer_batch(sock, batch, requests, sources, shared)
                return
        for number, (data, key) in enumerate(zip(requests, keys, strict=True)):
            meaning = self._meaning(batch.control(number))
            self._consider(data, key, batch.address(number), meaning, sock)

    # a batch as a whole

    def _admit(self, batch: DatagramBatch, keys: Sequence[Hashable]) -> list[Source] | None:
        """Count and return the source of each datagram; None if any of them has to be refused."""
        known = self._sources.known
        sources: dict[Hashable, Source] = {}
        limited = False
        for key in set(keys):
            source = known.get(key) or self._add_source(key, batch.address(keys.index(key)))
            if source.refusal is not None:
                return None
            limited = limited or source.most is not None
            sources[key] = source
        if limited and not self._count_batch(Counter(sources[key] for key in keys)):
            return None
        return [sources[key] for key in keys]

    def _count_batch(self, sent: Counter[Source]) -> bool:
        """Count the datagrams of each source, if there is room for all of them."""
        by_network: Counter[str] = Counter()
        for source, count in sent.items():
            by_network[source.network] += count
        if not all(self._sources.has_room(source, by_network[source.network]) for source in sent):
            return False
        for source, count in sent.items():
            self._sources.count(source, count)
        return True

    def _answer_batch(
        self,
        sock: socket.socket,
        batch: DatagramBatch,
        requests: list[bytes],
        sources: list[Source],
        shared: Ancillary,
    ) -> None:
        def to(number: int) -> ReplyAddress:
            source = sources[number]
            return ReplyAddress(sock, batch.address(number), _local(shared, source), source)

        def fail(number: int, why: str) -> None:
            self._drop(to(number).address, DropReason.SERVICE, why)

        def unsent(number: int, error: OSError) -> None:
            self._unsent(error, len(replies[number] or b""), to(number))

        self.counts["datagrams"] += len(requests)
        replies = self.answer_all(requests, fail)
        local = {_local(shared, source) for source in set(sources)} if shared.local else {b""}
        if len(local) == 1 and self._need_no_guard(requests, replies, sources):
            self.counts["replies"] += len(replies)
            source = ancillary.packed_source(local.pop())
            batch.answer(cast("list[bytes]", replies), source, unsent)
            return
        for number, (request, reply) in enumerate(zip(requests, replies, strict=True)):
            if reply is not None:
                self.reply(request, reply, to(number))

    def _need_no_guard(
        self, requests: list[bytes], replies: list[bytes | None], sources: list[Source]
    ) -> bool:
        """Return whether each request has a reply, not empty, that no guard can refuse."""
        if not all(replies) or (self._breaks_loops and any(map(eq, requests, replies))):
            return False
        if all(source.most is None for source in set(sources)):
            return True
        return not any(
            len(reply or b"") > len(request)
            for request, reply in zip(requests, replies, strict=True)
        )

    def _meaning(self, control: bytes) -> Ancillary:
        meaning = self._controls.get(control)
        if meaning is None:
            if len(self._controls) >= MOST_CONTROLS:
                self._controls.clear()
            meaning = self._controls[control] = read_ancillary(control_messages(control))
        return meaning

    # one datagram

    def _consider(
        self, data: bytes, key: Hashable, address: Any, meaning: Ancillary, sock: socket.socket
    ) -> None:
        self.counts["datagrams"] += 1
        if meaning.marked:
            why = "it is a server's reply, not a request"
            self._drop(address, DropReason.REFLECTION, why)
            return
        source = self._sources.known.get(key) or self._add_source(key, address)
        if source.refusal is not None:
            self._drop(address, DropReason.SERVER_PORT, source.refusal)
            return
        if not self._sources.has_room(source, 1):
            self._drop(address, DropReason.RATE)
            return
        self._sources.count(source, 1)
        if self.watched:
            self.watch(Received(Endpoint.from_sockaddr(address)))
        self.answer(data, ReplyAddress(sock, address, _local(meaning, source), source))

    def _add_source(self, key: Hashable, address: Any) -> Source:
        return self._sources.add(key, address[0], address[1])

    def reply(self, request: bytes, reply: bytes, to: ReplyAddress) -> None:
        """Send a reply, unless a guard refuses it or it cannot be sent."""
        reason = self._sources.refuses_reply(to.source, request, reply)
        if reason is not None:
            self._drop(to.address, reason)
            return
        self.counts["replies"] += 1
        try:
            if to.local:
                message = ancillary.source_message(to.local)
                to.sock.sendmsg([reply], [message], 0, to.address)
            else:
                to.sock.sendto(reply, to.address)
        except OSError as error:
            self._unsent(error, len(reply), to)
            return
        if self.watched:
            self.watch(Sent(Endpoint.from_sockaddr(to.address)))

    def fail(self, why: str, to: ReplyAddress) -> None:
        """Count and report a datagram that the service cannot answer."""
        self._drop(to.address, DropReason.SERVICE, why)

    def _unsent(self, error: OSError, size: int, to: ReplyAddress) -> None:
        self.counts["replies"] -= 1
        if error.errno == errno.EMSGSIZE:
            self._drop(to.address, DropReason.SIZE, f"a reply of {size} bytes cannot fit")
        else:  # no buffer free, no route back: UDP may lose a datagram
            self._drop(to.address, DropReason.UNSENT, (error.strerror or "").lower())

    def _drop(self, address: Any, reason: DropReason, why: str = "") -> None:
        self.dropped(Endpoint.from_sockaddr(address), reason.value, why or TEXTS[reason])


def _local(meaning: Ancillary, source: Source) -> bytes:
    """Return the packed local address to answer from, b"" for the one that the kernel chooses."""
    # from loopback to loopback the kernel chooses the right one, and faster
    return b"" if meaning.to_loopback and source.is_loopback else meaning.local
