"""What is known of one TCP connection: both sides, and the links between calls and segments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from stretta.see.byte_ranges import ByteRangeMap, ByteRangeSet
from stretta.see.events import Call, Cause, Endpoint, Event, Fault, Flow, Frame, Link, LinkKind
from stretta.see.events import Process as ProcessEvent
from stretta.see.packets import ACK, FIN, RST, SYN

__all__ = ["Retransmission", "Side", "TcpConversation", "unread_at", "unread_range"]


@dataclass(frozen=True, slots=True)
class Retransmission:
    """A segment sent again: of which frame, how long after its last transmission, and why.

    ``needless`` says that the bytes had arrived already.
    """

    frame: Frame
    original: Frame
    waited: int
    cause: Cause
    needless: bool


@dataclass(slots=True)
class Side:
    """One end of a connection: its calls, the segments it sent, the path of each of its bytes.

    ``sent_by`` maps ranges of its stream to the calls that gave them to the kernel; ``carried_by``
    to the frames that carried them first; ``delivered_by`` to the frames that brought them to the
    other end first; ``received_by`` to the other end's receiving calls.
    """

    end: Endpoint
    calls: list[Call] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    sent_by: ByteRangeMap[Call] = field(default_factory=ByteRangeMap)
    carried_by: ByteRangeMap[Frame] = field(default_factory=ByteRangeMap)
    delivered_by: ByteRangeMap[Frame] = field(default_factory=ByteRangeMap)
    received_by: ByteRangeMap[Call] = field(default_factory=ByteRangeMap)
    retransmissions: list[Retransmission] = field(default_factory=list)
    bytes_sent: int = 0  # given to the kernel by calls
    bytes_received: int = 0  # of this side's stream, by the other end's program
    windows: list[tuple[Frame, int]] = field(default_factory=list)  # in bytes, as it offered them

    @property
    def host(self) -> str:
        """The name of its host."""
        return self.end.host

    def find(self, flag: int) -> list[Frame]:
        """Return the segments with a flag that its kernel sent, in order."""
        return [f for f in self.frames if f.packet.flags & flag and not f.forged]

    @property
    def syns(self) -> list[Frame]:
        """Its SYN segments: the first, and repetitions."""
        return self.find(SYN)

    @property
    def fins(self) -> list[Frame]:
        """Its FIN segments."""
        return self.find(FIN)

    @property
    def resets(self) -> list[Frame]:
        """Its RST segments."""
        return self.find(RST)

    def call(self, *names: str) -> list[Call]:
        """Return its calls of these names."""
        return [c for c in self.calls if c.name in names]

    def moved_to(self, new: Mapping[int, Event]) -> Side:
        """Return this side with the events that have taken the place of its own, by their ids."""
        return replace(
            self,
            calls=[_call(new, c) for c in self.calls],
            frames=[_frame(new, f) for f in self.frames],
            sent_by=self.sent_by.map(lambda c: _call(new, c)),
            carried_by=self.carried_by.map(lambda f: _frame(new, f)),
            delivered_by=self.delivered_by.map(lambda f: _frame(new, f)),
            received_by=self.received_by.map(lambda c: _call(new, c)),
            retransmissions=[
                replace(r, frame=_frame(new, r.frame), original=_frame(new, r.original))
                for r in self.retransmissions
            ],
            windows=[(_frame(new, f), size) for f, size in self.windows],
        )


def _call(new: Mapping[int, Event], call: Call) -> Call:
    found = new[call.id]
    return found if isinstance(found, Call) else call


def _frame(new: Mapping[int, Event], frame: Frame) -> Frame:
    found = new[frame.id]
    return found if isinstance(found, Frame) else frame


@dataclass(slots=True)
class TcpConversation:
    """A TCP connection: the side that sent the first SYN, the other one, and the links found.

    ``faults`` are by the frames that they concern. ``watched`` are the hosts whose programs' calls
    are seen; ``inherited`` are settings of the listening socket, which its connections inherit.
    """

    flow: Flow
    initiator: Side
    responder: Side
    links: list[Link] = field(default_factory=list)
    faults: Mapping[int, Fault] = field(default_factory=dict)
    exits: list[ProcessEvent] = field(default_factory=list)
    watched: frozenset[str] = frozenset()
    inherited: list[Call] = field(default_factory=list)

    @property
    def sides(self) -> tuple[Side, Side]:
        """The initiator and the responder."""
        return self.initiator, self.responder

    @property
    def established(self) -> int | None:
        """When the connection was established at both ends, or None."""
        confirm = self.confirmation
        return confirm.arrived if confirm else None

    @property
    def confirmation(self) -> Frame | None:
        """The segment whose arrival established the connection for the responder."""
        later = (f for f in self.initiator.frames if f.arrived is not None)
        return next(
            (
                f for f in later
                if f.packet.flags & ACK and f.ack >= 1 and not f.packet.flags & (SYN | RST)
            ),
            None,
        )  # fmt: skip

    def side(self, host: str) -> Side | None:
        """Return the side of a host, or None for a host on the way (a router)."""
        return next((side for side in self.sides if side.host == host), None)

    def peer(self, side: Side) -> Side:
        """Return the other side."""
        return self.responder if side is self.initiator else self.initiator

    def is_set(self, side: Side, option: str) -> bool:
        """Return whether a program set a socket option, to any value, on a side's socket."""
        own = [c for c in self.inherited if c.host == side.host]
        return any(option == c.option for c in (*side.call("setsockopt"), *own))

    def link(
        self,
        source: int,
        target: int,
        kind: LinkKind,
        cause: Cause,
        first: int = 0,
        last: int = 0,
    ) -> None:
        """Add a link."""
        self.links.append(Link(source, target, kind, cause, first, last))

    def cause_of(self, target: Event, kind: LinkKind) -> Link | None:
        """Return the first link of a kind that leads to an event."""
        return next((k for k in self.links if k.target == target.id and k.kind is kind), None)

    def moved_to(self, new: Mapping[int, Event]) -> TcpConversation:
        """Return this conversation with the events that have taken the place of its own."""
        return replace(
            self,
            initiator=self.initiator.moved_to(new),
            responder=self.responder.moved_to(new),
            links=[renumbered(link, new) for link in self.links],
            faults=moved_faults(self.faults, new),
            exits=[found for p in self.exits if isinstance(found := new[p.id], ProcessEvent)],
            inherited=[_call(new, c) for c in self.inherited],
        )


def renumbered(link: Link, new: Mapping[int, Event]) -> Link:
    """Return a link between the events that have taken the place of its own."""
    return replace(link, source=new[link.source].id, target=new[link.target].id)


def moved_faults(faults: Mapping[int, Fault], new: Mapping[int, Event]) -> dict[int, Fault]:
    """Return the faults that have taken the place of others, by the frames that they concern."""
    found = (new[fault.id] for fault in faults.values())
    return {fault.frame: fault for fault in found if isinstance(fault, Fault)}


def unread_range(sender: Side, at: int) -> tuple[int, int]:
    """Return which of a sender's bytes had arrived by a time, in order, and were not received."""
    arrived = ByteRangeSet()
    for first, last, frame in sender.delivered_by:
        if frame.arrived is not None and frame.arrived <= at:
            arrived.add(first, last)
    taken = sum(b - a for a, b, call in sender.received_by if call.latest_end <= at)
    return taken, max(taken, arrived.contiguous)


def unread_at(sender: Side, at: int) -> int:
    """Return how many of a sender's bytes had arrived by a time and were not received."""
    first, last = unread_range(sender, at)
    return last - first
