"""How connections begin, and what connect() and accept() wait for (RFC 9293 section 3.5)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from stretta.see.correlate.tcp import Repeat, Side, TcpStory, unread_at
from stretta.see.events import Call, Frame
from stretta.see.explain.phrases import Found, TcpRule, bytes_, duration, fate, kernel, times
from stretta.see.packets import ACK, RST, SYN

__all__ = ["RULES"]


def _connect(story: TcpStory) -> Call | None:
    return next(iter(story.sides[0].call("connect")), None)


def _syn_ack(story: TcpStory) -> Frame | None:
    """Return the SYN ACK that came first."""
    return next((f for f in story.sides[1].syns if f.arrived is not None), None)


def handshake(story: TcpStory) -> Iterator[Found]:
    """connect() took one round trip."""
    call, answer = _connect(story), _syn_ack(story)
    syns = story.sides[0].syns
    once = len(syns) == len(story.sides[1].syns) == 1
    if not (call and answer and not call.error and call.end is not None and once):
        return
    trip = (answer.arrived or 0) - syns[0].at
    took = f"connect() took {duration(call.took)}, one round trip: SYN there, SYN ACK back"
    if call.took - trip > max(call.took // 5, 0) or trip > call.took:
        took = (
            f"connect() took {duration(call.took)}; one round trip of it, SYN there and SYN ACK"
            f" back, was {duration(trip)}, the rest was the machine's"
        )
        if trip > call.took:
            return
    yield (
        f"{took}. The arrival of SYN ACK ended the wait. The third segment, ACK, leaves without"
        " being waited for.",
        [call.id, syns[0].id, answer.id],
    )


def not_blocking(story: TcpStory) -> Iterator[Found]:
    """connect() on a socket that does not block."""
    call, answer = _connect(story), _syn_ack(story)
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


def _waited(story: TcpStory) -> tuple[Call, str] | None:
    """Return the connect(), and the words for how long the handshake made it wait."""
    call, end = _connect(story), _syn_ack(story)
    if call is None or end is None or end.arrived is None:
        return None
    if call.error == "EINPROGRESS":
        return call, f"The handshake took {duration(end.arrived - call.at)}"
    if call.end is None or call.error:
        return None
    return call, f"connect() waited {duration(call.took)}"


def _lost_first(story: TcpStory, side: Side, name: str) -> tuple[list[Repeat], str]:
    """Return the repetitions of lost SYNs of a side, and the words for what became of those."""
    lost = [r for r in side.repeats if r.cause == "syn" and r.original.arrived is None]
    fates = [fate(story.faults, r.original) for r in lost]
    often = f" {times(len(lost))}" if len(lost) > 1 else ""
    if len(set(fates)) == 1:
        return lost, f"the {name} {fates[0]}{often}"
    return lost, f"the {name} {' and then '.join(dict.fromkeys(fates))}"


TIMEOUT = "after its retransmission time-out, 1 s at first (RFC 6298)"


def lost_syn(story: TcpStory) -> Iterator[Found]:
    """connect() waited because a SYN was lost."""
    side, waited = story.sides[0], _waited(story)
    lost, words = _lost_first(story, side, "SYN")
    if waited and lost:
        call, how_long = waited
        yield (
            f"{how_long}: {words}, and {kernel(side.host)} sent it again"
            f" {_later(lost)}, {TIMEOUT}.",
            [call.id, *(i for r in lost for i in (r.original.id, r.frame.id))],
        )


def _later(repeats: list[Repeat]) -> str:
    """Return after which times each was sent again."""
    waits = [duration(r.waited) for r in repeats]
    if len(waits) == 1:
        return f"{waits[0]} later"
    return f"{', '.join(waits[:-1])} and {waits[-1]} later"


def lost_syn_ack(story: TcpStory) -> Iterator[Found]:
    """connect() waited because a SYN ACK was lost."""
    (opener, side), waited = story.sides, _waited(story)
    lost, words = _lost_first(story, side, "SYN ACK")
    if not waited or not lost:
        return
    call, how_long = waited
    asked = [r for r in lost if "SYN had come again" in r.reason]
    alone = [r for r in lost if r not in asked]
    done = []
    if asked:
        syns = [f for r in asked if (f := _syn_before(opener, r.frame))]
        done.append(
            f"{kernel(opener.host)}, without an answer, sent its SYN again {TIMEOUT}; so"
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


def _syn_before(opener: Side, frame: Frame) -> Frame | None:
    """Return the SYN that a SYN ACK answers."""
    came = [f for f in opener.syns if (f.arrived or 2**63) <= frame.at]
    return came[-1] if came else None


def lost_handshake_ack(story: TcpStory) -> Iterator[Found]:
    """The third segment of the handshake was lost."""
    opener, taker = story.sides
    answer = _syn_ack(story)
    if answer is None or answer.arrived is None:
        return
    third = next(
        (
            f for f in opener.frames
            if f.at >= answer.arrived and f.packet.flags & ACK and not f.packet.flags & (SYN | RST)
        ),
        None,
    )  # fmt: skip
    if third and not third.packet.length and third.arrived is None:
        healer = next((f for f in opener.frames if f.arrived is not None and f.at > third.at), None)
        what = "the next segment, which acknowledges the same," if healer else "nothing yet"
        yield (
            f"The ACK that completes the handshake {fate(story.faults, third)}. The {opener.host}"
            f" was connected already; for the {taker.host}, {what} completed it.",
            [third.id, *([healer.id] if healer else [])],
        )


def refused(story: TcpStory) -> Iterator[Found]:
    """Nobody listened."""
    opener, taker = story.sides
    for reset in taker.resets:
        cause = next((k for k in story.links if k.target == reset.id and k.kind == "refused"), None)
        if cause is None:
            continue
        call = _connect(story)
        told = [c for c in opener.calls if c.until >= (reset.arrived or 2**63)]
        failed = next((c for c in told if c.error == "ECONNREFUSED"), None)
        asked = next((c for c in opener.call("getsockopt") if "SO_ERROR" in c.shown), None)
        end, teller = "", call
        if failed and failed is call:
            end = f", and connect() failed after {duration(call.took)} with ECONNREFUSED"
        elif failed:
            end = f", and {failed.name}() told of it: ECONNREFUSED"
            teller = failed
        elif asked and asked in told:
            end = ", and getsockopt(SO_ERROR) told the program: ECONNREFUSED"
            teller = asked
        elif call and call.error == "EINPROGRESS":
            end = ", and the socket keeps ECONNREFUSED for whoever asks next"
        yield (
            f"Nobody listens on port {_port(story)} of the {taker.host}:"
            f" {kernel(taker.host)} answered the SYN with RST{end}.",
            [
                call.id if call else reset.id,
                cause.source,
                *([reset.id] if call else []),
                *([teller.id] if teller and teller is not call else []),
            ],
        )
        return


def _port(story: TcpStory) -> int:
    return (story.flow.server if story.opener == "client" else story.flow.client)[1]


def unanswered(story: TcpStory) -> Iterator[Found]:
    """No SYN was ever answered."""
    opener, taker = story.sides
    heard = any(f.arrived is not None for f in taker.frames)
    if not opener.syns or heard:
        return
    waits = [duration(b.at - a.at) for a, b in pairwise(opener.syns)]
    after = f", after waits of {', '.join(waits)}," if len(waits) > 1 else ""
    after = after or (f", the second time after {waits[0]}," if waits else "")
    yield (
        f"The SYN was sent {times(len(opener.syns))}{after} and no answer arrived"
        f" ({_no_answer(story)}){_outcome(story)}.",
        [(_connect(story) or opener.syns[0]).id, *(f.id for f in opener.syns)],
    )


def _no_answer(story: TcpStory) -> str:
    """Return what became of SYNs that nobody answered."""
    opener, taker = story.sides
    lost = [fate(story.faults, f) for f in opener.syns if f.arrived is None]
    came = len(opener.syns) - len(lost)
    if taker.frames:
        return "the answers did not arrive"
    parts = [f"{times(came)} it came, and nothing was sent back"] if came else []
    for words in dict.fromkeys(lost):
        count = lost.count(words)
        if count == len(opener.syns):
            parts.append(f"{'each' if count > 1 else 'it'} {words}")
        else:
            parts.append(f"{times(count)} it {words}")
    return ", ".join(parts)


def _outcome(story: TcpStory) -> str:
    """Return the words for how a connect() that nobody answered ended."""
    call = _connect(story)
    if call is None:
        return ""
    if call.error == "EINPROGRESS":
        return ": it never became a connection"
    if call.error:
        return f": connect() gave up with {call.error}"
    gone = next((p for p in story.exits if (p.host, p.process) == (call.host, call.process)), None)
    if gone and gone.status is not None and gone.status < 0:
        return f": connect() still waited when signal {-gone.status} ended the program"
    return ": connect() never returned"


def agreed(story: TcpStory) -> Iterator[Found]:
    """What the two ends told each other in their SYNs."""
    opener, taker = story.sides
    if not opener.syns or not taker.syns:
        return
    one, two = opener.syns[0].packet, taker.syns[0].packet
    if not one.mss or not two.mss:
        return
    words = [f"segments of at most {min(one.mss, two.mss):,} bytes (MSS)"]
    if one.scale is not None and two.scale is not None:
        words.append(f"windows scaled by {2**one.scale} and {2**two.scale}")
    if one.sack_ok and two.sack_ok:
        words.append("selective acknowledgements (SACK)")
    if one.timestamps and two.timestamps:
        words.append("timestamps")
    yield f"With their SYNs the two agreed on {', '.join(words)}.", [taker.syns[0].id]


def accept_waited(story: TcpStory) -> Iterator[Found]:
    """accept() waited for a client."""
    for link in story.links:
        if link.kind != "returned" or "before" in link.reason:
            continue
        call = next((c for c in story.sides[1].call("accept") if c.id == link.target), None)
        confirm = next((f for f in story.sides[0].frames if f.id == link.source), None)
        if call and confirm and confirm.arrived is not None and call.took > 1_000_000:
            rest = call.at + call.took - confirm.arrived
            how = "when" if rest < max(1_000_000, call.took // 20) else f"{duration(rest)} after"
            yield (
                f"accept() waited {duration(call.took)} for a client; it returned {how} the"
                " segment that completes the handshake arrived.",
                [call.id, link.source],
            )


def accepted_late(story: TcpStory) -> Iterator[Found]:
    """The connection was there before accept() was."""
    for link in story.links:
        if link.kind != "returned" or "before" not in link.reason:
            continue
        call = next((c for c in story.sides[1].call("accept") if c.id == link.target), None)
        confirm = next((f for f in story.sides[0].frames if f.id == link.source), None)
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


def never_accepted(story: TcpStory) -> Iterator[Found]:
    """Established, but the server's program never knew."""
    opener, taker = story.sides
    if (
        taker.host not in story.watched
        or _syn_ack(story) is None
        or taker.calls
        or not opener.calls
    ):
        return
    if any(f.arrived is not None and f.ack >= 1 for f in opener.frames):
        call = _connect(story)
        reset = next((k for k in story.links if k.kind == "unaccepted"), None)
        frame = next((f for f in taker.resets if reset and f.id == reset.target), None)
        came = unread_at(opener, frame.at if frame else 2**63)
        then = f", and holds what came ({bytes_(came)})" if came else ""
        if frame:
            thrown = f", and what had come was thrown away ({bytes_(came)})" if came else ""
            then = f". When its listening socket was closed, RST was sent{thrown}"
        yield (
            "The connection was established, yet no program called accept() for it: the kernel"
            f" completed the handshake{then}.",
            [call.id if call else opener.frames[0].id, *([frame.id] if frame else [])],
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
