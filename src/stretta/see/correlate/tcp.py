"""One TCP connection: which call caused which segment, and what each wait was for (RFC 9293).

Pure: from the connection's calls and frames, as they were seen.

Stream offsets count bytes from 0; relative sequence numbers are one more, as the SYN takes one.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence

from stretta.see.byte_ranges import ByteRangeSet
from stretta.see.correlate.conversation import (
    Retransmission,
    Side,
    TcpConversation,
    unread_range,
)
from stretta.see.events import (
    NEVER,
    Call,
    Cause,
    Direction,
    Fault,
    Flow,
    Frame,
    LinkKind,
    Process,
)
from stretta.see.packets import ACK, FIN, RST, SYN

__all__ = ["correlate"]

AT_ONCE = 5_000_000
"""Nanoseconds: a kernel's answer to a segment does not take longer."""

NEAR = 50_000_000
"""Nanoseconds between a kernel's FIN or RST for a program that ended, and strace's word of it."""


def correlate(
    flow: Flow,
    calls: Sequence[Call],
    frames: Sequence[Frame],
    polls: Sequence[Call],
    processes: Sequence[Process],
    faults: Mapping[int, Fault],
    watched: frozenset[str] = frozenset(),
    settings: Iterable[Call] = (),
) -> TcpConversation:
    """Return what is found out about a connection; ``polls`` are the waiting calls of all flows.

    ``settings`` are the calls of setsockopt() on sockets that have no conversation: they listen.
    The frames have relative sequence numbers already.
    """
    conversation = TcpConversation(
        flow, Side(flow.initiator), Side(flow.responder), faults=faults, watched=watched
    )
    for call in calls:
        if side := conversation.side(call.host):
            side.calls.append(call)
    for frame in frames:
        if frame.packet.protocol == "tcp" and (side := conversation.side(frame.host)):
            side.frames.append(frame)
    ports = {side.host: side.end.port for side in conversation.sides}
    conversation.inherited = [c for c in settings if c.local and c.local[1] == ports.get(c.host)]
    numbers = {(c.host, c.process) for c in calls}
    conversation.exits = [
        p for p in processes if p.status is not None and (p.host, p.process) in numbers
    ]
    for side in conversation.sides:
        _windows(conversation, side)
        _bytes_out(conversation, side)
    for side in conversation.sides:
        _bytes_in(conversation, side)
    _opening(conversation)
    _acknowledgements(conversation)
    _endings(conversation)
    _resets(conversation)
    _wakes(conversation, polls)
    return conversation


def _windows(conversation: TcpConversation, side: Side) -> None:
    """Note the window that each segment offers, in bytes (RFC 7323: scaled if both ends agree)."""
    scales = [s.packet.scale for each in conversation.sides for s in each.syns[:1]]
    scale = side.syns[0].packet.scale if len(scales) == 2 and None not in scales else 0
    for frame in side.frames:
        packet = frame.packet
        if not packet.flags & RST and not frame.forged:
            shift = 0 if packet.flags & SYN else scale or 0
            side.windows.append((frame, packet.window << shift))


def _bytes_out(conversation: TcpConversation, side: Side) -> None:
    """Relate the bytes of each sending call to the segments that carried them first."""
    for call in side.calls:
        if call.direction is not Direction.OUT:
            continue
        unknown = call.end is None and call.result is None
        size = 2**62 if unknown else call.transferred  # it never returned: what follows is its own
        side.sent_by.add(side.bytes_sent, side.bytes_sent + size, call)
        side.bytes_sent += call.transferred
        if unknown:
            break
    carried_bytes = ByteRangeSet()
    carriers: list[Frame] = []
    once: dict[tuple[int, int], Frame] = {}  # SYN and FIN segments by where they are
    for frame in side.frames:
        packet = frame.packet
        if frame.forged or packet.flags & RST:
            continue
        start = frame.first_offset
        end = start + packet.length
        new = carried_bytes.add(start, end)
        for first, last in new:
            side.carried_by.add(first, last, frame)
            for a, b, call in side.sent_by.within(first, last):
                conversation.link(call.id, frame.id, LinkKind.CARRIED, Cause.BYTES, a, b)
        original = _original(frame, carriers, once, new=bool(new))
        if packet.length:
            carriers.append(frame)
        for flag, place in ((SYN, start), (FIN, end)):
            if packet.flags & flag:
                once[flag, place] = frame
        if original:
            _retransmission(conversation, side, frame, original)


def _original(
    frame: Frame, carriers: list[Frame], once: dict[tuple[int, int], Frame], *, new: bool
) -> Frame | None:
    """Return the last segment that carried the same, or None for what goes out first."""
    packet, start = frame.packet, frame.first_offset
    if packet.flags & SYN:
        return once.get((SYN, start))
    if packet.length:
        if new:
            return None
        return next(
            (
                f for f in reversed(carriers)
                if f.first_offset <= start < f.first_offset + f.packet.length
            ),
            None,
        )  # fmt: skip
    return once.get((FIN, start)) if packet.flags & FIN else None


def _retransmission(
    conversation: TcpConversation, side: Side, frame: Frame, original: Frame
) -> None:
    """Find out why a segment was sent again."""
    arrived = original.arrived
    heard = [
        f for f in conversation.peer(side).frames
        if f.arrived is not None and original.at < f.arrived <= frame.at
    ]  # fmt: skip
    again = Retransmission(
        frame,
        original,
        waited=frame.at - original.at,
        cause=_why_again(frame, original, heard),
        needless=arrived is not None and arrived < frame.at,
    )
    side.retransmissions.append(again)
    conversation.link(original.id, frame.id, LinkKind.RETRANSMITTED, again.cause)


def _why_again(frame: Frame, original: Frame, heard: list[Frame]) -> Cause:
    """Return why a segment was sent again; ``heard`` arrived between the two transmissions."""
    flags = frame.packet.flags
    if flags & SYN:
        at_once = [f for f in heard if f.packet.flags & SYN and frame.at - _last(f) < AT_ONCE]
        return Cause.SYN_REPEATED if flags & ACK and at_once else Cause.SYN_TIME_OUT
    duplicates = [
        f for f in heard
        if f.ack == original.seq and not f.packet.length and not f.packet.flags & (SYN | FIN)
    ]  # fmt: skip
    if len(duplicates) >= 3 or any(f.packet.sacks for f in heard):
        return Cause.DUPLICATE_ACKS
    return Cause.TIME_OUT if frame.packet.length else Cause.FIN_TIME_OUT


def _last(frame: Frame) -> int:
    """Return when the last copy of a frame arrived unharmed, or 0."""
    return max((a.at for a in frame.arrivals if not a.corrupted), default=0)


def _bytes_in(conversation: TcpConversation, side: Side) -> None:
    """Relate the bytes of each receiving call to the segments that brought them."""
    sender = conversation.peer(side)
    arrivals = sorted(
        (
            (a.at, f) for f in sender.frames for a in f.arrivals
            if not a.corrupted and f.packet.length and not f.forged
        ),
        key=lambda pair: (pair[0], pair[1].id),
    )  # fmt: skip
    arrived_bytes = ByteRangeSet()
    for _, frame in arrivals:
        start = frame.first_offset
        for first, last in arrived_bytes.add(start, start + frame.packet.length):
            sender.delivered_by.add(first, last, frame)
    at = 0
    receives = [c for c in side.calls if c.direction is Direction.IN and c.transferred]
    for call in sorted(receives, key=lambda c: c.latest_end):
        sender.received_by.add(at, at + call.transferred, call)
        for first, last, frame in sender.delivered_by.within(at, at + call.transferred):
            conversation.link(frame.id, call.id, LinkKind.DELIVERED, Cause.BYTES, first, last)
        at += call.transferred
    sender.bytes_received = at


def _opening(conversation: TcpConversation) -> None:
    """Relate connect() and accept() to the three segments of the handshake."""
    initiator, responder = conversation.sides
    syn = next(iter(initiator.syns), None)
    if syn is None:
        return
    for call in initiator.call("connect", "send", "sendto", "sendmsg"):
        # the SYN may leave later than a call that does not block returns: the address comes first
        if call.at <= syn.at and (call.name == "connect" or "FASTOPEN" in call.flags):
            conversation.link(call.id, syn.id, LinkKind.SENT, Cause.CONNECT)
            break
    connects = initiator.call("connect")
    answer = next((f for f in responder.syns if f.arrived is not None), None)
    if answer:
        asked = [f for f in initiator.syns if (f.arrived or NEVER) <= answer.at] or [syn]
        conversation.link(asked[-1].id, answer.id, LinkKind.ANSWERED, Cause.SYN)
        for call in connects:
            returned = not call.error and call.end is not None
            if returned and (answer.arrived or 0) <= call.latest_end:
                conversation.link(answer.id, call.id, LinkKind.RETURNED, Cause.SYN_ACK)
    confirm = conversation.confirmation
    for call in responder.call("accept"):
        if confirm and confirm.arrived is not None and not call.error:
            waited = call.at < confirm.arrived
            cause = Cause.HANDSHAKE_COMPLETE if waited else Cause.HANDSHAKE_WAS_COMPLETE
            conversation.link(confirm.id, call.id, LinkKind.RETURNED, cause)
            break
    for call in connects:
        if call.error in ("ECONNREFUSED", "ECONNRESET"):
            reset = next(
                (f for f in responder.resets if f.arrived and f.arrived <= call.latest_end), None
            )
            if reset:
                conversation.link(reset.id, call.id, LinkKind.FAILED, Cause.RST)


def _acknowledgements(conversation: TcpConversation) -> None:
    """Relate each acknowledgement of something new to the last segment that it acknowledges."""
    for side in conversation.sides:
        sent = [(f.seq + f.packet.span, f) for f in side.frames if f.packet.span and not f.forged]
        sent.sort(key=lambda pair: (pair[0], pair[1].id))
        ends = [end for end, _ in sent]
        highest = 0
        for frame in conversation.peer(side).frames:
            if frame.ack <= highest or frame.forged or frame.packet.flags & RST:
                continue
            highest = frame.ack
            for at in range(bisect_right(ends, frame.ack) - 1, -1, -1):
                done = sent[at][1]
                if done.arrived is not None and done.arrived <= frame.at:
                    conversation.link(
                        done.id, frame.id, LinkKind.ACKNOWLEDGED, Cause.ACKNOWLEDGEMENT
                    )
                    break


def _endings(conversation: TcpConversation) -> None:
    """Relate close() and shutdown() to FIN, and FIN to the receive that returned nothing."""
    for side in conversation.sides:
        fin = next(iter(side.fins), None)
        if fin is None:
            continue
        closes = [
            c for c in side.call("close", "shutdown")
            if c.at <= fin.at and not c.error and not c.shared and c.flags != "SHUT_RD"
        ]  # fmt: skip
        if closes:
            conversation.link(closes[0].id, fin.id, LinkKind.SENT, Cause.CLOSE)
        else:
            # the kernel closes before strace can say that the program is gone
            ender = _nearest_exit(conversation, side, fin.at)
            if ender:
                conversation.link(ender.id, fin.id, LinkKind.SENT, Cause.EXIT)
        came = [(f.arrived, f) for f in side.fins if f.arrived is not None]
        if not came:
            continue
        arrived, first = min(came, key=lambda pair: pair[0])
        for call in conversation.peer(side).calls:
            empty = call.direction is Direction.IN and call.result == 0 and call.requested != 0
            if empty and call.latest_end >= arrived:
                conversation.link(first.id, call.id, LinkKind.ENDED, Cause.FIN)
                break


def _nearest_exit(conversation: TcpConversation, side: Side, at: int) -> Process | None:
    """Return the end of the program that can have closed a socket then: the nearest in time."""
    near = [p for p in conversation.exits if p.host == side.host and abs(p.at - at) < NEAR]
    return min(near, key=lambda p: abs(p.at - at), default=None)


def _resets(conversation: TcpConversation) -> None:
    """Relate each RST to its cause, and the first one to the call that failed because of it."""
    for side in conversation.sides:
        for number, reset in enumerate(side.resets):
            _reset_cause(conversation, side, reset)
            if number or reset.arrived is None:
                continue
            for call in conversation.peer(side).calls:
                if call.error in ("ECONNRESET", "EPIPE") and call.latest_end >= reset.arrived:
                    if not conversation.cause_of(call, LinkKind.FAILED):
                        conversation.link(reset.id, call.id, LinkKind.FAILED, Cause.RST)
                    break


def _reset_cause(conversation: TcpConversation, side: Side, reset: Frame) -> None:
    """Relate a RST to its cause (RFC 9293 section 3.5.3, RFC 2525 section 2.17)."""
    peer = conversation.peer(side)
    before = [f for f in peer.frames if f.arrived is not None and f.arrived <= reset.at]
    last = before[-1] if before else None
    if last and last.packet.flags & SYN and not last.packet.flags & ACK:
        conversation.link(last.id, reset.id, LinkKind.REFUSED, Cause.NOT_LISTENING)
        return
    if not side.calls and side.host in conversation.watched:
        source = last or reset
        conversation.link(source.id, reset.id, LinkKind.UNACCEPTED, Cause.LISTENER_CLOSED)
        return
    closes = [
        c for c in side.call("close")
        if c.at <= reset.at and not c.shared and (c.end or 0) >= reset.at - 1_000_000
    ]  # fmt: skip
    first, end = unread_range(peer, reset.at)
    if closes:
        close = closes[-1]
        if end > first:
            cause = Cause.CLOSE_UNREAD
            conversation.link(close.id, reset.id, LinkKind.SENT, cause, first, end)
            return
        if conversation.is_set(side, "SO_LINGER"):
            conversation.link(close.id, reset.id, LinkKind.SENT, Cause.LINGER)
            return
        if last is not None and last.arrived is not None and close.at > last.arrived:
            conversation.link(close.id, reset.id, LinkKind.SENT, Cause.ABORT)
            return
    if last and any(c.at <= reset.at and not c.shared for c in side.call("close")):
        conversation.link(last.id, reset.id, LinkKind.PROVOKED, Cause.ALREADY_CLOSED)
        return
    ender = _nearest_exit(conversation, side, reset.at)
    if ender and end > first:
        conversation.link(ender.id, reset.id, LinkKind.SENT, Cause.EXIT_UNREAD, first, end)
    elif last:
        conversation.link(last.id, reset.id, LinkKind.PROVOKED, Cause.UNKNOWN_CONNECTION)


def _wakes(conversation: TcpConversation, polls: Sequence[Call]) -> None:
    """Relate the calls that wait for several sockets to the segments that ended their wait."""
    for side in conversation.sides:
        sender = conversation.peer(side)
        arrivals = sorted((f.arrived, f.id) for f in sender.frames if f.arrived is not None)
        if not arrivals:
            continue
        times = [at for at, _ in arrivals]
        confirm = conversation.confirmation if sender is conversation.initiator else None
        weighty = {f.id for f in sender.frames if f.packet.span or f.packet.flags & RST}
        for call in polls:
            if call.host != side.host or call.end is None:
                continue
            if (
                confirm and call.local and call.local[1] == side.end.port
                and call.at <= (confirm.arrived or 0) <= call.latest_end
            ):  # fmt: skip
                conversation.link(confirm.id, call.id, LinkKind.WOKE, Cause.ACCEPTABLE)
            if conversation.flow not in call.ready:
                continue
            found = arrivals[bisect_left(times, call.at) : bisect_right(times, call.latest_end)]
            chosen = next((i for _, i in found if i in weighty), found[-1][1] if found else None)
            if chosen is not None:
                cause = Cause.READABLE if chosen in weighty else Cause.WRITABLE
                conversation.link(chosen, call.id, LinkKind.WOKE, cause)
