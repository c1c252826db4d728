"""How connections begin, and what connect() and accept() wait for (RFC 9293 section 3.5)."""

from __future__ import annotations

from collections.abc import Iterator

from stretta.see.events import Call, Frame
from stretta.see.explain.rules import Found, TcpRule, duration, fate, kernel, times
from stretta.see.packets import ACK, RST, SYN
from stretta.see.tcp import Side, TcpStory

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
    if call and answer and not call.error and call.end is not None and once:
        yield (
            f"connect() took {duration(call.took)}, one round trip: SYN there, SYN ACK back; its"
            " arrival ended the wait. The third segment, ACK, leaves without being waited for.",
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


def _waited(story: TcpStory, lost: Frame, again: Frame, name: str, host: str) -> Found | None:
    call = _connect(story)
    if call is None:
        return None
    end = _syn_ack(story)
    if call.error == "EINPROGRESS" and end and end.arrived is not None:
        wait, words = end.arrived - call.at, "The handshake took"
    elif call.end is not None:
        wait, words = call.took, "connect() waited"
    else:
        return None
    again_after = duration(again.at - lost.at)
    return (
        f"{words} {duration(wait)}: the {name} {fate(story.faults, lost)}, and {kernel(host)}"
        f" sent it again {again_after} later, after its retransmission time-out of 1 s (RFC 6298).",
        [call.id, lost.id, again.id],
    )


def lost_syn(story: TcpStory) -> Iterator[Found]:
    """Say that connect() waited because a SYN was lost."""
    yield from _lost(story, story.sides[0], "SYN")


def lost_syn_ack(story: TcpStory) -> Iterator[Found]:
    """Say that connect() waited because a SYN ACK was lost."""
    yield from _lost(story, story.sides[1], "SYN ACK")


def _lost(story: TcpStory, side: Side, name: str) -> Iterator[Found]:
    if _syn_ack(story) is None:
        return
    for repeat in side.repeats[:1]:
        if repeat.cause == "syn" and repeat.original.arrived is None:
            found = _waited(story, repeat.original, repeat.frame, name, side.host)
            if found:
                yield found


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
    for reset in story.sides[1].resets:
        cause = next((k for k in story.links if k.target == reset.id and k.kind == "refused"), None)
        if cause:
            call = _connect(story)
            end = "the connection was refused"
            if call and call.error == "ECONNREFUSED":
                end = f"connect() failed after {duration(call.took)} with ECONNREFUSED"
            elif call:
                end = "the socket that does not block keeps ECONNREFUSED for whoever asks next"
            yield (
                f"Nobody listens on port {_port(story)} of the {story.sides[1].host}:"
                f" {kernel(story.sides[1].host)} answered the SYN with RST, and {end}.",
                [call.id if call else reset.id, cause.source, reset.id],
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
    lost = sum(f.arrived is None for f in opener.syns)
    call = _connect(story)
    how = "still waits" if call is None or call.end is None else f"gave up with {call.error}"
    if call is not None and call.error == "EINPROGRESS":
        how = "never became a connection"
    if not taker.frames and lost < len(opener.syns):
        what = f"{len(opener.syns) - lost} came, and nothing was sent back"
    elif taker.frames:
        what = "the answers were lost"
    else:
        what = fate(story.faults, opener.syns[0]).replace("was", "each was", 1)
    yield (
        f"The SYN was sent {times(len(opener.syns))} and no answer arrived ({what}): connect()"
        f" {how}. Each wait is twice the one before.",
        [call.id if call else opener.syns[0].id, *(f.id for f in opener.syns)],
    )


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
        if call and call.took > 1_000_000:
            yield (
                f"accept() waited {duration(call.took)} for a client; it returned when the"
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
        yield (
            "The connection was established, yet no program called accept() for it: the kernel"
            " completed the handshake, and holds what the client sent.",
            [call.id if call else opener.frames[0].id],
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
