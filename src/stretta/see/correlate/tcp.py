"""One TCP conversation: which call caused which segment, and what each wait was for (RFC 9293).

Pure: from the conversation's calls and frames, as they were seen.

Stream offsets count bytes from 0; relative sequence numbers are one more, as the SYN takes one.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field

from stretta.see.byte_ranges import Cover, Pieces
from stretta.see.events import Call, Fault, Flow, Frame, Link, Process
from stretta.see.packets import ACK, FIN, RST, SYN

__all__ = ["Repeat", "Side", "TcpStory", "other", "tell"]


def other(host: str) -> str:
    """Return the other host."""
    return "server" if host == "client" else "client"


@dataclass(slots=True)
class Repeat:
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
    sends: Pieces[Call] = field(default_factory=Pieces)
    first: Pieces[Frame] = field(default_factory=Pieces)
    landed: Pieces[Frame] = field(default_factory=Pieces)
    takes: Pieces[Call] = field(default_factory=Pieces)
    repeats: list[Repeat] = field(default_factory=list)
    sent: int = 0  # bytes given to the kernel by calls
    taken: int = 0  # bytes that the other end's program took
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
class TcpStory:
    """A TCP conversation: both sides, and the links found. ``opener`` sent the first SYN."""

    flow: Flow
    client: Side
    server: Side
    links: list[Link] = field(default_factory=list)
    faults: dict[int, Fault] = field(default_factory=dict)
    exits: list[Process] = field(default_factory=list)
    opener: str = "client"
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
        return any(option in c.shown for c in (*side.call("setsockopt"), *own))

    def side(self, host: str) -> Side:
        """Return the side of a host."""
        return self.client if host == "client" else self.server

    @property
    def sides(self) -> tuple[Side, Side]:
        """Who opened the connection, and who took it."""
        first, second = self.client, self.server
        return (first, second) if self.opener == "client" else (second, first)

    def link(
        self, source: int, target: int, kind: str, reason: str, first: int = 0, last: int = 0
    ) -> None:
        """Add a link."""
        self.links.append(Link(source, target, kind, reason, first, last))


def tell(
    flow: Flow,
    calls: list[Call],
    frames: list[Frame],
    polls: list[Call],
    processes: list[Process],
    faults: dict[int, Fault],
    watched: frozenset[str] = frozenset(),
    settings: Iterable[Call] = (),
) -> TcpStory:
    """Return the story of one conversation; ``polls`` are all waiting calls, of any conversation.

    ``settings`` are the calls of setsockopt() on sockets that have no conversation: they listen.

    Also fills in each frame's relative ``seq``, ``ack`` and ``repeats``.
    """
    story = TcpStory(flow, Side("client"), Side("server"), faults=faults, watched=watched)
    for call in calls:
        story.side(call.host).calls.append(call)
    ports = {"client": flow.client[1], "server": flow.server[1]}
    story.inherited = [c for c in settings if c.local and c.local[1] == ports[c.host]]
    for frame in frames:
        if frame.packet.protocol == "tcp":
            story.side(frame.host).frames.append(frame)
    starter = next((f for f in frames if f.packet.flags & SYN and not f.packet.flags & ACK), None)
    if starter:
        story.opener = starter.host
    numbers = {(c.host, c.process) for c in calls}
    story.exits = [p for p in processes if p.status is not None and (p.host, p.process) in numbers]
    _relate_numbers(story)
    for side in (story.client, story.server):
        _bytes_out(story, side)
    for side in (story.client, story.server):
        _bytes_in(story, side)
    _opening(story)
    _acknowledgements(story)
    _endings(story)
    _resets(story)
    _wakes(story, polls)
    return story


def _relate_numbers(story: TcpStory) -> None:
    """Give every segment sequence numbers relative to its direction's first, never wrapping."""
    bases: dict[str, int] = {}
    for side in (story.client, story.server):
        syn = next(iter(side.syns), None)
        if syn:
            bases[side.host] = syn.packet.seq
        else:
            first = next((f for f in side.frames if not f.packet.flags & RST), None)
            acked = next(
                (f for f in story.side(other(side.host)).frames if f.packet.flags & ACK), None
            )
            if first:
                bases[side.host] = (first.packet.seq - 1) % 2**32
            elif acked:
                bases[side.host] = (acked.packet.ack - 1) % 2**32
    for side in (story.client, story.server):
        at_seq, at_ack = 0, 0
        scales = [s.packet.scale for s in (*story.client.syns[:1], *story.server.syns[:1])]
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


def _bytes_out(story: TcpStory, side: Side) -> None:
    """Relate the bytes of each sending call to the segments that carried them first."""
    for call in side.calls:
        if call.way != "out":
            continue
        unknown = call.end is None and call.result is None
        size = 2**62 if unknown else call.moved  # it never returned: what follows is its own
        side.sends.add(side.sent, side.sent + size, call)
        side.sent += call.moved
        if unknown:
            break
    cover = Cover()
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
            side.first.add(first, last, frame)
            for a, b, call in side.sends.within(first, last):
                reason = f"bytes {a} to {b - 1} of the stream"
                story.link(call.id, frame.id, "carried", reason, a, b)
        original = _original(frame, start, carried, once, new=bool(new))
        if packet.length:
            carried.append(frame)
        for flag, place in ((SYN, start), (FIN, end)):
            if packet.flags & flag:
                once["syn" if flag == SYN else "fin", place] = frame
        if original:
            _repeat(story, side, frame, original)


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


def _repeat(story: TcpStory, side: Side, frame: Frame, original: Frame) -> None:
    """Find out why a segment was sent again."""
    frame.repeats = original.id
    waited = frame.at - original.at
    peer = story.side(other(side.host))
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
    side.repeats.append(Repeat(frame, original, waited, cause, needless, reason))
    story.link(original.id, frame.id, "repeated", reason)


AT_ONCE = 5_000_000
"""Nanoseconds: a kernel's answer to a segment does not take longer."""


def _last(frame: Frame) -> int:
    """Return when the last copy of a frame arrived unharmed, or 0."""
    return max((a.at for a in frame.arrivals if not a.changed), default=0)


def _bytes_in(story: TcpStory, side: Side) -> None:
    """Relate the bytes of each receiving call to the segments that brought them."""
    sender = story.side(other(side.host))
    arrivals = sorted(
        ((a.at, f) for f in sender.frames for a in f.arrivals if not a.changed and f.packet.length),
        key=lambda pair: (pair[0], pair[1].id),
    )
    cover = Cover()
    for _, frame in arrivals:
        if frame.forged:
            continue
        start = frame.seq - 1 + bool(frame.packet.flags & SYN)
        for first, last in cover.add(start, start + frame.packet.length):
            sender.landed.add(first, last, frame)
    at = 0
    takers = sorted((c for c in side.calls if c.way == "in" and c.moved), key=lambda c: c.until)
    for call in takers:
        sender.takes.add(at, at + call.moved, call)
        for first, last, frame in sender.landed.within(at, at + call.moved):
            reason = f"bytes {first} to {last - 1} of the stream"
            story.link(frame.id, call.id, "delivered", reason, first, last)
        at += call.moved
    sender.taken = at


def _opening(story: TcpStory) -> None:
    """Relate connect() and accept() to the three segments of the handshake."""
    opener, taker = story.sides
    syn = next(iter(opener.syns), None)
    answer = next(iter(taker.find(SYN)), None)
    if syn is None:
        return
    for call in opener.call("connect", "send", "sendto", "sendmsg"):
        # the SYN may leave later than a call that does not block returns: the address comes first
        if call.at <= syn.at and (call.name == "connect" or "FASTOPEN" in call.flags):
            story.link(call.id, syn.id, "sent", "connect() asks the kernel for a connection: SYN")
            break
    connects = opener.call("connect")
    came = next((f for f in taker.find(SYN) if f.arrived is not None), None)
    if answer and came:
        story.link(
            next((f.id for f in opener.syns if (f.arrived or 2**63) <= came.at), syn.id),
            came.id,
            "answered",
            "the server's kernel answers a SYN by itself: SYN ACK",
        )
        for call in connects:
            if not call.error and call.end is not None and (came.arrived or 0) <= call.until:
                story.link(came.id, call.id, "returned", "the SYN ACK arrived: established")
    confirm = _confirmation(opener)
    for call in taker.call("accept"):
        if confirm and confirm.arrived is not None and not call.error:
            waited = call.at < confirm.arrived
            reason = "the handshake was complete" + ("" if waited else " before it was called")
            story.link(confirm.id, call.id, "returned", reason)
            break
    for call in connects:
        if call.error in ("ECONNREFUSED", "ECONNRESET"):
            reset = next((f for f in taker.resets if f.arrived and f.arrived <= call.until), None)
            if reset:
                story.link(reset.id, call.id, "failed", "RST: refused")


def _confirmation(opener: Side) -> Frame | None:
    """Return the segment whose arrival made the connection complete for the taker."""
    later = (f for f in opener.frames if f.arrived is not None and f.packet.flags & ACK)
    return next((f for f in later if f.ack >= 1 and not f.packet.flags & (SYN | RST)), None)


def _acknowledgements(story: TcpStory) -> None:
    """Relate each acknowledgement that says something new to the last segment that it is for."""
    for side in (story.client, story.server):
        peer = story.side(other(side.host))
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
                    story.link(
                        done.id, frame.id, "acknowledged", f"everything up to {frame.ack - 1}"
                    )
                    break
                at -= 1


def _endings(story: TcpStory) -> None:
    """Relate close() and shutdown() to FIN, and FIN to the receive that returned nothing."""
    for side in (story.client, story.server):
        fin = next(iter(side.fins), None)
        if fin is None:
            continue
        enders = [
            c for c in side.call("close", "shutdown")
            if c.at <= fin.at and not c.error and c.flags not in ("SHUT_RD", "shared")
        ]  # fmt: skip
        if enders:
            call = enders[0]
            story.link(
                call.id, fin.id, "sent", f"{call.name}() says that no more will be sent: FIN"
            )
        else:
            # the kernel closes before strace can say that the program is gone
            ender = _nearest_exit(story, side, fin.at)
            if ender:
                story.link(
                    ender.id, fin.id, "sent", "the program ended, and its kernel closed: FIN"
                )
        for call in story.side(other(side.host)).calls:
            told = min(
                (f for f in side.fins if f.arrived is not None),
                key=lambda f: f.arrived or 0, default=None,
            )  # fmt: skip
            if (
                call.way == "in" and call.result == 0 and call.asked != 0
                and told is not None and call.until >= (told.arrived or 0)
            ):  # fmt: skip
                story.link(told.id, call.id, "ended", "FIN: the stream is over, so 0 bytes")
                break


def _nearest_exit(story: TcpStory, side: Side, at: int) -> Process | None:
    """Return the end of the program that can have closed a socket then: the nearest in time."""
    near = [p for p in story.exits if p.host == side.host and abs(p.at - at) < 50_000_000]
    return min(near, key=lambda p: abs(p.at - at), default=None)


def _resets(story: TcpStory) -> None:
    """Say why each RST was sent, and which call failed of it."""
    for side in (story.client, story.server):
        peer = story.side(other(side.host))
        for number, reset in enumerate(side.resets):
            _reset_cause(story, side, peer, reset)
            if number or reset.arrived is None:
                continue
            for call in peer.calls:
                if call.error in ("ECONNRESET", "EPIPE") and call.until >= reset.arrived:
                    if not any(k.target == call.id and k.kind == "failed" for k in story.links):
                        story.link(reset.id, call.id, "failed", "RST: the connection is no more")
                    break


def _reset_cause(story: TcpStory, side: Side, peer: Side, reset: Frame) -> None:
    before = [f for f in peer.frames if f.arrived is not None and f.arrived <= reset.at]
    last = before[-1] if before else None
    if last and last.packet.flags & SYN and not last.packet.flags & ACK:
        story.link(last.id, reset.id, "refused", "nobody listens on that port: RST")
        return
    if not side.calls and side.host in story.watched:
        reason = "nobody had accepted the connection when its listening socket was closed: RST"
        story.link(last.id if last else reset.id, reset.id, "unaccepted", reason)
        return
    closes = [
        c for c in side.call("close")
        if c.at <= reset.at and c.flags != "shared" and (c.end or 0) >= reset.at - 1_000_000
    ]  # fmt: skip
    unread = unread_at(peer, reset.at)
    if closes and unread > 0:
        reason = f"close() threw away {unread} bytes that had come unread: RST"
        story.link(closes[-1].id, reset.id, "sent", reason)
    elif closes and any("SO_LINGER" in c.shown for c in side.call("setsockopt")):
        story.link(closes[-1].id, reset.id, "sent", "close() with SO_LINGER of 0 s: RST")
    elif closes and last is not None and last.arrived is not None and closes[-1].at > last.arrived:
        story.link(closes[-1].id, reset.id, "sent", "close() gave the connection up: RST")
    elif last and any(c.at <= reset.at for c in side.call("close")):
        reason = "it came when the program had closed, and nobody could read it: RST"
        story.link(last.id, reset.id, "provoked", reason)
    else:
        ender = _nearest_exit(story, side, reset.at)
        if ender and unread > 0:
            reason = f"the program ended with {unread} bytes unread: RST"
            story.link(ender.id, reset.id, "sent", reason)
        elif last:
            story.link(last.id, reset.id, "provoked", "nobody has this connection: RST")


def unread_at(sender: Side, at: int) -> int:
    """Return how many of a sender's bytes had come to the other end by then, and were not taken."""
    cover = Cover()
    for first, last, frame in sender.landed:
        if frame.arrived is not None and frame.arrived <= at:
            cover.add(first, last)
    taken = sum(b - a for a, b, call in sender.takes if call.until <= at)
    return max(0, cover.contiguous - taken)


def _wakes(story: TcpStory, polls: list[Call]) -> None:
    """Relate the calls that wait for several sockets to the segments that ended their wait."""
    for side in (story.client, story.server):
        sender = story.side(other(side.host))
        arrivals = sorted((f.arrived, f.id) for f in sender.frames if f.arrived is not None)
        if not arrivals:
            continue
        times = [at for at, _ in arrivals]
        confirm = _confirmation(sender) if sender.host == story.opener else None
        port = (story.flow.client if side.host == "client" else story.flow.server)[1]
        weighty = {f.id for f in sender.frames if f.packet.span or f.packet.flags & RST}
        for call in polls:
            if call.host != side.host or call.end is None:
                continue
            if (
                confirm and call.local and call.local[1] == port
                and call.at <= (confirm.arrived or 0) <= call.until
            ):  # fmt: skip
                story.link(confirm.id, call.id, "woke", "there is a connection to accept")
            if story.flow not in call.ready:
                continue
            found = arrivals[bisect_left(times, call.at) : bisect_right(times, call.until)]
            chosen = next((i for _, i in found if i in weighty), found[-1][1] if found else None)
            if chosen is not None:
                what = (
                    "there is something to read" if chosen in weighty else "there is room to send"
                )
                story.link(chosen, call.id, "woke", what)


def _seconds(nanoseconds: int) -> str:
    if nanoseconds >= 1_000_000_000:
        return f"{nanoseconds / 1e9:.2f} s"
    return f"{nanoseconds / 1e6:.3g} ms"
