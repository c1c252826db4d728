"""How bytes travel: sends, segments and receives need not match (RFC 9293 section 3.8)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from stretta.see.correlate.tcp import Side, TcpConversation, other
from stretta.see.events import Call, Frame
from stretta.see.explain.phrases import Found, TcpRule, bytes_, calls_of, duration, kernel, times
from stretta.see.packets import FIN, RST, SYN

__all__ = ["RULES"]

SHORT = 5_000_000
"""Nanoseconds: a wait below this is not worth a sentence."""


def _sides(conversation: TcpConversation) -> Iterator[tuple[Side, Side]]:
    for side in conversation.sides:
        yield side, conversation.side(other(side.host))


def _frames_of(side: Side) -> dict[int, list[tuple[int, int, Frame]]]:
    """Return the segments that carried each call's bytes first."""
    found: dict[int, list[tuple[int, int, Frame]]] = defaultdict(list)
    for first, last, call in side.sent_by:
        for a, b, frame in side.carried_by.within(first, last):
            found[call.id].append((a, b, frame))
    return found


def _by_id(calls: Iterator[Call]) -> dict[int, Call]:
    return {call.id: call for call in calls}


def segmented(conversation: TcpConversation) -> Iterator[Found]:
    """One send travelled in several segments."""
    for side, peer in _sides(conversation):
        limit = min((s.packet.mss for s in (*side.syns[:1], *peer.syns[:1])), default=0)
        frames = _frames_of(side)
        told = 0
        for _, _, call in side.sent_by:
            if told == 2:
                break
            carried = list({f.id: f for _, _, f in frames[call.id]}.values())
            if len(carried) > 1:
                most = max(f.packet.length for f in carried)
                less = limit - most
                why = f" (MSS {limit:,}, less {less} of options)" if 0 < less <= 40 else ""
                told += 1
                yield (
                    f"The {side.host} sent {bytes_(call.transferred)} in one {call.name}(); they"
                    f" travelled in {len(carried)} segments of at most {bytes_(most)}{why}.",
                    [call.id, *(f.id for f in carried[:8])],
                )


def coalesced(conversation: TcpConversation) -> Iterator[Found]:
    """One segment carried several sends."""
    for side, _ in _sides(conversation):
        told = 0
        for frame in side.frames:
            if not frame.packet.length or frame.retransmission_of is not None or told >= 3:
                continue
            start = frame.seq - 1
            calls = list(
                _by_id(
                    c for _, _, c in side.sent_by.within(start, start + frame.packet.length)
                ).values()
            )
            if len(calls) > 1 and frame.packet.length < 1000:
                told += 1
                yield (
                    f"One segment carries the bytes of {calls_of(calls)}:"
                    f" {kernel(side.host)} sent together what it had.",
                    [frame.id, *(c.id for c in calls[:8])],
                )


def received_together(conversation: TcpConversation) -> Iterator[Found]:
    """One receive returned the bytes of several sends."""
    for side, peer in _sides(conversation):
        for first, last, call in side.received_by:
            calls = list(_by_id(c for _, _, c in side.sent_by.within(first, last)).values())
            if len(calls) > 1:
                yield (
                    f"One {call.name}() of the {peer.host} returned the bytes of"
                    f" {calls_of(calls)}: TCP is a stream of bytes and keeps no message apart.",
                    [call.id, *(c.id for c in calls[:8])],
                )
                break


def received_apart(conversation: TcpConversation) -> Iterator[Found]:
    """One send took several receives."""
    for side, peer in _sides(conversation):
        for first, last, call in side.sent_by:
            taken = list(_by_id(c for _, _, c in side.received_by.within(first, last)).values())
            if len(taken) > 1:
                yield (
                    f"The {bytes_(call.transferred)} of one {call.name}() came out of"
                    f" {calls_of(taken)} at the {peer.host}: who wants a whole message"
                    " must know its length, and go on until it is there.",
                    [taken[0].id, call.id],
                )
                break


def partial_send(conversation: TcpConversation) -> Iterator[Found]:
    """send() took less than it was given."""
    for side in conversation.sides:
        calls = [
            c
            for c in side.calls
            if c.direction == "out"
            and c.name != "sendfile"
            and c.requested
            and 0 < c.transferred < c.requested
        ]
        for call in calls[:1]:
            more = f" It happened {times(len(calls))}." if len(calls) > 1 else ""
            yield (
                f"{call.name}() took {call.transferred:,} of {bytes_(call.requested or 0)}: the kernel's"  # noqa: E501
                " send buffer was full. The rest was not sent, and is the program's to send"
                f" again; that is what sendall() does.{more}",
                [call.id, *(c.id for c in calls[1:4])],
            )


def send_blocked(conversation: TcpConversation) -> Iterator[Found]:
    """A sending call had to wait for room."""
    for side, peer in _sides(conversation):
        for call in side.calls:
            if call.direction != "out" or call.duration < 20_000_000 or not call.transferred:
                continue
            offers = [(f.at, w) for f, w in peer.windows if f.at <= call.latest_end]
            during = [w for at, w in offers if at >= call.at]
            low = min((*(w for at, w in offers[-1 - len(during) :]),), default=None)
            why = "faster than the wire carries them"
            if low is not None and low < 2 * 1460:
                why = f"faster than the {peer.host}'s program reads them"
            yield (
                f"{call.name}() of {bytes_(call.requested or call.transferred)} blocked for"
                f" {duration(call.duration)}: the kernel's send buffer was full, as bytes were given"  # noqa: E501
                f" {why}.",
                [call.id],
            )
            break


def would_block(conversation: TcpConversation) -> Iterator[Found]:
    """A call on a socket that does not block found nothing to do."""
    for side in conversation.sides:
        for way, what in (("out", "room to send"), ("in", "anything to read")):
            calls = [
                c for c in side.calls if c.direction == way and c.error in ("EAGAIN", "EWOULDBLOCK")
            ]
            if calls:
                yield (
                    f"{calls[0].name}() returned EAGAIN {times(len(calls))}: the socket does not"
                    f" block, and there was not {what} yet.",
                    [calls[0].id],
                )


def zero_window(conversation: TcpConversation) -> Iterator[Found]:
    """The receiver's buffer was full."""
    for side, peer in _sides(conversation):
        shut = next(
            (f for f, w in side.windows if w == 0 and not f.packet.flags & (SYN | RST)), None
        )
        if shut is None:
            continue
        opened = next((f for f, w in side.windows if w > 0 and f.at > shut.at), None)
        until = opened.at if opened else 2**62
        probes = [f for f in peer.frames if shut.at < f.at < until and _is_probe(f, side)]
        heard = ""
        if probes:
            heard = (
                f" The {peer.host} asked {times(len(probes))} meanwhile whether there was room"
                " (RFC 9293 section 3.8.6.1)."
            )
        end = (
            f"It offered room again after {duration(opened.at - shut.at)}."
            if opened
            else "It never offered room again."
        )
        yield (
            f"The {side.host}'s program did not read as fast as bytes came, its kernel's buffer"
            f" was full, and it offered a window of 0: the {peer.host} must not send. {end}{heard}",
            [shut.id, *([opened.id] if opened else [])],
        )


def _is_probe(frame: Frame, side: Side) -> bool:
    """Return whether a segment only asks for a new acknowledgement: nothing new, out of place.

    Linux sends the number before the first unacknowledged byte, and no byte; others, one byte.
    """
    if frame.packet.flags & (SYN | FIN | RST) or frame.packet.length > 1 or frame.forged:
        return False
    acked = max((f.ack for f in side.frames if (f.arrived or 2**63) <= frame.at), default=0)
    return frame.seq < acked or (frame.seq == acked and frame.packet.length == 1)


def nagle(conversation: TcpConversation) -> Iterator[Found]:
    """A small segment waited for an acknowledgement."""
    for side, peer in _sides(conversation):
        if side.host not in conversation.watched or any(
            conversation.is_set(side, option) for option in ("TCP_NODELAY", "TCP_CORK")
        ):
            continue
        limit = min((s.packet.mss for s in (*side.syns[:1], *peer.syns[:1])), default=0) - 40
        carriers = _frames_of(side)
        for first, last, call in side.sent_by:
            frames = [f for _, _, f in carriers[call.id]] if call.transferred < limit else []
            if not frames or frames[0].at - call.latest_end < 10_000_000 or call.end is None:
                continue
            ack = _released_by(side, peer, first, last, call, frames[0])
            if ack and "MSG_MORE" not in call.flags:
                yield (
                    f"The {bytes_(call.transferred)} of this {call.name}() waited"
                    f" {duration(frames[0].at - call.at)} in {kernel(side.host)}: a small segment"
                    " is not sent while another is unacknowledged (Nagle, RFC 9293 section"
                    " 3.7.4); it left when the acknowledgement came. TCP_NODELAY would send it"
                    " at once.",
                    [call.id, ack.id, frames[0].id],
                )
                return


def _released_by(
    side: Side, peer: Side, first: int, last: int, call: Call, frame: Frame
) -> Frame | None:
    """Return the acknowledgement that a send's bytes can only have waited for, or None.

    Nothing else may have held them: bytes before them not sent yet, the windows, a repair.
    """
    last_before = next((f for _, _, f in side.carried_by.within(first - 1, first)), None)
    if last_before is None or last_before.at > call.latest_end:
        return None
    before = [f for f in side.frames if f.at <= call.latest_end and f.packet.length]
    if any(r.frame.at <= frame.at for r in side.retransmissions if r.frame.packet.length):
        return None
    heard = [f for f in peer.frames if f.arrived is not None and f.arrived <= frame.at]
    ack = max(heard, key=lambda f: f.arrived or 0, default=None)
    earlier = [f for f in heard if (f.arrived or 0) <= call.latest_end]
    known = max((f.ack for f in earlier), default=0)
    flight = [f for f in before if f.seq + f.packet.length > known]
    room = next((w for f, w in reversed(peer.windows) if f in earlier), 0)
    if ack is None or ack in earlier or not 0 < len(flight) < 10 or room < last - known:
        return None
    released = 0 <= frame.at - (ack.arrived or 0) < 2_000_000
    return ack if released and ack.ack > first else None


def delayed_ack(conversation: TcpConversation) -> Iterator[Found]:
    """An acknowledgement waited for a reply to ride on."""
    for side, peer in _sides(conversation):
        acknowledged = {k.target: k.source for k in conversation.links if k.kind == "acknowledged"}
        theirs = {f.id: f for f in peer.frames}
        for frame in side.frames:
            if frame.packet.span or frame.packet.flags & (SYN | RST) or frame.forged:
                continue
            done = theirs.get(acknowledged.get(frame.id, -1))
            if done and done.arrived is not None and done.packet.length:
                wait = frame.at - done.arrived
                if 30_000_000 <= wait <= 500_000_000:
                    yield (
                        f"{kernel(side.host).capitalize()} waited {duration(wait)} with this"
                        " acknowledgement, in case a reply would carry it (delayed ACK, RFC 1122"
                        " section 4.2.3.2).",
                        [frame.id, done.id],
                    )
                    return


def piggyback(conversation: TcpConversation) -> Iterator[Found]:
    """The acknowledgement rode on a reply."""
    for side, peer in _sides(conversation):
        ours = {f.id: f for f in side.frames if f.packet.length}
        theirs = {f.id: f for f in peer.frames if f.packet.length}
        for link in conversation.links:
            frame, done = ours.get(link.target), theirs.get(link.source)
            if link.kind == "acknowledged" and frame and done:
                yield (
                    "No segment of its own was needed to acknowledge these bytes: the"
                    f" acknowledgement rode on the {side.host}'s reply.",
                    [frame.id, done.id],
                )
                return


def receive_waited(conversation: TcpConversation) -> Iterator[Found]:
    """What a receiving call waited for."""
    for side, peer in _sides(conversation):
        told = 0
        for first, _, call in side.received_by:
            if call.duration < SHORT or told >= 3 or "MSG_WAITALL" in call.flags:
                continue
            landed = next((f for _, _, f in side.delivered_by.within(first, first + 1)), None)
            given = next((c for _, _, c in side.sent_by.within(first, first + 1)), None)
            if landed is None or landed.arrived is None or landed.arrived <= call.at:
                continue
            told += 1
            original = next((f for _, _, f in side.carried_by.within(first, first + 1)), landed)
            steps = [(landed.arrived, "on the way")]
            if landed is not original:
                steps.append((landed.at, "until the bytes were sent again"))
            steps.append((original.at, f"until {kernel(side.host)} sent the bytes"))
            if given:
                steps.append((given.at, f"until the {side.host} called {given.name}()"))
            parts, at, least = [], call.at, max(500_000, call.duration // 200)
            for step, what in reversed(steps):
                if step - at > least:
                    parts.append(f"{duration(step - at)} {what}")
                at = max(at, step)
            if call.at + call.duration - at > least:
                parts.append(
                    f"{duration(call.at + call.duration - at)} until the machine ran it on"
                )
            why = ", ".join(parts) or f"for bytes that the {side.host} sent"
            yield (
                f"{call.name}() of the {peer.host} waited {duration(call.duration)}: {why}.",
                [call.id, landed.id, *([given.id] if given else [])],
            )


RULES: dict[str, TcpRule] = {
    "segmented": segmented,
    "coalesced": coalesced,
    "received-together": received_together,
    "received-apart": received_apart,
    "partial-send": partial_send,
    "send-blocked": send_blocked,
    "would-block": would_block,
    "zero-window": zero_window,
    "nagle": nagle,
    "delayed-ack": delayed_ack,
    "piggyback": piggyback,
    "receive-waited": receive_waited,
}
