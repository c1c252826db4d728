"""The datagrams between two ends: which call sent each, which received it, which were lost.

Sources: RFC 768; RFC 1122 section 4.1. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from stretta.see.correlate.conversation import moved_faults, renumbered
from stretta.see.events import (
    Call,
    Cause,
    Direction,
    Event,
    Fault,
    Flow,
    Frame,
    Link,
    LinkKind,
)

__all__ = ["Datagram", "UdpConversation", "correlate"]

ICMP_ERRORS = ("ECONNREFUSED", "EHOSTUNREACH", "EMSGSIZE", "ENETUNREACH")
"""What a call fails with when an ICMP message has arrived for its socket."""


@dataclass(slots=True)
class Datagram:
    """One datagram: its frames (several, if it was fragmented), its sender, its receivers.

    ``arrivals`` are the times at which it was complete at the other end.
    """

    frames: list[Frame]
    size: int
    call: Call | None = None
    arrivals: list[int] = field(default_factory=list)
    received_by: list[Call] = field(default_factory=list)

    @property
    def frame(self) -> Frame:
        """Its first frame."""
        return self.frames[0]

    @property
    def host(self) -> str:
        """The host that sent it."""
        return self.frames[0].host

    @property
    def lost(self) -> bool:
        """Whether it never arrived whole."""
        return not self.arrivals


@dataclass(slots=True)
class UdpConversation:
    """The datagrams between two ends, in the order of their sending.

    ``errors`` are ICMP messages about them, ``watched`` the hosts whose programs' calls are seen,
    ``in_vain`` the calls that waited until their time-out.
    """

    flow: Flow
    calls: list[Call] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    datagrams: list[Datagram] = field(default_factory=list)
    errors: list[Frame] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    faults: Mapping[int, Fault] = field(default_factory=dict)
    watched: frozenset[str] = frozenset()
    in_vain: list[Call] = field(default_factory=list)

    def link(self, source: int, target: int, kind: LinkKind, cause: Cause) -> None:
        """Add a link."""
        self.links.append(Link(source, target, kind, cause))

    def peer(self, host: str) -> str:
        """Return the host at the other end."""
        return self.flow.peer_of(host).host

    def moved_to(self, new: Mapping[int, Event]) -> UdpConversation:
        """Return this conversation with the events that have taken the place of its own."""

        def call(old: Call) -> Call:
            found = new[old.id]
            return found if isinstance(found, Call) else old

        def frame(old: Frame) -> Frame:
            found = new[old.id]
            return found if isinstance(found, Frame) else old

        return replace(
            self,
            calls=[call(c) for c in self.calls],
            frames=[frame(f) for f in self.frames],
            datagrams=[
                replace(
                    d,
                    frames=[frame(f) for f in d.frames],
                    call=call(d.call) if d.call else None,
                    received_by=[call(c) for c in d.received_by],
                )
                for d in self.datagrams
            ],
            errors=[frame(f) for f in self.errors],
            links=[renumbered(link, new) for link in self.links],
            faults=moved_faults(self.faults, new),
            in_vain=[call(c) for c in self.in_vain],
        )


def correlate(
    flow: Flow,
    calls: Sequence[Call],
    frames: Sequence[Frame],
    polls: Sequence[Call],
    faults: Mapping[int, Fault],
    watched: frozenset[str] = frozenset(),
) -> UdpConversation:
    """Return what is found out about the datagrams between two ends."""
    conversation = UdpConversation(flow, list(calls), list(frames), faults=faults, watched=watched)
    conversation.datagrams = _join(frames)
    _senders(conversation)
    _receivers(conversation)
    _errors(conversation, frames)
    _wakes(conversation, polls)
    conversation.in_vain = _in_vain(conversation, polls)
    return conversation


def _join(frames: Sequence[Frame]) -> list[Datagram]:
    """Return the datagrams with their fragments; one has arrived when all its fragments have."""
    datagrams: list[Datagram] = []
    open_ones: dict[tuple[str, int], Datagram] = {}
    for frame in frames:
        packet = frame.packet
        if packet.protocol == "udp":
            datagram = Datagram([frame], packet.length)
            datagrams.append(datagram)
            if packet.more:
                open_ones[frame.host, packet.identity] = datagram
        elif packet.protocol == "fragment" and (frame.host, packet.identity) in open_ones:
            datagram = open_ones[frame.host, packet.identity]
            datagram.frames.append(frame)
            datagram.size += packet.length
    for datagram in datagrams:
        if len(datagram.frames) == 1 and not datagram.frame.packet.more:
            datagram.arrivals = [a.at for a in datagram.frame.arrivals if not a.corrupted]
        else:
            times = [t for f in datagram.frames if (t := f.arrived) is not None]
            if len(times) == len(datagram.frames) and not datagram.frames[-1].packet.more:
                datagram.arrivals = [max(times)]
    return datagrams


def _senders(conversation: UdpConversation) -> None:
    """Relate each datagram to the first call before it that sent as many bytes."""
    waiting = [
        c for c in conversation.calls
        if c.direction is Direction.OUT and not c.error and c.result is not None
    ]  # fmt: skip
    for datagram in conversation.datagrams:
        for call in waiting:
            fits = call.host == datagram.host and call.transferred == datagram.size
            if fits and call.at <= datagram.frame.at:
                datagram.call = call
                waiting.remove(call)
                for frame in datagram.frames:
                    conversation.link(call.id, frame.id, LinkKind.CARRIED, Cause.DATAGRAM)
                break


def _receivers(conversation: UdpConversation) -> None:
    """Relate each receive to the datagram that it returned: the first to arrive that fits."""
    arrived = sorted(
        ((at, number) for number, d in enumerate(conversation.datagrams) for at in d.arrivals),
    )
    calls = [
        c for c in conversation.calls
        if c.direction is Direction.IN and not c.error and c.result is not None
    ]  # fmt: skip
    calls.sort(key=lambda c: c.latest_end)
    for call in calls:
        for at, number in arrived:
            datagram = conversation.datagrams[number]
            if datagram.host == call.host or at > call.latest_end:
                continue
            if call.transferred == datagram.size or (
                call.transferred < datagram.size and call.requested == call.transferred
            ):
                arrived.remove((at, number))
                datagram.received_by.append(call)
                conversation.link(
                    datagram.frames[-1].id, call.id, LinkKind.DELIVERED, Cause.DATAGRAM
                )
                break


def _errors(conversation: UdpConversation, frames: Sequence[Frame]) -> None:
    """Relate each ICMP message to the datagram that provoked it, and to the call that failed."""
    for frame in frames:
        if frame.packet.inner is None:
            continue
        conversation.errors.append(frame)
        for datagram in reversed(conversation.datagrams):
            if datagram.host != frame.host and datagram.frame.at <= frame.at:
                conversation.link(datagram.frame.id, frame.id, LinkKind.PROVOKED, Cause.ICMP)
                break
        for call in conversation.calls:
            if (
                call.host != frame.host and frame.arrived is not None
                and call.error in ICMP_ERRORS and call.latest_end >= frame.arrived
            ):  # fmt: skip
                conversation.link(frame.id, call.id, LinkKind.FAILED, Cause.ICMP)
                break


LONG = 50_000_000
"""Nanoseconds: shorter polls do not count as waiting."""


def _in_vain(conversation: UdpConversation, polls: Sequence[Call]) -> list[Call]:
    """Return the receives, and the polls of their sockets, that waited until their time-out."""
    sockets = {(c.host, c.socket) for c in conversation.calls if c.socket >= 0}
    found = [
        c for c in conversation.calls
        if c.direction is Direction.IN and c.error in ("EAGAIN", "ETIMEDOUT")
    ]  # fmt: skip
    found += [
        c for c in polls
        if c.result == 0 and (
            any((c.host, number) in sockets for number in c.watched_sockets)
            or (not c.watched_sockets and c.protocol == "udp")  # of unknown sockets
        )
    ]  # fmt: skip
    return sorted((c for c in found if c.duration > LONG), key=lambda c: c.at)


def _wakes(conversation: UdpConversation, polls: Sequence[Call]) -> None:
    """Relate the calls that wait for several sockets to what arrived for this conversation."""
    came = [(at, d.host, d.frames[-1].id) for d in conversation.datagrams for at in d.arrivals]
    came += [(f.arrived, f.host, f.id) for f in conversation.errors if f.arrived is not None]
    came.sort()
    for call in polls:
        of_this = conversation.flow in call.ready or (
            call.flow is None and not call.ready and call.protocol == "udp"
        )
        for at, host, number in came if of_this and call.result else ():
            if host != call.host and call.at <= at <= call.latest_end:
                conversation.link(number, call.id, LinkKind.WOKE, Cause.READABLE)
                break
