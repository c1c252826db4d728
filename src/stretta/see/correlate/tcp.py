"""One TCP conversation: which call caused which segment, and what each wait was for (RFC 9293).

Pure: from the conversation's calls and frames, as they were seen.

Stream offsets count bytes from 0; relative sequence numbers are one more, as the SYN takes one.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field

from stretta.see.byte_ranges import ByteRangeMap, ByteRangeSet
from stretta.see.events import Call, Fault, Flow, Frame, Link, Process
from stretta.see.packets import ACK, FIN, RST, SYN

__all__ = ["Retransmission", "Side", "TcpConversation", "correlate", "other"]


def other(host: str) -> str:
    """Return the other host."""
    return "server" if host == "client" else "client"


@dataclass(slots=True)
class Retransmission:
    """A retransmission: of which frame, how long after its last transmission, and why."""

    frame: Frame
    original: Frame
    waited: int
    cause: str  # time-out, duplicate-acks, probe, syn, fin
    needless: bool  # the bytes had arrived already
    reason: str


@dataclass(slots=True)
class Side:
    """What one end did: its calls, the segments it sent, where each byte of its stream went.

    ``sends`` maps stream ranges to the calls that gave them; ``first`` to the frames that carried
    them first; ``landed`` to the frames that brought them to the other end first; ``takes`` to the
    other end's receiving calls.
    """

    host: str
    calls: list[Call] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    sent_by: ByteRangeMap[Call] = field(default_factory=ByteRangeMap)
    carried_by: ByteRangeMap[Frame] = field(default_factory=ByteRangeMap)
    delivered_by: ByteRangeMap[Frame] = field(default_factory=ByteRangeMap)
    received_by: ByteRangeMap[Call] = field(default_factory=ByteRangeMap)
    retransmissions: list[Retransmission] = field(default_factory=list)
    bytes_sent: int = 0  # bytes given to the kernel by calls
    bytes_received: int = 0  # bytes that the other end's program took
    scale: int = 0
    windows: list[tuple[Frame, int]] = field(default_factory=list)  # in bytes, as it offered them

    def find(self, flag: int, *, without: int = 0) -> list[Frame]:
        """Return the segments with a flag, in order."""
        return [
            f for f in self.frames
            if f.packet.flags & flag and not f.packet.flags & without and not f.forged
        ]  # fmt: skip

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


@dataclass(slots=True)
class TcpConversation:
    """A TCP conversation: both sides, and the links found. ``initiator`` sent the first SYN."""

    flow: Flow
    client: Side
    server: Side
    links: list[Link] = field(default_factory=list)
    faults: dict[int, Fault] = field(default_factory=dict)
    exits: list[Process] = field(default_factory=list)
    initiator: str = "client"
    watched: frozenset[str] = frozenset()  # hosts whose programs' calls are seen
    inherited: list[Call] = field(default_factory=list)  # settings of the listening socket

    @property
    def established(self) -> int | None:
        """When the connection was complete at both ends, or None."""
        confirm = _confirmation(self.sides[0])
        return confirm.arrived if confirm else None

    def is_set(self, side: Side, option: str) -> bool:
        """Return whether a program at an end set a socket option; sockets inherit the listener's.

        Which value it gave it is not looked at.
        """
        own = [c for c in self.inherited if c.host == side.host]
        return any(option in c.display for c in (*side.call("setsockopt"), *own))

    def side(self, host: str) -> Side:
        """Return the side of a host."""
        return self.client if host == "client" else self.server

    @property
    def sides(self) -> tuple[Side, Side]:
        """Who opened the connection, and who took it."""
        first, second = self.client, self.server
        return (first, second) if self.initiator == "client" else (second, first)

    def link(
        self, source: int, target: int, kind: str, reason: str, first: int = 0, last: int = 0
    ) -> None:
        """Add a link."""
        self.links.append(Link(source, target, kind, reason, first, last))


def correlate(
    flow: Flow,
    calls: list[Call],
    frames: list[Frame],
    polls: list[Call],
    processes: list[Process],
    faults: dict[int, Fault],
    watched: frozenset[str] = frozenset(),
    settings: Iterable[Call] = (),
) -> TcpConversation:
    """Return what was found out about a connection; ``polls`` are the waiting calls of all flows.

    ``settings`` are the calls of setsockopt() on sockets that have no conversation: they listen.

    Also fills in each frame's relative ``seq``, ``ack`` and ``repeats``.
    """
    conversation = TcpConversation(
        flow, Side("client"), Side("server"), faults=faults, watched=watched
    )
    for call in calls:
        conversation.side(call.host).calls.append(call)
    ports = {"client": flow.client[1], "server": flow.server[1]}
    conversation.inherited = [c for c in settings if c.local and c.local[1] == ports[c.host]]
    for frame in frames:
        if frame.packet.protocol == "tcp":
            conversation.side(frame.host).frames.append(frame)
    starter = next((f for f in frames if f.packet.flags & SYN and not f.packet.flags & ACK), None)
    if starter:
        conversation.initiator = starter.host
    numbers = {(c.host, c.process) for c in calls}
    conversation.exits = [
        p for p in processes if p.status is not None and (p.host, p.process) in numbers
    ]
    _relate_numbers(conversation)
    for side in (conversation.client, conversation.server):
        _bytes_out(conversation, side)
    for side in (conversation.client, conversation.server):
        _bytes_in(conversation, side)
    _opening(conversation)
    _acknowledgements(conversation)
    _endings(conversation)
    _resets(conversation)
    _wakes(conversation, polls)
    return conversation


def _relate_numbers(conversation: TcpConversation) -> None:
    """Give every segment sequence numbers relative to its direction's first, never wrapping."""
    bases: dict[str, int] = {}
    for side in (conversation.client, conversation.server):
        syn = next(iter(side.syns), None)
        if syn:
            bases[side.host] = syn.packet.seq
        else:
            first = next((f for f in side.frames if not f.packet.flags & RST), None)
            acked = next(
                (f for f in conversation.side(other(side.host)).frames if f.packet.flags & ACK),
                None,
            )
            if first:
                bases[side.host] = (first.packet.seq - 1) % 2**32
            elif acked:
                bases[side.host] = (acked.packet.ack - 1) % 2**32
    for side in (conversation.client, conversation.server):
        at_seq, at_ack = 0, 0
        scales = [
            s.packet.scale for s in (*conversation.client.syns[:1], *conversation.server.syns[:1])
        ]
        scaled = len(scales) == 2 and None not in scales
        own_syn = next(iter(side.syns), None)
        side.scale = (own_syn.packet.scale or 0) if own_syn and scaled else 0
        for frame in side.frames:
            packet = frame.packet
            if packet.flags & RST and not packet.seq:
                frame.seq = 0
            else:
                frame.seq = at_seq = _unwrap(at_seq, packet.seq - bases.get(side.host, 0))
            if packet.flags & ACK:
                base = bases.get(other(side.host), 0)
                frame.ack = at_ack = _unwrap(at_ack, packet.ack - base)
            if not packet.flags & RST and not frame.forged:
                shift = 0 if packet.flags & SYN else side.scale
                side.windows.append((frame, packet.window << shift))


def _unwrap(near: int, number: int) -> int:
    """Return the 64-bit number closest to ``near`` that a 32-bit one stands for."""
    return near + ((number - near + 2**31) % 2**32) - 2**31


def _bytes_out(conversation: TcpConversation, side: Side) -> None:
    """Relate the bytes of each sending call to the segments that carried them first."""
    for call in side.calls:
        if call.direction != "out":
            continue
        unknown = call.end is None and call.result is None
        size = 2**62 if unknown else call.transferred  # it never returned: what follows is its own
        side.sent_by.add(side.bytes_sent, side.bytes_sent + size, call)
        side.bytes_sent += call.transferred
        if unknown:
            break
    cover = ByteRangeSet()
    carried: list[Frame] = []
    once: dict[tuple[str, int], Frame] = {}  # SYN and FIN segments by where they are
    for frame in side.frames:
        packet = frame.packet
        if frame.forged or packet.flags & RST:
            continue
        start = frame.seq - 1 + bool(packet.flags & SYN)
        end = start + packet.length
        new = cover.add(start, end)
        for first, last in new:
            side.carried_by.add(first, last, frame)
            for a, b, call in side.sent_by.within(first, last):
                reason = f"bytes {a} to {b - 1} of the stream"
                conversation.link(call.id, frame.id, "carried", reason, a, b)
        original = _original(frame, start, carried, once, new=bool(new))
        if packet.length:
            carried.append(frame)
        for flag, place in ((SYN, start), (FIN, end)):
            if packet.flags & flag:
                once["syn" if flag == SYN else "fin", place] = frame
        if original:
            _repeat(conversation, side, frame, original)


def _original(
    frame: Frame, start: int, carried: list[Frame], once: dict[tuple[str, int], Frame], *, new: bool
) -> Frame | None:
    """Return the last segment that carried the same, or None for what goes out first."""
    packet = frame.packet
    if packet.flags & SYN:
        return once.get(("syn", start))
    if packet.length:
        if new:
            return None
        return next(
            (f for f in reversed(carried) if f.seq - 1 <= start < f.seq - 1 + f.packet.length), None
        )
    return once.get(("fin", start)) if packet.flags & FIN else None


def _repeat(conversation: TcpConversation, side: Side, frame: Frame, original: Frame) -> None:
    """Find out why a segment was sent again."""
    frame.retransmission_of = original.id
    waited = frame.at - original.at
    peer = conversation.side(other(side.host))
    arrived = original.arrived
    heard = [
        f for f in peer.frames if f.arrived is not None and original.at < f.arrived <= frame.at
    ]
    sacked = any(f.packet.sacks for f in heard)
    duplicates = [
        f for f in heard
        if f.ack == original.seq and not f.packet.length and not f.packet.flags & (SYN | FIN)
    ]  # fmt: skip
    cause, reason = "time-out", f"no acknowledgement had come for {_seconds(waited)}"
    if frame.packet.flags & SYN:
        cause = "syn"
        what = "answer" if not frame.packet.flags & ACK else "acknowledgement"
        reason = f"no {what} had come for {_seconds(waited)} (time-out of 1 s at first, RFC 6298)"
        at_once = [f for f in heard if f.packet.flags & SYN and frame.at - _last(f) < AT_ONCE]
        if frame.packet.flags & ACK and at_once:
            reason = "the SYN had come again, so it was answered again"
    elif sacked or len(duplicates) >= 3:
        cause = "duplicate-acks"
        reason = "acknowledgements said that later bytes had come and these had not (RFC 6675)"
    elif not frame.packet.length:
        cause = "fin"
    needless = arrived is not None and arrived < frame.at
    side.retransmissions.append(Retransmission(frame, original, waited, cause, needless, reason))
    conversation.link(original.id, frame.id, "repeated", reason)


AT_ONCE = 5_000_000
"""Nanoseconds: a kernel's answer to a segment does not take longer."""


def _last(frame: Frame) -> int:
    """Return when the last copy of a frame arrived unharmed, or 0."""
    return max((a.at for a in frame.arrivals if not a.corrupted), default=0)


def _bytes_in(conversation: TcpConversation, side: Side) -> None:
    """Relate the bytes of each receiving call to the segments that brought them."""
    sender = conversation.side(other(side.host))
    arrivals = sorted(
        (
            (a.at, f)
            for f in sender.frames
            for a in f.arrivals
            if not a.corrupted and f.packet.length
        ),
        key=lambda pair: (pair[0], pair[1].id),
    )
    cover = ByteRangeSet()
    for _, frame in arrivals:
        if frame.forged:
            continue
        start = frame.seq - 1 + bool(frame.packet.flags & SYN)
        for first, last in cover.add(start, start + frame.packet.length):
            sender.delivered_by.add(first, last, frame)
    at = 0
    receives = sorted(
        (c for c in side.calls if c.direction == "in" and c.transferred), key=lambda c: c.latest_end
    )
    for call in receives:
        sender.received_by.add(at, at + call.transferred, call)
        for first, last, frame in sender.delivered_by.within(at, at + call.transferred):
            reason = f"bytes {first} to {last - 1} of the stream"
            conversation.link(frame.id, call.id, "delivered", reason, first, last)
        at += call.transferred
    sender.bytes_received = at


def _opening(conversation: TcpConversation) -> None:
    """Relate connect() and accept() to the three segments of the handshake."""
    initiator, responder = conversation.sides
    syn = next(iter(initiator.syns), None)
    answer = next(iter(responder.find(SYN)), None)
    if syn is None:
        return
    for call in initiator.call("connect", "send", "sendto", "sendmsg"):
        # the SYN may leave later than a call that does not block returns: the address comes first
        if call.at <= syn.at and (call.name == "connect" or "FASTOPEN" in call.flags):
            conversation.link(
                call.id, syn.id, "sent", "connect() asks the kernel for a connection: SYN"
            )
            break
    connects = initiator.call("connect")
    came = next((f for f in responder.find(SYN) if f.arrived is not None), None)
    if answer and came:
        conversation.link(
            next((f.id for f in initiator.syns if (f.arrived or 2**63) <= came.at), syn.id),
            came.id,
            "answered",
            "the server's kernel answers a SYN by itself: SYN ACK",
        )
        for call in connects:
            if not call.error and call.end is not None and (came.arrived or 0) <= call.latest_end:
                conversation.link(came.id, call.id, "returned", "the SYN ACK arrived: established")
    confirm = _confirmation(initiator)
    for call in responder.call("accept"):
        if confirm and confirm.arrived is not None and not call.error:
            waited = call.at < confirm.arrived
            reason = "the handshake was complete" + ("" if waited else " before it was called")
            conversation.link(confirm.id, call.id, "returned", reason)
            break
    for call in connects:
        if call.error in ("ECONNREFUSED", "ECONNRESET"):
            reset = next(
                (f for f in responder.resets if f.arrived and f.arrived <= call.latest_end), None
            )
            if reset:
                conversation.link(reset.id, call.id, "failed", "RST: refused")


def _confirmation(initiator: Side) -> Frame | None:
    """Return the segment whose arrival made the connection complete for the responder."""
    later = (f for f in initiator.frames if f.arrived is not None and f.packet.flags & ACK)
    return next((f for f in later if f.ack >= 1 and not f.packet.flags & (SYN | RST)), None)


def _acknowledgements(conversation: TcpConversation) -> None:
    """Relate each acknowledgement that says something new to the last segment that it is for."""
    for side in (conversation.client, conversation.server):
        peer = conversation.side(other(side.host))
        pieces = [(f.seq + f.packet.span, f) for f in side.frames if f.packet.span and not f.forged]
        pieces.sort(key=lambda pair: (pair[0], pair[1].id))
        ends = [end for end, _ in pieces]
        highest = 0
        for frame in peer.frames:
            if frame.ack <= highest or frame.forged or frame.packet.flags & RST:
                continue
            at = bisect_right(ends, frame.ack) - 1
            highest = frame.ack
            while at >= 0:
                done = pieces[at][1]
                if done.arrived is not None and done.arrived <= frame.at:
                    conversation.link(
                        done.id, frame.id, "acknowledged", f"everything up to {frame.ack - 1}"
                    )
                    break
                at -= 1


def _endings(conversation: TcpConversation) -> None:
    """Relate close() and shutdown() to FIN, and FIN to the receive that returned nothing."""
    for side in (conversation.client, conversation.server):
        fin = next(iter(side.fins), None)
        if fin is None:
            continue
        enders = [
            c for c in side.call("close", "shutdown")
            if c.at <= fin.at and not c.error and c.flags not in ("SHUT_RD", "shared")
        ]  # fmt: skip
        if enders:
            call = enders[0]
            conversation.link(
                call.id, fin.id, "sent", f"{call.name}() says that no more will be sent: FIN"
            )
        else:
            # the kernel closes before strace can say that the program is gone
            ender = _nearest_exit(conversation, side, fin.at)
            if ender:
                conversation.link(
                    ender.id, fin.id, "sent", "the program ended, and its kernel closed: FIN"
                )
        for call in conversation.side(other(side.host)).calls:
            told = min(
                (f for f in side.fins if f.arrived is not None),
                key=lambda f: f.arrived or 0, default=None,
            )  # fmt: skip
            if (
                call.direction == "in" and call.result == 0 and call.requested != 0
                and told is not None and call.latest_end >= (told.arrived or 0)
            ):  # fmt: skip
                conversation.link(told.id, call.id, "ended", "FIN: the stream is over, so 0 bytes")
                break


def _nearest_exit(conversation: TcpConversation, side: Side, at: int) -> Process | None:
    """Return the end of the program that can have closed a socket then: the nearest in time."""
    near = [p for p in conversation.exits if p.host == side.host and abs(p.at - at) < 50_000_000]
    return min(near, key=lambda p: abs(p.at - at), default=None)


def _resets(conversation: TcpConversation) -> None:
    """Say why each RST was sent, and which call failed of it."""
    for side in (conversation.client, conversation.server):
        peer = conversation.side(other(side.host))
        for number, reset in enumerate(side.resets):
            _reset_cause(conversation, side, peer, reset)
            if number or reset.arrived is None:
                continue
            for call in peer.calls:
                if call.error in ("ECONNRESET", "EPIPE") and call.latest_end >= reset.arrived:
                    if not any(
                        k.target == call.id and k.kind == "failed" for k in conversation.links
                    ):
                        conversation.link(
                            reset.id, call.id, "failed", "RST: the connection is no more"
                        )
                    break


def _reset_cause(conversation: TcpConversation, side: Side, peer: Side, reset: Frame) -> None:
    before = [f for f in peer.frames if f.arrived is not None and f.arrived <= reset.at]
    last = before[-1] if before else None
    if last and last.packet.flags & SYN and not last.packet.flags & ACK:
        conversation.link(last.id, reset.id, "refused", "nobody listens on that port: RST")
        return
    if not side.calls and side.host in conversation.watched:
        reason = "nobody had accepted the connection when its listening socket was closed: RST"
        conversation.link(last.id if last else reset.id, reset.id, "unaccepted", reason)
        return
    closes = [
        c for c in side.call("close")
        if c.at <= reset.at and c.flags != "shared" and (c.end or 0) >= reset.at - 1_000_000
    ]  # fmt: skip
    unread = unread_at(peer, reset.at)
    if closes and unread > 0:
        reason = f"close() threw away {unread} bytes that had come unread: RST"
        conversation.link(closes[-1].id, reset.id, "sent", reason)
    elif closes and any("SO_LINGER" in c.display for c in side.call("setsockopt")):
        conversation.link(closes[-1].id, reset.id, "sent", "close() with SO_LINGER of 0 s: RST")
    elif closes and last is not None and last.arrived is not None and closes[-1].at > last.arrived:
        conversation.link(closes[-1].id, reset.id, "sent", "close() gave the connection up: RST")
    elif last and any(c.at <= reset.at for c in side.call("close")):
        reason = "it came when the program had closed, and nobody could read it: RST"
        conversation.link(last.id, reset.id, "provoked", reason)
    else:
        ender = _nearest_exit(conversation, side, reset.at)
        if ender and unread > 0:
            reason = f"the program ended with {unread} bytes unread: RST"
            conversation.link(ender.id, reset.id, "sent", reason)
        elif last:
            conversation.link(last.id, reset.id, "provoked", "nobody has this connection: RST")


def unread_at(sender: Side, at: int) -> int:
    """Return how many of a sender's bytes had come to the other end by then, and were not taken."""
    cover = ByteRangeSet()
    for first, last, frame in sender.delivered_by:
        if frame.arrived is not None and frame.arrived <= at:
            cover.add(first, last)
    taken = sum(b - a for a, b, call in sender.received_by if call.latest_end <= at)
    return max(0, cover.contiguous - taken)


def _wakes(conversation: TcpConversation, polls: list[Call]) -> None:
    """Relate the calls that wait for several sockets to the segments that ended their wait."""
    for side in (conversation.client, conversation.server):
        sender = conversation.side(other(side.host))
        arrivals = sorted((f.arrived, f.id) for f in sender.frames if f.arrived is not None)
        if not arrivals:
            continue
        times = [at for at, _ in arrivals]
        confirm = _confirmation(sender) if sender.host == conversation.initiator else None
        port = (conversation.flow.client if side.host == "client" else conversation.flow.server)[1]
        weighty = {f.id for f in sender.frames if f.packet.span or f.packet.flags & RST}
        for call in polls:
            if call.host != side.host or call.end is None:
                continue
            if (
                confirm and call.local and call.local[1] == port
                and call.at <= (confirm.arrived or 0) <= call.latest_end
            ):  # fmt: skip
                conversation.link(confirm.id, call.id, "woke", "there is a connection to accept")
            if conversation.flow not in call.ready:
                continue
            found = arrivals[bisect_left(times, call.at) : bisect_right(times, call.latest_end)]
            chosen = next((i for _, i in found if i in weighty), found[-1][1] if found else None)
            if chosen is not None:
                what = (
                    "there is something to read" if chosen in weighty else "there is room to send"
                )
                conversation.link(chosen, call.id, "woke", what)


def _seconds(nanoseconds: int) -> str:
    if nanoseconds >= 1_000_000_000:
        return f"{nanoseconds / 1e9:.2f} s"
    return f"{nanoseconds / 1e6:.3g} ms"
