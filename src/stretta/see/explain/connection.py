"""How connections begin, and what connect() and accept() wait for (RFC 9293 section 3.5)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from stretta.see.correlate.conversation import (
    Retransmission,
    Side,
    TcpConversation,
    unread_at,
)
from stretta.see.events import NEVER, Call, Cause, Frame, LinkKind
from stretta.see.explain.phrases import Found, Phrase, TcpRule, fate, phrase
from stretta.see.packets import ACK, RST, SYN

__all__ = ["RULES"]


def _connect(conversation: TcpConversation) -> Call | None:
    return next(iter(conversation.initiator.call("connect")), None)


def _syn_ack(conversation: TcpConversation) -> Frame | None:
    """Return the first SYN ACK that arrived."""
    return next((f for f in conversation.responder.syns if f.arrived is not None), None)


def handshake(conversation: TcpConversation) -> Iterator[Found]:
    """connect() took one round trip."""
    call, answer = _connect(conversation), _syn_ack(conversation)
    syns = conversation.initiator.syns
    once = len(syns) == len(conversation.responder.syns) == 1
    if not (call and answer and not call.error and call.end is not None and once):
        return
    trip = (answer.arrived or 0) - syns[0].at
    if trip > call.duration:
        return
    long = call.duration - trip > call.duration // 5
    yield (
        phrase("handshake.long" if long else "handshake", wait=call.duration, trip=trip),
        [call.id, syns[0].id, answer.id],
    )


def not_blocking(conversation: TcpConversation) -> Iterator[Found]:
    """connect() on a socket that does not block."""
    call, answer = _connect(conversation), _syn_ack(conversation)
    if call and call.error == "EINPROGRESS":
        went_on = None
        if answer and answer.arrived is not None:
            went_on = phrase("not-blocking.went-on", wait=answer.arrived - call.at)
        yield phrase("not-blocking", went_on=went_on), [call.id]


def _waited(conversation: TcpConversation) -> tuple[Call, Phrase] | None:
    """Return the connect(), and how long the handshake made it wait."""
    call, end = _connect(conversation), _syn_ack(conversation)
    if call is None or end is None or end.arrived is None:
        return None
    if call.error == "EINPROGRESS":
        return call, phrase("waited.handshake", wait=end.arrived - call.at)
    if call.end is None or call.error:
        return None
    return call, phrase("waited.connect", wait=call.duration)


def _lost_first(conversation: TcpConversation, side: Side) -> tuple[list[Retransmission], Phrase]:
    """Return the repetitions of lost SYNs of a side, and the fates of the originals."""
    lost = [
        r for r in side.retransmissions
        if r.frame.packet.flags & SYN and r.original.arrived is None
    ]  # fmt: skip
    fates = [fate(conversation.faults, r.original) for r in lost]
    if len(set(fates)) == 1:
        key = "lost-first.often" if len(lost) > 1 else "lost-first"
        return lost, phrase(key, fate=fates[0], count=len(lost))
    return lost, phrase("lost-first.variously", fates=list(dict.fromkeys(fates)))


def _later(repeats: list[Retransmission]) -> list[Phrase]:
    """Return after which times each was sent again."""
    return [phrase("time", wait=r.waited) for r in repeats]


def lost_syn(conversation: TcpConversation) -> Iterator[Found]:
    """connect() waited because a SYN was lost."""
    side, waited = conversation.initiator, _waited(conversation)
    lost, fates = _lost_first(conversation, side)
    if waited and lost:
        call, how_long = waited
        yield (
            phrase("lost-syn", waited=how_long, fates=fates, host=side.host, later=_later(lost)),
            [call.id, *(i for r in lost for i in (r.original.id, r.frame.id))],
        )


def lost_syn_ack(conversation: TcpConversation) -> Iterator[Found]:
    """connect() waited because a SYN ACK was lost."""
    (initiator, side), waited = conversation.sides, _waited(conversation)
    lost, fates = _lost_first(conversation, side)
    if not waited or not lost:
        return
    call, how_long = waited
    asked = [r for r in lost if r.cause is Cause.SYN_REPEATED]
    alone = [r for r in lost if r not in asked]
    done, syns = [], []
    if asked:
        syns = [f for r in asked if (f := _syn_before(initiator, r.frame))]
        done.append(
            phrase("lost-syn-ack.asked", peer=initiator.host, host=side.host, later=_later(asked))
        )
    if alone:
        done.append(phrase("lost-syn-ack.alone", host=side.host, later=_later(alone)))
    both = phrase("lost-syn-ack.both", parts=done) if len(done) > 1 else done[0]
    yield (
        phrase("lost-syn-ack", waited=how_long, fates=fates, done=both),
        [
            call.id,
            *(i for r in lost for i in (r.original.id, r.frame.id)),
            *(f.id for f in syns),
        ],
    )


def _syn_before(initiator: Side, frame: Frame) -> Frame | None:
    """Return the SYN that a SYN ACK answers."""
    came = [f for f in initiator.syns if (f.arrived or NEVER) <= frame.at]
    return came[-1] if came else None


def lost_handshake_ack(conversation: TcpConversation) -> Iterator[Found]:
    """The third segment of the handshake was lost."""
    initiator, responder = conversation.sides
    answer = _syn_ack(conversation)
    if answer is None or answer.arrived is None:
        return
    third = next(
        (
            f for f in initiator.frames
            if f.at >= answer.arrived and f.packet.flags & ACK and not f.packet.flags & (SYN | RST)
        ),
        None,
    )  # fmt: skip
    if third and not third.packet.length and third.arrived is None:
        healer = next(
            (f for f in initiator.frames if f.arrived is not None and f.at > third.at), None
        )
        key = "lost-handshake-ack" if healer else "lost-handshake-ack.open"
        yield (
            phrase(
                key, fate=fate(conversation.faults, third), host=initiator.host, peer=responder.host
            ),
            [third.id, *([healer.id] if healer else [])],
        )


def refused(conversation: TcpConversation) -> Iterator[Found]:
    """No socket listened."""
    initiator, responder = conversation.sides
    for reset in responder.resets:
        cause = conversation.cause_of(reset, LinkKind.REFUSED)
        if cause is None:
            continue
        call = _connect(conversation)
        later = [c for c in initiator.calls if c.latest_end >= (reset.arrived or NEVER)]
        failed = next((c for c in later if c.error == "ECONNREFUSED"), None)
        asked = next((c for c in initiator.call("getsockopt") if c.option == "SO_ERROR"), None)
        outcome, reporter = None, call
        if failed and failed is call:
            outcome = phrase("refused.connect", wait=call.duration)
        elif failed:
            outcome, reporter = phrase("refused.call", name=failed.name), failed
        elif asked and asked in later:
            outcome, reporter = phrase("refused.option"), asked
        elif call and call.error == "EINPROGRESS":
            outcome = phrase("refused.pending")
        yield (
            phrase("refused", port=responder.end.port, host=responder.host, outcome=outcome),
            [
                call.id if call else reset.id,
                cause.source,
                *([reset.id] if call else []),
                *([reporter.id] if reporter and reporter is not call else []),
            ],
        )
        return


def unanswered(conversation: TcpConversation) -> Iterator[Found]:
    """No SYN was ever answered."""
    initiator, responder = conversation.sides
    heard = any(f.arrived is not None for f in responder.frames)
    if not initiator.syns or heard:
        return
    waits = [phrase("time", wait=b.at - a.at) for a, b in pairwise(initiator.syns)]
    after = None
    if waits:
        after = phrase("unanswered.waits" if len(waits) > 1 else "unanswered.wait", waits=waits)
    yield (
        phrase(
            "unanswered",
            count=len(initiator.syns),
            after=after,
            fates=_no_answer(conversation),
            outcome=_outcome(conversation),
        ),
        [(_connect(conversation) or initiator.syns[0]).id, *(f.id for f in initiator.syns)],
    )


def _no_answer(conversation: TcpConversation) -> list[Phrase]:
    """Return the fates of SYNs that were not answered."""
    initiator, responder = conversation.sides
    lost = [fate(conversation.faults, f) for f in initiator.syns if f.arrived is None]
    came = len(initiator.syns) - len(lost)
    if responder.frames:
        return [phrase("unanswered.answers-lost")]
    parts = [phrase("unanswered.silent", count=came)] if came else []
    for each in dict.fromkeys(lost):
        count = lost.count(each)
        key = "unanswered.some"
        if count == len(initiator.syns):
            key = "unanswered.each" if count > 1 else "unanswered.it"
        parts.append(phrase(key, count=count, fate=each))
    return parts


def _outcome(conversation: TcpConversation) -> Phrase | None:
    """Return how a connect() that was not answered ended."""
    call = _connect(conversation)
    if call is None:
        return None
    if call.error == "EINPROGRESS":
        return phrase("unanswered.pending")
    if call.error:
        return phrase("unanswered.failed", error=call.error)
    gone = next(
        (p for p in conversation.exits if (p.host, p.process) == (call.host, call.process)), None
    )
    if gone and gone.status is not None and gone.status < 0:
        return phrase("unanswered.killed", signal=-gone.status)
    return phrase("unanswered.open")


def agreed(conversation: TcpConversation) -> Iterator[Found]:
    """What both ends announced in their SYNs."""
    initiator, responder = conversation.sides
    if not initiator.syns or not responder.syns:
        return
    one, two = initiator.syns[0].packet, responder.syns[0].packet
    if not one.mss or not two.mss:
        return
    parts = [phrase("agreed.mss", size=min(one.mss, two.mss))]
    if one.scale is not None and two.scale is not None:
        parts.append(phrase("agreed.scale", one=2**one.scale, two=2**two.scale))
    if one.sack_ok and two.sack_ok:
        parts.append(phrase("agreed.sack"))
    if one.timestamps and two.timestamps:
        parts.append(phrase("agreed.timestamps"))
    yield phrase("agreed", parts=parts), [responder.syns[0].id]


def _accepted(conversation: TcpConversation, cause: Cause) -> Iterator[tuple[Call, Frame, int]]:
    """Return each accept() that returned for a cause, with the segment and its arrival."""
    calls = {c.id: c for c in conversation.responder.call("accept")}
    frames = {f.id: f for f in conversation.initiator.frames}
    for link in conversation.links:
        call, frame = calls.get(link.target), frames.get(link.source)
        if link.cause is cause and call and frame and frame.arrived is not None:
            yield call, frame, frame.arrived


def accept_waited(conversation: TcpConversation) -> Iterator[Found]:
    """accept() waited for a connection."""
    for call, confirm, arrived in _accepted(conversation, Cause.HANDSHAKE_COMPLETE):
        if call.duration > 1_000_000:
            rest = call.at + call.duration - arrived
            at_once = rest < max(1_000_000, call.duration // 20)
            key = "accept-waited" if at_once else "accept-waited.longer"
            yield phrase(key, wait=call.duration, rest=rest), [call.id, confirm.id]


def accepted_late(conversation: TcpConversation) -> Iterator[Found]:
    """The connection was established before accept() was called."""
    for call, confirm, arrived in _accepted(conversation, Cause.HANDSHAKE_WAS_COMPLETE):
        if call.at - arrived > 5_000_000:
            yield phrase("accepted-late", wait=call.at - arrived), [call.id, confirm.id]


def never_accepted(conversation: TcpConversation) -> Iterator[Found]:
    """Established, but no program called accept()."""
    initiator, responder = conversation.sides
    unseen = responder.host not in conversation.watched or _syn_ack(conversation) is None
    if unseen or responder.calls or not initiator.calls:
        return
    if any(f.arrived is not None and f.ack >= 1 for f in initiator.frames):
        call = _connect(conversation)
        reset = next((k for k in conversation.links if k.kind is LinkKind.UNACCEPTED), None)
        frame = next((f for f in responder.resets if reset and f.id == reset.target), None)
        size = unread_at(initiator, frame.at if frame else NEVER)
        then = phrase("never-accepted.holds", size=size) if size else None
        if frame:
            thrown = phrase("never-accepted.discarded", size=size) if size else None
            then = phrase("never-accepted.reset", discarded=thrown)
        yield (
            phrase("never-accepted", then=then),
            [call.id if call else initiator.frames[0].id, *([frame.id] if frame else [])],
        )


RULES: dict[str, TcpRule] = {
    "handshake": handshake,
    "not-blocking": not_blocking,
    "lost-syn": lost_syn,
    "lost-syn-ack": lost_syn_ack,
    "lost-handshake-ack": lost_handshake_ack,
    "refused": refused,
    "unanswered": unanswered,
    "agreed": agreed,
    "accept-waited": accept_waited,
    "accepted-late": accepted_late,
    "never-accepted": never_accepted,
}
