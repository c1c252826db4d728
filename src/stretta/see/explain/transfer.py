"""How bytes travel: sends, segments and receives need not match (RFC 9293 section 3.8)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from stretta.see.correlate.conversation import Side, TcpConversation
from stretta.see.events import NEVER, Call, Direction, Frame, LinkKind
from stretta.see.explain.phrases import Found, Phrase, TcpRule, phrase
from stretta.see.packets import FIN, RST, SYN

__all__ = ["RULES"]

SHORT = 5_000_000
"""Nanoseconds: a wait below this is not worth a sentence."""

BLOCKED = 20_000_000
"""Nanoseconds from which on a send was waiting for room."""

SMALL_WINDOW = 2 * 1460
"""Bytes: a receiver that offers less does not read as fast as bytes arrive."""


def _sides(conversation: TcpConversation) -> Iterator[tuple[Side, Side]]:
    for side in conversation.sides:
        yield side, conversation.peer(side)


def _mss(side: Side, peer: Side) -> int:
    """Return the largest segment that both ends announced to take, or 0."""
    return min((s.packet.mss for s in (*side.syns[:1], *peer.syns[:1])), default=0)


def _frames_of(side: Side) -> dict[int, list[Frame]]:
    """Return the segments that carried each call's bytes first."""
    found: dict[int, list[Frame]] = defaultdict(list)
    for first, last, call in side.sent_by:
        for _, _, frame in side.carried_by.within(first, last):
            found[call.id].append(frame)
    return found


def _once(calls: Iterable[tuple[int, int, Call]]) -> list[Call]:
    """Return the owners of some ranges, each once."""
    return list({call.id: call for _, _, call in calls}.values())


def segmented(conversation: TcpConversation) -> Iterator[Found]:
    """One send travelled in several segments."""
    for side, peer in _sides(conversation):
        frames = _frames_of(side)
        reported = 0
        for _, _, call in side.sent_by:
            carried = list({f.id: f for f in frames[call.id]}.values())
            if len(carried) < 2 or reported == 2:
                continue
            reported += 1
            limit, most = _mss(side, peer), max(f.packet.length for f in carried)
            options = limit - most
            why = phrase("segmented.mss", limit=limit, options=options)
            yield (
                phrase(
                    "segmented",
                    host=side.host,
                    size=call.transferred,
                    name=call.name,
                    count=len(carried),
                    most=most,
                    why=why if 0 < options <= 40 else None,
                ),
                [call.id, *(f.id for f in carried[:8])],
            )


def coalesced(conversation: TcpConversation) -> Iterator[Found]:
    """One segment carried several sends."""
    for side in conversation.sides:
        reported = 0
        for frame in side.frames:
            size = frame.packet.length
            if not 0 < size < 1000 or frame.retransmission_of is not None or reported >= 3:
                continue
            start = frame.first_offset
            calls = _once(side.sent_by.within(start, start + size))
            if len(calls) > 1:
                reported += 1
                yield (
                    phrase("coalesced", calls=calls, host=side.host),
                    [frame.id, *(c.id for c in calls[:8])],
                )


def received_together(conversation: TcpConversation) -> Iterator[Found]:
    """One receive returned the bytes of several sends."""
    for side, peer in _sides(conversation):
        for first, last, call in side.received_by:
            calls = _once(side.sent_by.within(first, last))
            if len(calls) > 1:
                yield (
                    phrase("received-together", name=call.name, host=peer.host, calls=calls),
                    [call.id, *(c.id for c in calls[:8])],
                )
                break


def received_apart(conversation: TcpConversation) -> Iterator[Found]:
    """One send took several receives."""
    for side, peer in _sides(conversation):
        for first, last, call in side.sent_by:
            calls = _once(side.received_by.within(first, last))
            if len(calls) > 1:
                yield (
                    phrase(
                        "received-apart",
                        size=call.transferred,
                        name=call.name,
                        calls=calls,
                        host=peer.host,
                    ),
                    [calls[0].id, call.id],
                )
                break


def partial_send(conversation: TcpConversation) -> Iterator[Found]:
    """send() took less than it was given."""
    for side in conversation.sides:
        calls = [
            c for c in side.calls
            if c.direction is Direction.OUT and c.name != "sendfile"
            and c.requested and 0 < c.transferred < c.requested
        ]  # fmt: skip
        for call in calls[:1]:
            more = phrase("partial-send.more", count=len(calls)) if len(calls) > 1 else None
            yield (
                phrase(
                    "partial-send",
                    name=call.name,
                    taken=call.transferred,
                    size=call.requested,
                    more=more,
                ),
                [call.id, *(c.id for c in calls[1:4])],
            )


def send_blocked(conversation: TcpConversation) -> Iterator[Found]:
    """A sending call had to wait for room."""
    for side, peer in _sides(conversation):
        for call in side.calls:
            sent = call.direction is Direction.OUT and call.transferred
            if not sent or call.duration < BLOCKED:
                continue
            offers = [(f.at, w) for f, w in peer.windows if f.at <= call.latest_end]
            during = [w for at, w in offers if at >= call.at]
            low = min((w for _, w in offers[-1 - len(during) :]), default=None)
            slow_reader = low is not None and low < SMALL_WINDOW
            yield (
                phrase(
                    "send-blocked",
                    name=call.name,
                    size=call.requested or call.transferred,
                    wait=call.duration,
                    why=phrase(
                        "send-blocked.reader" if slow_reader else "send-blocked.wire",
                        host=peer.host,
                    ),
                ),
                [call.id],
            )
            break


def would_block(conversation: TcpConversation) -> Iterator[Found]:
    """A call on a socket that does not block found nothing to do."""
    for side in conversation.sides:
        for direction, key in (
            (Direction.OUT, "would-block.send"),
            (Direction.IN, "would-block.receive"),
        ):
            calls = [
                c for c in side.calls
                if c.direction is direction and c.error in ("EAGAIN", "EWOULDBLOCK")
            ]  # fmt: skip
            if calls:
                yield phrase(key, name=calls[0].name, count=len(calls)), [calls[0].id]


def zero_window(conversation: TcpConversation) -> Iterator[Found]:
    """The receiver's buffer was full."""
    for side, peer in _sides(conversation):
        shut = next(
            (f for f, w in side.windows if w == 0 and not f.packet.flags & (SYN | RST)), None
        )
        if shut is None:
            continue
        opened = next((f for f, w in side.windows if w > 0 and f.at > shut.at), None)
        until = opened.at if opened else NEVER
        probes = [f for f in peer.frames if shut.at < f.at < until and _is_probe(f, side)]
        asked = phrase("zero-window.probes", host=peer.host, count=len(probes)) if probes else None
        end = phrase("zero-window.shut")
        if opened:
            end = phrase("zero-window.opened", wait=opened.at - shut.at)
        yield (
            phrase("zero-window", host=side.host, peer=peer.host, end=end, asked=asked),
            [shut.id, *([opened.id] if opened else [])],
        )


def _is_probe(frame: Frame, side: Side) -> bool:
    """Return whether a segment only asks for a new acknowledgement: a window probe.

    Linux sends the number before the first unacknowledged byte, and no byte; others, one byte.
    """
    if frame.packet.flags & (SYN | FIN | RST) or frame.packet.length > 1 or frame.forged:
        return False
    acked = max((f.ack for f in side.frames if (f.arrived or NEVER) <= frame.at), default=0)
    return frame.seq < acked or (frame.seq == acked and frame.packet.length == 1)


def nagle(conversation: TcpConversation) -> Iterator[Found]:
    """A small segment waited for an acknowledgement."""
    for side, peer in _sides(conversation):
        if side.host not in conversation.watched or any(
            conversation.is_set(side, option) for option in ("TCP_NODELAY", "TCP_CORK")
        ):
            continue
        limit = _mss(side, peer) - 40
        carriers = _frames_of(side)
        for first, last, call in side.sent_by:
            frames = carriers[call.id] if call.transferred < limit else []
            if not frames or frames[0].at - call.latest_end < 10_000_000 or call.end is None:
                continue
            ack = _released_by(side, peer, first, last, call, frames[0])
            if ack and "MSG_MORE" not in call.flags:
                yield (
                    phrase(
                        "nagle",
                        size=call.transferred,
                        name=call.name,
                        wait=frames[0].at - call.at,
                        host=side.host,
                    ),
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
    earlier_ids = {f.id for f in earlier}
    room = next((w for f, w in reversed(peer.windows) if f.id in earlier_ids), 0)
    if ack is None or ack.id in earlier_ids or not 0 < len(flight) < 10 or room < last - known:
        return None
    released = 0 <= frame.at - (ack.arrived or 0) < 2_000_000
    return ack if released and ack.ack > first else None


def delayed_ack(conversation: TcpConversation) -> Iterator[Found]:
    """An acknowledgement waited for a reply to ride on."""
    for side, peer in _sides(conversation):
        acknowledged = {
            k.target: k.source for k in conversation.links if k.kind is LinkKind.ACKNOWLEDGED
        }
        theirs = {f.id: f for f in peer.frames}
        for frame in side.frames:
            if frame.packet.span or frame.packet.flags & (SYN | RST) or frame.forged:
                continue
            done = theirs.get(acknowledged.get(frame.id, -1))
            if done and done.arrived is not None and done.packet.length:
                wait = frame.at - done.arrived
                if 30_000_000 <= wait <= 500_000_000:
                    yield phrase("delayed-ack", host=side.host, wait=wait), [frame.id, done.id]
                    return


def piggyback(conversation: TcpConversation) -> Iterator[Found]:
    """The acknowledgement rode on a reply."""
    for side, peer in _sides(conversation):
        ours = {f.id: f for f in side.frames if f.packet.length}
        theirs = {f.id: f for f in peer.frames if f.packet.length}
        for link in conversation.links:
            frame, done = ours.get(link.target), theirs.get(link.source)
            if link.kind is LinkKind.ACKNOWLEDGED and frame and done:
                yield phrase("piggyback", host=side.host), [frame.id, done.id]
                return


def receive_waited(conversation: TcpConversation) -> Iterator[Found]:
    """The parts of a receiving call's wait."""
    for side, peer in _sides(conversation):
        reported = 0
        for first, _, call in side.received_by:
            if call.duration < SHORT or reported >= 3 or "MSG_WAITALL" in call.flags:
                continue
            delivery = next((f for _, _, f in side.delivered_by.within(first, first + 1)), None)
            if delivery is None or delivery.arrived is None or delivery.arrived <= call.at:
                continue
            reported += 1
            given = next((c for _, _, c in side.sent_by.within(first, first + 1)), None)
            parts = _parts_of_wait(side, first, call, delivery, given)
            yield (
                phrase(
                    "receive-waited" if parts else "receive-waited.plain",
                    name=call.name,
                    host=peer.host,
                    wait=call.duration,
                    parts=parts,
                    peer=side.host,
                ),
                [call.id, delivery.id, *([given.id] if given else [])],
            )


def _parts_of_wait(
    side: Side, first: int, call: Call, delivery: Frame, given: Call | None
) -> list[Phrase]:
    """Return the parts of a receiving call's wait, in order of time."""
    original = next((f for _, _, f in side.carried_by.within(first, first + 1)), delivery)
    ends: list[tuple[int, Phrase]] = []
    if given:
        ends.append((given.at, phrase("wait.call", host=side.host, name=given.name)))
    ends.append((original.at, phrase("wait.kernel", host=side.host)))
    if delivery.id != original.id:
        ends.append((delivery.at, phrase("wait.again")))
    ends.append((delivery.arrived or 0, phrase("wait.wire")))
    ends.append((call.at + call.duration, phrase("wait.scheduler")))
    parts, at, least = [], call.at, max(500_000, call.duration // 200)
    for end, what in ends:
        if end - at > least:
            parts.append(phrase("wait", wait=end - at, what=what))
        at = max(at, end)
    return parts


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
