"""How connections begin, and what connect() and accept() wait for (RFC 9293 section 3.5)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from stretta.see.correlate.tcp import Retransmission, Side, TcpConversation, unread_at
from stretta.see.events import Call, Frame
from stretta.see.explain.phrases import Found, TcpRule, bytes_, duration, fate, kernel, times
from stretta.see.packets import ACK, RST, SYN

__all__ = ["RULES"]


def _connect(conversation: TcpConversation) -> Call | None:
    return next(iter(conversation.sides[0].call("connect")), None)


def _syn_ack(conversation: TcpConversation) -> Frame | None:
    """Return the SYN ACK that came first."""
    return next((f for f in conversation.sides[1].syns if f.arrived is not None), None)


def handshake(conversation: TcpConversation) -> Iterator[Found]:
    """connect() took one round trip."""
    call, answer = _connect(conversation), _syn_ack(conversation)
    syns = conversation.sides[0].syns
    once = len(syns) == len(conversation.sides[1].syns) == 1
    if not (call and answer and not call.error and call.end is not None and once):
        return
    trip = (answer.arrived or 0) - syns[0].at
    took = f"connect() took {duration(call.duration)}, one round trip: SYN there, SYN ACK back"
    if call.duration - trip > max(call.duration // 5, 0) or trip > call.duration:
        took = (
            f"connect() took {duration(call.duration)}; one round trip of it, SYN there and SYN ACK"
            f" back, was {duration(trip)}, the rest was the machine's"
        )
        if trip > call.duration:
            return
    yield (
        f"{took}. The arrival of SYN ACK ended the wait. The third segment, ACK, leaves without"
        " being waited for.",
        [call.id, syns[0].id, answer.id],
    )


def not_blocking(conversation: TcpConversation) -> Iterator[Found]:
    """connect() on a socket that does not block."""
    call, answer = _connect(conversation), _syn_ack(conversation)
    if call and call.error == "EINPROGRESS":
        took = ""
        if answer and answer.arrived is not None:
            took = (
                f", and the handshake went on without it for {duration(answer.arrived - call.at)}"
            )
        yield (
            f"connect() returned at once with EINPROGRESS: the socket does not block{took}.",
            [call.id],
        )


def _waited(conversation: TcpConversation) -> tuple[Call, str] | None:
    """Return the connect(), and the words for how long the handshake made it wait."""
    call, end = _connect(conversation), _syn_ack(conversation)
    if call is None or end is None or end.arrived is None:
        return None
    if call.error == "EINPROGRESS":
        return call, f"The handshake took {duration(end.arrived - call.at)}"
    if call.end is None or call.error:
        return None
    return call, f"connect() waited {duration(call.duration)}"


def _lost_first(
    conversation: TcpConversation, side: Side, name: str
) -> tuple[list[Retransmission], str]:
    """Return the repetitions of lost SYNs of a side, and the words for what became of those."""
    lost = [r for r in side.retransmissions if r.cause == "syn" and r.original.arrived is None]
    fates = [fate(conversation.faults, r.original) for r in lost]
    often = f" {times(len(lost))}" if len(lost) > 1 else ""
    if len(set(fates)) == 1:
        return lost, f"the {name} {fates[0]}{often}"
    return lost, f"the {name} {' and then '.join(dict.fromkeys(fates))}"


TIMEOUT = "after its retransmission time-out, 1 s at first (RFC 6298)"


def lost_syn(conversation: TcpConversation) -> Iterator[Found]:
    """connect() waited because a SYN was lost."""
    side, waited = conversation.sides[0], _waited(conversation)
    lost, words = _lost_first(conversation, side, "SYN")
    if waited and lost:
        call, how_long = waited
        yield (
            f"{how_long}: {words}, and {kernel(side.host)} sent it again"
            f" {_later(lost)}, {TIMEOUT}.",
            [call.id, *(i for r in lost for i in (r.original.id, r.frame.id))],
        )


def _later(repeats: list[Retransmission]) -> str:
    """Return after which times each was sent again."""
    waits = [duration(r.waited) for r in repeats]
    if len(waits) == 1:
        return f"{waits[0]} later"
    return f"{', '.join(waits[:-1])} and {waits[-1]} later"


def lost_syn_ack(conversation: TcpConversation) -> Iterator[Found]:
    """connect() waited because a SYN ACK was lost."""
    (initiator, side), waited = conversation.sides, _waited(conversation)
    lost, words = _lost_first(conversation, side, "SYN ACK")
    if not waited or not lost:
        return
    call, how_long = waited
    asked = [r for r in lost if "SYN had come again" in r.reason]
    alone = [r for r in lost if r not in asked]
    done = []
    if asked:
        syns = [f for r in asked if (f := _syn_before(initiator, r.frame))]
        done.append(
            f"{kernel(initiator.host)}, without an answer, sent its SYN again {TIMEOUT}; so"
            f" {kernel(side.host)} answered again, {_later(asked)}"
        )
    else:
        syns = []
    if alone:
        done.append(f"{kernel(side.host)} sent it again {_later(alone)}, {TIMEOUT}")
    yield (
        f"{how_long}: {words}, and {'; and '.join(done)}.",
        [
            call.id,
            *(i for r in lost for i in (r.original.id, r.frame.id)),
            *(f.id for f in syns),
        ],
    )


def _syn_before(initiator: Side, frame: Frame) -> Frame | None:
    """Return the SYN that a SYN ACK answers."""
    came = [f for f in initiator.syns if (f.arrived or 2**63) <= frame.at]
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
        what = "the next segment, which acknowledges the same," if healer else "nothing yet"
        yield (
            f"The ACK that completes the handshake {fate(conversation.faults, third)}. The {initiator.host}"  # noqa: E501
            f" was connected already; for the {responder.host}, {what} completed it.",
            [third.id, *([healer.id] if healer else [])],
        )


def refused(conversation: TcpConversation) -> Iterator[Found]:
    """Nobody listened."""
    initiator, responder = conversation.sides
    for reset in responder.resets:
        cause = next(
            (k for k in conversation.links if k.target == reset.id and k.kind == "refused"), None
        )
        if cause is None:
            continue
        call = _connect(conversation)
        told = [c for c in initiator.calls if c.latest_end >= (reset.arrived or 2**63)]
        failed = next((c for c in told if c.error == "ECONNREFUSED"), None)
        asked = next((c for c in initiator.call("getsockopt") if "SO_ERROR" in c.display), None)
        end, teller = "", call
        if failed and failed is call:
            end = f", and connect() failed after {duration(call.duration)} with ECONNREFUSED"
        elif failed:
            end = f", and {failed.name}() told of it: ECONNREFUSED"
            teller = failed
        elif asked and asked in told:
            end = ", and getsockopt(SO_ERROR) told the program: ECONNREFUSED"
            teller = asked
        elif call and call.error == "EINPROGRESS":
            end = ", and the socket keeps ECONNREFUSED for whoever asks next"
        yield (
            f"Nobody listens on port {_port(conversation)} of the {responder.host}:"
            f" {kernel(responder.host)} answered the SYN with RST{end}.",
            [
                call.id if call else reset.id,
                cause.source,
                *([reset.id] if call else []),
                *([teller.id] if teller and teller is not call else []),
            ],
        )
        return


def _port(conversation: TcpConversation) -> int:
    return (
        conversation.flow.server if conversation.initiator == "client" else conversation.flow.client
    )[1]


def unanswered(conversation: TcpConversation) -> Iterator[Found]:
    """No SYN was ever answered."""
    initiator, responder = conversation.sides
    heard = any(f.arrived is not None for f in responder.frames)
    if not initiator.syns or heard:
        return
    waits = [duration(b.at - a.at) for a, b in pairwise(initiator.syns)]
    after = f", after waits of {', '.join(waits)}," if len(waits) > 1 else ""
    after = after or (f", the second time after {waits[0]}," if waits else "")
    yield (
        f"The SYN was sent {times(len(initiator.syns))}{after} and no answer arrived"
        f" ({_no_answer(conversation)}){_outcome(conversation)}.",
        [(_connect(conversation) or initiator.syns[0]).id, *(f.id for f in initiator.syns)],
    )


def _no_answer(conversation: TcpConversation) -> str:
    """Return what became of SYNs that nobody answered."""
    initiator, responder = conversation.sides
    lost = [fate(conversation.faults, f) for f in initiator.syns if f.arrived is None]
    came = len(initiator.syns) - len(lost)
    if responder.frames:
        return "the answers did not arrive"
    parts = [f"{times(came)} it came, and nothing was sent back"] if came else []
    for words in dict.fromkeys(lost):
        count = lost.count(words)
        if count == len(initiator.syns):
            parts.append(f"{'each' if count > 1 else 'it'} {words}")
        else:
            parts.append(f"{times(count)} it {words}")
    return ", ".join(parts)


def _outcome(conversation: TcpConversation) -> str:
    """Return the words for how a connect() that nobody answered ended."""
    call = _connect(conversation)
    if call is None:
        return ""
    if call.error == "EINPROGRESS":
        return ": it never became a connection"
    if call.error:
        return f": connect() gave up with {call.error}"
    gone = next(
        (p for p in conversation.exits if (p.host, p.process) == (call.host, call.process)), None
    )
    if gone and gone.status is not None and gone.status < 0:
        return f": connect() still waited when signal {-gone.status} ended the program"
    return ": connect() never returned"


def agreed(conversation: TcpConversation) -> Iterator[Found]:
    """What the two ends told each other in their SYNs."""
    initiator, responder = conversation.sides
    if not initiator.syns or not responder.syns:
        return
    one, two = initiator.syns[0].packet, responder.syns[0].packet
    if not one.mss or not two.mss:
        return
    words = [f"segments of at most {min(one.mss, two.mss):,} bytes (MSS)"]
    if one.scale is not None and two.scale is not None:
        words.append(f"windows scaled by {2**one.scale} and {2**two.scale}")
    if one.sack_ok and two.sack_ok:
        words.append("selective acknowledgements (SACK)")
    if one.timestamps and two.timestamps:
        words.append("timestamps")
    yield f"With their SYNs the two agreed on {', '.join(words)}.", [responder.syns[0].id]


def accept_waited(conversation: TcpConversation) -> Iterator[Found]:
    """accept() waited for a client."""
    for link in conversation.links:
        if link.kind != "returned" or "before" in link.reason:
            continue
        call = next((c for c in conversation.sides[1].call("accept") if c.id == link.target), None)
        confirm = next((f for f in conversation.sides[0].frames if f.id == link.source), None)
        if call and confirm and confirm.arrived is not None and call.duration > 1_000_000:
            rest = call.at + call.duration - confirm.arrived
            how = (
                "when" if rest < max(1_000_000, call.duration // 20) else f"{duration(rest)} after"
            )
            yield (
                f"accept() waited {duration(call.duration)} for a client; it returned {how} the"
                " segment that completes the handshake arrived.",
                [call.id, link.source],
            )


def accepted_late(conversation: TcpConversation) -> Iterator[Found]:
    """The connection was there before accept() was."""
    for link in conversation.links:
        if link.kind != "returned" or "before" not in link.reason:
            continue
        call = next((c for c in conversation.sides[1].call("accept") if c.id == link.target), None)
        confirm = next((f for f in conversation.sides[0].frames if f.id == link.source), None)
        if (
            call
            and confirm
            and confirm.arrived is not None
            and call.at - confirm.arrived > 5_000_000
        ):
            yield (
                f"The connection had been established for {duration(call.at - confirm.arrived)}"
                " when the program called accept(): the kernel completes handshakes by itself"
                " and keeps them in the queue that listen() made.",
                [call.id, link.source],
            )


def never_accepted(conversation: TcpConversation) -> Iterator[Found]:
    """Established, but the server's program never knew."""
    initiator, responder = conversation.sides
    if (
        responder.host not in conversation.watched
        or _syn_ack(conversation) is None
        or responder.calls
        or not initiator.calls
    ):
        return
    if any(f.arrived is not None and f.ack >= 1 for f in initiator.frames):
        call = _connect(conversation)
        reset = next((k for k in conversation.links if k.kind == "unaccepted"), None)
        frame = next((f for f in responder.resets if reset and f.id == reset.target), None)
        came = unread_at(initiator, frame.at if frame else 2**63)
        then = f", and holds what came ({bytes_(came)})" if came else ""
        if frame:
            thrown = f", and what had come was thrown away ({bytes_(came)})" if came else ""
            then = f". When its listening socket was closed, RST was sent{thrown}"
        yield (
            "The connection was established, yet no program called accept() for it: the kernel"
            f" completed the handshake{then}.",
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
