"""The datagrams between two ends: which call sent each, which got it, and what became of the rest.

Sources: RFC 768; RFC 1122 section 4.1. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from stretta.see.events import Call, Fault, Flow, Frame, Link

__all__ = ["Datagram", "UdpConversation", "correlate"]


@dataclass(slots=True)
class Datagram:
    """One datagram: its frames (several, if it was fragmented), its sender, its receivers."""

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
        """Where it came from."""
        return self.frames[0].host

    @property
    def lost(self) -> bool:
        """Whether it never came whole."""
        return not self.arrivals


@dataclass(slots=True)
class UdpConversation:
    """The datagrams between two ends, in the order of their sending."""

    flow: Flow
    calls: list[Call] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    datagrams: list[Datagram] = field(default_factory=list)
    errors: list[Frame] = field(default_factory=list)  # ICMP
    links: list[Link] = field(default_factory=list)
    faults: dict[int, Fault] = field(default_factory=dict)
    watched: frozenset[str] = frozenset()  # hosts whose programs' calls are seen
    in_vain: list[Call] = field(default_factory=list)  # calls that waited, and nothing came

    def link(self, source: int, target: int, kind: str, reason: str) -> None:
        """Add a link."""
        self.links.append(Link(source, target, kind, reason))


def correlate(
    flow: Flow,
    calls: list[Call],
    frames: list[Frame],
    polls: list[Call],
    faults: dict[int, Fault],
    watched: frozenset[str] = frozenset(),
) -> UdpConversation:
    """Return the conversation of the datagrams between two ends."""
    conversation = UdpConversation(flow, calls, frames, faults=faults, watched=watched)
    conversation.datagrams = _join(frames)
    _senders(conversation)
    _receivers(conversation)
    _errors(conversation, frames)
    _wakes(conversation, polls)
    conversation.in_vain = _in_vain(conversation, polls)
    return conversation


def _join(frames: list[Frame]) -> list[Datagram]:
    """Put fragments together; a datagram has come when all of them have."""
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
        if len(datagram.frames) == 1:
            datagram.arrivals = [a.at for a in datagram.frame.arrivals if not a.corrupted]
        else:
            times = [f.arrived for f in datagram.frames]
            come = [t for t in times if t is not None]
            if len(come) == len(times) and not datagram.frames[-1].packet.more:
                datagram.arrivals = [max(come)]
    return datagrams


def _senders(conversation: UdpConversation) -> None:
    waiting = [
        c
        for c in conversation.calls
        if c.direction == "out" and not c.error and c.result is not None
    ]
    for datagram in conversation.datagrams:
        for call in waiting:
            fits = call.host == datagram.host and call.transferred == datagram.size
            if fits and call.at <= datagram.frame.at:
                datagram.call = call
                waiting.remove(call)
                for frame in datagram.frames:
                    conversation.link(
                        call.id, frame.id, "carried", f"{call.name}() sent this datagram"
                    )
                break


def _receivers(conversation: UdpConversation) -> None:
    """Relate each receive to the datagram that it returned: they are taken in order of arrival."""
    came = sorted(
        ((at, number) for number, d in enumerate(conversation.datagrams) for at in d.arrivals),
    )
    calls = [
        c
        for c in conversation.calls
        if c.direction == "in" and not c.error and c.result is not None
    ]
    calls.sort(key=lambda c: c.latest_end)
    for call in calls:
        for at, number in came:
            datagram = conversation.datagrams[number]
            if datagram.host == call.host or at > call.latest_end:
                continue
            if call.transferred == datagram.size or (
                call.transferred < datagram.size and call.requested == call.transferred
            ):
                came.remove((at, number))
                datagram.received_by.append(call)
                conversation.link(datagram.frames[-1].id, call.id, "delivered", "this datagram")
                break


def _errors(conversation: UdpConversation, frames: list[Frame]) -> None:
    for frame in frames:
        if frame.packet.inner is None:
            continue
        conversation.errors.append(frame)
        cause = next(
            (
                d
                for d in reversed(conversation.datagrams)
                if d.host != frame.host and d.frame.at <= frame.at
            ),
            None,
        )
        if cause:
            conversation.link(cause.frame.id, frame.id, "provoked", f"ICMP: {frame.packet.words}")
        for call in conversation.calls:
            if (
                call.host != frame.host and frame.arrived is not None
                and call.error in ("ECONNREFUSED", "EHOSTUNREACH", "EMSGSIZE", "ENETUNREACH")
                and call.latest_end >= frame.arrived
            ):  # fmt: skip
                conversation.link(frame.id, call.id, "failed", f"ICMP: {frame.packet.words}")
                break


LONG = 50_000_000
"""Nanoseconds: a shorter look whether something is there is no waiting."""


def _in_vain(conversation: UdpConversation, polls: list[Call]) -> list[Call]:
    """Return the receives, and the polls of their sockets, that waited until their time was up."""
    sockets = {(c.host, c.socket) for c in conversation.calls if c.socket >= 0}
    found = [
        c for c in conversation.calls if c.direction == "in" and c.error in ("EAGAIN", "ETIMEDOUT")
    ]
    found += [
        c for c in polls
        if c.result == 0 and (
            any((c.host, number) in sockets for number in c.watched_sockets)
            or (not c.watched_sockets and c.protocol == "udp")  # of unknown sockets
        )
    ]  # fmt: skip
    return sorted((c for c in found if c.duration > LONG), key=lambda c: c.at)


def _wakes(conversation: UdpConversation, polls: list[Call]) -> None:
    came = [(at, d.host, d.frames[-1].id) for d in conversation.datagrams for at in d.arrivals]
    came += [(f.arrived, f.host, f.id) for f in conversation.errors if f.arrived is not None]
    came.sort()
    for call in polls:
        if conversation.flow in call.ready or (
            call.flow is None and not call.ready and call.protocol == "udp"
        ):
            for at, host, number in came:
                if host != call.host and call.at <= at <= call.latest_end and call.result:
                    conversation.link(number, call.id, "woke", "there is something to read")
                    break
