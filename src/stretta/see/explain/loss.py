"""What TCP does about loss, damage, doubling and disorder (RFC 6298, 5681, 6675, 8985)."""

from __future__ import annotations

from collections.abc import Iterator

from stretta.see.correlate.tcp import Retransmission, Side, TcpConversation, other
from stretta.see.events import Frame
from stretta.see.explain.phrases import Found, TcpRule, bytes_, duration, fate, kernel, times
from stretta.see.packets import FIN, RST

__all__ = ["RULES"]


def _data_repeats(side: Side, cause: str) -> list[Retransmission]:
    return [
        r
        for r in side.retransmissions
        if r.cause == cause and r.frame.packet.length and not r.needless
    ]


def time_out(conversation: TcpConversation) -> Iterator[Found]:
    """A segment was sent again after a time-out."""
    for side in conversation.sides:
        for repeat in _data_repeats(side, "time-out")[:3]:
            again = next((r for r in side.retransmissions if r.original is repeat.frame), None)
            if again is None or repeat.original.retransmission_of is None:
                size = repeat.frame.packet.length
                unseen = " The programs saw nothing of it but time." if repeat.frame.arrived else ""
                yield (
                    f"{bytes_(size)} {'was' if size == 1 else 'were'} sent again after"
                    f" {duration(repeat.waited)}: the segment"
                    f" {fate(conversation.faults, repeat.original)}, and no acknowledgement came in time"  # noqa: E501
                    " (RFC 6298; for the last segment of a burst the kernel may ask sooner, RFC"
                    f" 8985).{unseen}",
                    [repeat.frame.id, repeat.original.id],
                )


def back_off(conversation: TcpConversation) -> Iterator[Found]:
    """Each further time-out is longer."""
    for side in conversation.sides:
        chain: list[Retransmission] = []
        for repeat in [r for r in side.retransmissions if r.cause != "duplicate-acks"]:
            if chain and repeat.original.id == chain[-1].frame.id:
                chain.append(repeat)
            else:
                chain = [repeat]
            if len(chain) == 2 and chain[1].waited > 1.5 * chain[0].waited:
                waits = ", ".join(duration(r.waited) for r in chain)
                yield (
                    f"Sent again and again, each time after a longer wait ({waits}, ...): the"
                    " time-out doubles, so that a network in trouble is left alone (RFC 6298"
                    " section 5.5).",
                    [r.frame.id for r in chain],
                )
                break


def fast(conversation: TcpConversation) -> Iterator[Found]:
    """A segment was sent again without waiting for a time-out."""
    for side in conversation.sides:
        repeats = _data_repeats(side, "duplicate-acks")
        for repeat in repeats[:1]:
            more = f" {len(repeats)} segments were repaired like this." if len(repeats) > 1 else ""
            yield (
                f"Sent again after only {duration(repeat.waited)}: the segment"
                f" {fate(conversation.faults, repeat.original)}, and acknowledgements of later ones said"  # noqa: E501
                f" that it was missing (fast retransmit, RFC 5681; SACK, RFC 6675).{more}",
                [repeat.frame.id, repeat.original.id],
            )


def needless(conversation: TcpConversation) -> Iterator[Found]:
    """What was sent again had arrived."""
    for side in conversation.sides:
        for repeat in [r for r in side.retransmissions if r.needless and r.frame.packet.length][:1]:
            peer = conversation.side(other(side.host))
            ack = next(
                (
                    f
                    for f in peer.frames
                    if f.ack > repeat.original.seq and repeat.original.at < f.at < repeat.frame.at
                ),
                None,
            )
            why = "its acknowledgement had not come yet"
            if ack and ack.arrived is None:
                why = f"its acknowledgement {fate(conversation.faults, ack)}"
            yield (
                f"Sent again for nothing: the segment had arrived, but {why}."
                f" {kernel(peer.host).capitalize()} threw the second copy away by its sequence"
                " number.",
                [repeat.frame.id, repeat.original.id],
            )


def lost_ack(conversation: TcpConversation) -> Iterator[Found]:
    """A lost acknowledgement did no harm."""
    for side in conversation.sides:
        peer = conversation.side(other(side.host))
        for frame in side.frames:
            plain = not frame.packet.span and not frame.packet.flags & RST and not frame.forged
            if not plain or frame.arrivals or frame.ack <= 1:
                continue
            later = next(
                (f for f in side.frames if f.at > frame.at and f.ack >= frame.ack and f.arrived),
                None,
            )
            blamed = any(
                r.needless and frame.at < r.frame.at and r.original.seq < frame.ack
                for r in peer.retransmissions
            )
            if later and not blamed:
                yield (
                    f"This acknowledgement {fate(conversation.faults, frame)}, and it did no harm: the"  # noqa: E501
                    " next one says everything that it said.",
                    [frame.id, later.id],
                )
                return


def corrupted(conversation: TcpConversation) -> Iterator[Found]:
    """A damaged segment is a lost one."""
    for side in conversation.sides:
        for frame in side.frames:
            if any(a.corrupted for a in frame.arrivals) and frame.arrived is None:
                yield (
                    "One bit of this segment changed on the wire. Its checksum no longer fitted,"
                    f" and {kernel(other(side.host))} dropped it without a word: damage looks"
                    " like loss.",
                    [frame.id],
                )
                return


def doubled(conversation: TcpConversation) -> Iterator[Found]:
    """A segment that came twice."""
    for side in conversation.sides:
        for frame in side.frames:
            if len(frame.arrivals) > 1 and frame.packet.length:
                yield (
                    f"The wire delivered this segment {times(len(frame.arrivals))}. The sequence"
                    " numbers give the second copy away: the program got its bytes once.",
                    [frame.id],
                )
                return


def overtaken(conversation: TcpConversation) -> Iterator[Found]:
    """Segments that came in another order."""
    for side in conversation.sides:
        highest: Frame | None = None
        data = [f for f in side.frames if f.packet.length and f.arrived is not None]
        for frame in sorted(data, key=lambda f: f.arrived or 0):
            if highest and frame.seq < highest.seq and frame.at < highest.at:
                yield (
                    "This segment was overtaken by a later one."
                    f" {kernel(other(side.host)).capitalize()} kept the later one until the gap"
                    " was filled: the program got the bytes in order.",
                    [frame.id, highest.id],
                )
                return
            if highest is None or frame.seq > highest.seq:
                highest = frame


def lost_fin(conversation: TcpConversation) -> Iterator[Found]:
    """A FIN that was lost."""
    for side in conversation.sides:
        for repeat in side.retransmissions:
            if repeat.frame.packet.flags & FIN and repeat.original.arrived is None:
                cause = [k.source for k in conversation.links if k.target == repeat.original.id]
                call = next((c for c in side.calls if c.id in cause), None)
                done = ""
                if call and call.end is not None and call.end < repeat.frame.at:
                    done = f" {call.name}() had returned long before."
                yield (
                    f"The FIN {fate(conversation.faults, repeat.original)}; a FIN takes a sequence"
                    " number as a byte does, so it was sent again after"
                    f" {duration(repeat.waited)}. The kernel does this alone.{done}",
                    [repeat.frame.id, repeat.original.id],
                )
                return


def unplugged(conversation: TcpConversation) -> Iterator[Found]:
    """The wire was cut."""
    ours = {f.id: f for side in conversation.sides for f in side.frames}
    cuts: dict[str, list[Frame]] = {}
    for fault in conversation.faults.values():
        if fault.effect == "cut" and fault.frame in ours:
            cuts.setdefault(fault.by, []).append(ours[fault.frame])
    for option, lost in cuts.items():
        lost.sort(key=lambda f: f.at)
        before, since = lost[0].at, lost[-1].at
        ended = any(f.packet.flags & (FIN | RST) and f.at < since for f in ours.values())
        after = next((f for f in ours.values() if f.arrived is not None and f.at > since), None)
        words = [
            f"The wire was unplugged ({option}, counted from the client's start), and {len(lost)}"
            f" frame{'s of this conversation were' if len(lost) > 1 else ' was'} lost."
        ]
        if conversation.established is not None and conversation.established < before and not ended:
            stayed = ": it stayed open" if after and not after.packet.flags & RST else ""
            words.append(f"A connection is state at its two ends, not a wire{stayed}.")
        if after:
            words.append(
                f"The first frame that got through again left {duration(after.at - before)} after"
                " the first that was lost."
            )
        else:
            words.append("Neither end is told: to each the other is only silent.")
        yield " ".join(words), [lost[0].id, *([after.id] if after else [])]


def forged(conversation: TcpConversation) -> Iterator[Found]:
    """Somebody on the way reset the connection."""
    made = [f for side in conversation.sides for f in side.frames if f.forged]
    if made:
        stopped = [f for f in conversation.faults.values() if f.effect == "reset"]
        yield (
            "Neither program and neither kernel sent this RST: something on the way did, to both"
            " ends, each in the other's name. Neither can tell the difference.",
            [stopped[0].frame if stopped else made[0].id, *(f.id for f in made)],
        )


def queue_full(conversation: TcpConversation) -> Iterator[Found]:
    """A slow wire's queue overflowed."""
    ours = {f.id for side in conversation.sides for f in side.frames}
    full = [f for f in conversation.faults.values() if f.effect == "queue-full" and f.frame in ours]
    if full:
        yield (
            f"The slow wire's queue was full, and {len(full)} segments found no place in it: this"
            " is how congestion loses segments, and how TCP learns of it.",
            [full[0].frame],
        )


def gave_up(conversation: TcpConversation) -> Iterator[Found]:
    """A call failed because nothing was acknowledged any more."""
    for side in conversation.sides:
        for call in side.calls:
            if call.error == "ETIMEDOUT" and call.name != "connect":
                yield (
                    f"{call.name}() failed with ETIMEDOUT: {kernel(side.host)} had sent the same"
                    " bytes again and again, and gave the connection up.",
                    [call.id],
                )
                return


def held(conversation: TcpConversation) -> Iterator[Found]:
    """Bytes that had come waited behind a gap."""
    for side in conversation.sides:
        peer = conversation.side(other(side.host))
        mended = [(a, f) for a, _, f in side.delivered_by if f.retransmission_of is not None]
        for first, last, frame in side.delivered_by if mended else ():
            taken = next(iter(side.received_by.within(first, last)), None)
            if taken is None or frame.arrived is None:
                continue
            gap = [f for a, f in mended if a < first and (f.arrived or 0) > frame.arrived]
            if gap and taken[2].latest_end > (gap[0].arrived or 0):
                wait = (gap[0].arrived or 0) - frame.arrived
                if wait > 1_000_000:
                    yield (
                        f"These bytes had come, but {kernel(peer.host)} held them for"
                        f" {duration(wait)}: bytes before them were missing, and a stream is read"
                        " in order (head-of-line blocking).",
                        [frame.id, gap[0].id, taken[2].id],
                    )
                    return


RULES: dict[str, TcpRule] = {
    "time-out": time_out,
    "back-off": back_off,
    "fast-retransmit": fast,
    "needless-retransmission": needless,
    "lost-ack": lost_ack,
    "corrupted": corrupted,
    "doubled": doubled,
    "overtaken": overtaken,
    "lost-fin": lost_fin,
    "unplugged": unplugged,
    "forged-reset": forged,
    "queue-full": queue_full,
    "gave-up": gave_up,
    "held-behind-gap": held,
}
