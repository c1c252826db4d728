"""What TCP does about loss, damage, duplicates and disorder (RFC 6298, 5681, 6675, 8985)."""

from __future__ import annotations

from collections.abc import Iterator

from stretta.see.correlate.conversation import Retransmission, Side, TcpConversation
from stretta.see.events import Cause, Effect, Frame
from stretta.see.explain.phrases import Found, TcpRule, fate, phrase
from stretta.see.packets import FIN, RST

__all__ = ["RULES"]


def _repairs(side: Side, cause: Cause) -> list[Retransmission]:
    """Return the retransmissions of bytes that were really missing."""
    return [
        r for r in side.retransmissions
        if r.cause is cause and r.frame.packet.length and not r.needless
    ]  # fmt: skip


def time_out(conversation: TcpConversation) -> Iterator[Found]:
    """A segment was sent again after a time-out."""
    for side in conversation.sides:
        originals = {r.original.id for r in side.retransmissions}
        for again in _repairs(side, Cause.TIME_OUT)[:3]:
            last = again.frame.id not in originals
            if last or again.original.retransmission_of is None:
                unseen = phrase("time-out.unseen") if again.frame.arrived else None
                yield (
                    phrase(
                        "time-out",
                        size=again.frame.packet.length,
                        wait=again.waited,
                        fate=fate(conversation.faults, again.original),
                        unseen=unseen,
                    ),
                    [again.frame.id, again.original.id],
                )


def back_off(conversation: TcpConversation) -> Iterator[Found]:
    """Each further time-out is longer."""
    for side in conversation.sides:
        chain: list[Retransmission] = []
        for again in side.retransmissions:
            if again.cause is Cause.DUPLICATE_ACKS:
                continue
            if chain and again.original.id == chain[-1].frame.id:
                chain.append(again)
            else:
                chain = [again]
            if len(chain) == 2 and chain[1].waited > 1.5 * chain[0].waited:
                waits = [phrase("time", wait=r.waited) for r in chain]
                yield phrase("back-off", waits=waits), [r.frame.id for r in chain]
                break


def fast(conversation: TcpConversation) -> Iterator[Found]:
    """A segment was sent again without waiting for a time-out."""
    for side in conversation.sides:
        repairs = _repairs(side, Cause.DUPLICATE_ACKS)
        for again in repairs[:1]:
            more = phrase("fast-retransmit.more", count=len(repairs)) if len(repairs) > 1 else None
            yield (
                phrase(
                    "fast-retransmit",
                    wait=again.waited,
                    fate=fate(conversation.faults, again.original),
                    more=more,
                ),
                [again.frame.id, again.original.id],
            )


def needless(conversation: TcpConversation) -> Iterator[Found]:
    """The bytes that were sent again had arrived."""
    for side in conversation.sides:
        for again in [r for r in side.retransmissions if r.needless and r.frame.packet.length][:1]:
            peer = conversation.peer(side)
            ack = next(
                (
                    f for f in peer.frames
                    if f.ack > again.original.seq and again.original.at < f.at < again.frame.at
                ),
                None,
            )  # fmt: skip
            why = phrase("needless.late")
            if ack and ack.arrived is None:
                why = phrase("needless.lost", fate=fate(conversation.faults, ack))
            yield (
                phrase("needless-retransmission", why=why, host=peer.host),
                [again.frame.id, again.original.id],
            )


def lost_ack(conversation: TcpConversation) -> Iterator[Found]:
    """A lost acknowledgement did no harm."""
    for side in conversation.sides:
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
                for r in conversation.peer(side).retransmissions
            )
            if later and not blamed:
                yield (
                    phrase("lost-ack", fate=fate(conversation.faults, frame)),
                    [frame.id, later.id],
                )
                return


def corrupted(conversation: TcpConversation) -> Iterator[Found]:
    """A damaged segment counts as lost."""
    for side in conversation.sides:
        for frame in side.frames:
            if any(a.corrupted for a in frame.arrivals) and frame.arrived is None:
                yield phrase("corrupted", host=conversation.peer(side).host), [frame.id]
                return


def doubled(conversation: TcpConversation) -> Iterator[Found]:
    """A segment arrived twice."""
    for side in conversation.sides:
        for frame in side.frames:
            if len(frame.arrivals) > 1 and frame.packet.length:
                yield phrase("doubled", count=len(frame.arrivals)), [frame.id]
                return


def overtaken(conversation: TcpConversation) -> Iterator[Found]:
    """Segments arrived in another order."""
    for side in conversation.sides:
        highest: Frame | None = None
        data = [f for f in side.frames if f.packet.length and f.arrived is not None]
        for frame in sorted(data, key=lambda f: f.arrived or 0):
            if highest and frame.seq < highest.seq and frame.at < highest.at:
                yield phrase("overtaken", host=conversation.peer(side).host), [frame.id, highest.id]
                return
            if highest is None or frame.seq > highest.seq:
                highest = frame


def lost_fin(conversation: TcpConversation) -> Iterator[Found]:
    """A FIN that was lost."""
    for side in conversation.sides:
        for again in side.retransmissions:
            if not again.frame.packet.flags & FIN or again.original.arrived is not None:
                continue
            causes = {k.source for k in conversation.links if k.target == again.original.id}
            call = next((c for c in side.calls if c.id in causes), None)
            done = None
            if call and call.end is not None and call.end < again.frame.at:
                done = phrase("lost-fin.returned", name=call.name)
            yield (
                phrase(
                    "lost-fin",
                    fate=fate(conversation.faults, again.original),
                    wait=again.waited,
                    done=done,
                ),
                [again.frame.id, again.original.id],
            )
            return


def unplugged(conversation: TcpConversation) -> Iterator[Found]:
    """The wire was cut."""
    ours = {f.id: f for side in conversation.sides for f in side.frames}
    cuts: dict[str, list[Frame]] = {}
    for fault in conversation.faults.values():
        if fault.effect is Effect.CUT and fault.frame in ours:
            cuts.setdefault(fault.option, []).append(ours[fault.frame])
    for option, lost in cuts.items():
        lost.sort(key=lambda f: f.at)
        before, since = lost[0].at, lost[-1].at
        ended = any(f.packet.flags & (FIN | RST) and f.at < since for f in ours.values())
        after = next((f for f in ours.values() if f.arrived is not None and f.at > since), None)
        state = None
        if conversation.established is not None and conversation.established < before and not ended:
            stayed = after and not after.packet.flags & RST
            state = phrase("unplugged.stayed" if stayed else "unplugged.state")
        end = phrase("unplugged.silent")
        if after:
            end = phrase("unplugged.through", wait=after.at - before)
        yield (
            phrase("unplugged", option=option, count=len(lost), state=state, end=end),
            [lost[0].id, *([after.id] if after else [])],
        )


def forged(conversation: TcpConversation) -> Iterator[Found]:
    """A third party reset the connection."""
    made = [f for side in conversation.sides for f in side.frames if f.forged]
    if made:
        ours = {f.id for side in conversation.sides for f in side.frames}
        stopped = [
            f for f in conversation.faults.values() if f.effect is Effect.RESET and f.frame in ours
        ]
        yield (
            phrase("forged-reset"),
            [stopped[0].frame if stopped else made[0].id, *(f.id for f in made)],
        )


def queue_full(conversation: TcpConversation) -> Iterator[Found]:
    """A slow wire's queue overflowed."""
    ours = {f.id for side in conversation.sides for f in side.frames}
    full = [
        f for f in conversation.faults.values() if f.effect is Effect.QUEUE_FULL and f.frame in ours
    ]
    if full:
        yield phrase("queue-full", count=len(full)), [full[0].frame]


def gave_up(conversation: TcpConversation) -> Iterator[Found]:
    """A call failed because nothing was acknowledged any more."""
    for side in conversation.sides:
        for call in side.calls:
            if call.error == "ETIMEDOUT" and call.name != "connect":
                yield phrase("gave-up", name=call.name, host=side.host), [call.id]
                return


def held(conversation: TcpConversation) -> Iterator[Found]:
    """Bytes that had arrived waited behind a gap."""
    for side in conversation.sides:
        repaired = [(a, f) for a, _, f in side.delivered_by if f.retransmission_of is not None]
        for first, last, frame in side.delivered_by if repaired else ():
            taken = next(iter(side.received_by.within(first, last)), None)
            if taken is None or frame.arrived is None:
                continue
            gap = [f for a, f in repaired if a < first and (f.arrived or 0) > frame.arrived]
            wait = (gap[0].arrived or 0) - frame.arrived if gap else 0
            if wait > 1_000_000 and taken[2].latest_end > frame.arrived + wait:
                yield (
                    phrase("held-behind-gap", host=conversation.peer(side).host, wait=wait),
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
