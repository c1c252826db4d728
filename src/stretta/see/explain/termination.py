"""How connections end: FIN, RST, half-close, TIME_WAIT (RFC 9293 sections 3.6 and 3.10.7)."""

from __future__ import annotations

from collections.abc import Iterator

from stretta.see.correlate.tcp import Side, TcpConversation, other, unread_at
from stretta.see.events import Frame
from stretta.see.explain.phrases import Found, TcpRule, bytes_, calls_of, duration, kernel

__all__ = ["RULES"]


def _why(conversation: TcpConversation, frame: Frame, kind: str = "sent") -> str:
    return next(
        (k.reason for k in conversation.links if k.target == frame.id and k.kind == kind), ""
    )


def _cause(conversation: TcpConversation, frame: Frame) -> list[int]:
    return [
        k.source
        for k in conversation.links
        if k.target == frame.id and k.kind in ("sent", "provoked")
    ]


def unread_data(conversation: TcpConversation) -> Iterator[Found]:
    """close() with unread data resets."""
    for side in conversation.sides:
        peer = conversation.side(other(side.host))
        for reset in side.resets[:1]:
            why = _why(conversation, reset)
            if "unread" not in why:
                continue
            unread = unread_at(peer, reset.at)
            gave = list({c.id: c for _, _, c in peer.sent_by if c.at <= reset.at}.values())
            took = list({c.id: c for _, _, c in peer.received_by}.values())
            carried = [
                f for f in peer.frames
                if f.packet.length and f.retransmission_of is None and f.at <= reset.at
            ]  # fmt: skip
            story_of = ""
            if gave and took:
                story_of = (
                    f"The {peer.host} sent {bytes_(sum(c.transferred for c in gave))} in"
                    f" {calls_of(gave)}; by then {len(carried)}"
                    f" segment{'s' * (len(carried) != 1)} of them had left; {calls_of(took)} of"
                    f" the {side.host} returned {bytes_(peer.bytes_received)}. "
                )
            ends = "program ended" if why.startswith("the program") else "close()"
            yield (
                f"{story_of}The {side.host}'s {ends} with {bytes_(unread)} unread sent RST, not"
                " FIN: the other end must learn that they were thrown away (RFC 2525 section"
                " 2.17).",
                [reset.id, *_cause(conversation, reset)],
            )


def after_close(conversation: TcpConversation) -> Iterator[Found]:
    """A segment came for a program that had closed."""
    for side in conversation.sides:
        peer = conversation.side(other(side.host))
        for reset in side.resets:
            if "had closed" in _why(conversation, reset, "provoked"):
                causes = _cause(conversation, reset)
                cause = next((f for f in peer.frames if f.id in causes), None)
                what = "Bytes" if cause and cause.packet.length else "A segment"
                yield (
                    f"{what} came to the {side.host} when its program had closed: nobody could"
                    " read any more, so its kernel answered with RST.",
                    [reset.id, *_cause(conversation, reset)],
                )
                return


def nobody_there(conversation: TcpConversation) -> Iterator[Found]:
    """A segment came for a connection that is not known."""
    for side in conversation.sides:
        for reset in side.resets:
            if "nobody has" in _why(conversation, reset, "provoked"):
                yield (
                    f"{kernel(side.host).capitalize()} knows nothing of this connection (its"
                    " program is gone), and says so with RST.",
                    [reset.id, *_cause(conversation, reset)],
                )
                return


def failed_with_reset(conversation: TcpConversation) -> Iterator[Found]:
    """A call failed because of an RST."""
    for side in conversation.sides:
        peer = conversation.side(other(side.host))
        for call in side.calls:
            if call.error != "ECONNRESET":
                continue
            lost = peer.bytes_sent - peer.bytes_received
            also = ""
            if lost > 0 and call.direction == "in":
                also = f" {bytes_(lost)} that the {peer.host} had sent before are lost too."
            cause = [
                k.source for k in conversation.links if k.target == call.id and k.kind == "failed"
            ]
            yield f"{call.name}() failed with ECONNRESET: an RST had come.{also}", [call.id, *cause]
            return


def broken_pipe(conversation: TcpConversation) -> Iterator[Found]:
    """A send after the end."""
    for side in conversation.sides:
        for call in side.calls:
            if call.error != "EPIPE":
                continue
            resets = conversation.side(other(side.host)).resets
            reset = next((f for f in resets if (f.arrived or 2**63) <= call.latest_end), None)
            shut = next((c for c in side.call("shutdown") if c.id < call.id and not c.error), None)
            why, cause = "this direction of the connection was over", []
            if shut and shut.flags != "SHUT_RD":
                why, cause = "the program itself had called shutdown(), to send no more", [shut.id]
            elif reset:
                why, cause = "the connection had been reset before", [reset.id]
            kills = " A program that does not ignore SIGPIPE is killed by this."
            if "MSG_NOSIGNAL" in call.flags:
                kills = ""
            yield f"{call.name}() failed with EPIPE: {why}.{kills}", [call.id, *cause]
            return


def half_close(conversation: TcpConversation) -> Iterator[Found]:
    """One direction ended, the other went on."""
    for side in conversation.sides:
        peer = conversation.side(other(side.host))
        call = next(
            (c for c in side.call("shutdown") if c.flags == "SHUT_WR" and not c.error), None
        )
        fin = next(iter(side.fins), None)
        if call and fin:
            later = [
                c for _, _, c in peer.sent_by if fin.arrived is not None and c.at > fin.arrived
            ]
            size = sum(c.transferred for c in later)
            went_on = f"; {bytes_(size)} still came back after it" if size else ""
            if (_came(peer) or 2**63) <= call.at:
                continue  # the other direction had ended before
            reads = [c for c in side.calls if c.direction == "in" and (c.end or 2**63) > call.at]
            closed = next((c for c in side.call("close") if c.at >= call.at), None)
            still = "it still reads" if reads else "it could still read"
            if closed and not reads and side.host in conversation.watched:
                still = f"it closed {duration(closed.at - call.at)} later without having read on"
            yield (
                f"shutdown(SHUT_WR) ended one direction only: the FIN says that the {side.host}"
                f" sends no more, and {still}{went_on} (half-close, RFC 9293 section 3.6).",
                [call.id, fin.id],
            )


def end_of_stream(conversation: TcpConversation) -> Iterator[Found]:
    """A receive returned nothing."""
    for link in conversation.links:
        if link.kind == "ended":
            call = next(c for side in conversation.sides for c in side.calls if c.id == link.target)
            yield (
                f"{call.name}() returned 0 bytes: no error, but the end. The {other(call.host)}'s"
                " FIN had come, and all before it was read.",
                [call.id, link.source],
            )


def time_wait(conversation: TcpConversation) -> Iterator[Found]:
    """Who closes first stays behind."""
    fins = [(f.at, side) for side in conversation.sides for f in side.fins[:1]]
    if len(fins) < 2 or any(side.resets for side in conversation.sides):
        return
    side = min(fins, key=lambda pair: pair[0])[1]
    fin, came = side.fins[0], _came(side)
    peer = conversation.side(other(side.host))
    back = _came(peer)
    if came is None or back is None or peer.fins[0].at <= came:
        return  # both at once, or not at its end yet
    last = next((f for f in side.frames if f.at >= back), fin)
    how = "closed first"
    if any(c.id in _cause(conversation, fin) for c in side.call("shutdown")):
        how = "was the first to send a FIN, with shutdown()"
    yield (
        f"The {side.host} {how}, so it is its end that stays in TIME_WAIT, for 60 s on"
        " Linux: a late segment must not be taken for one of a new connection between the same"
        " ports.",
        [last.id],
    )


def _came(side: Side) -> int | None:
    """Return when a side's FIN first reached the other end, however often it was sent."""
    return min((f.arrived for f in side.fins if f.arrived is not None), default=None)


def both_at_once(conversation: TcpConversation) -> Iterator[Found]:
    """Two FINs crossed."""
    one, two = conversation.sides
    if one.fins and two.fins:
        a, b = one.fins[0], two.fins[0]
        if a.arrived is None or b.arrived is None:
            return  # what was lost crosses nothing
        if a.arrived > b.at and b.arrived > a.at:
            yield "Both ends closed at once: their FINs crossed on the wire.", [a.id, b.id]


def ended_by_exit(conversation: TcpConversation) -> Iterator[Found]:
    """The kernel closed for a program that did not."""
    for side in conversation.sides:
        for fin in side.fins[:1]:
            if "program ended" in _why(conversation, fin):
                yield (
                    f"The {side.host}'s program ended without close(): its kernel closed the"
                    " socket for it, and sent the FIN.",
                    [fin.id, *_cause(conversation, fin)],
                )


def linger(conversation: TcpConversation) -> Iterator[Found]:
    """close() was told to reset."""
    for side in conversation.sides:
        for reset in side.resets:
            if "SO_LINGER" in _why(conversation, reset):
                yield (
                    "SO_LINGER with 0 s made close() send RST at once: no FIN, no TIME_WAIT, and"
                    " unsent bytes are lost.",
                    [reset.id, *_cause(conversation, reset)],
                )
                return


def close_took(conversation: TcpConversation) -> Iterator[Found]:
    """close() returns at once; the kernel goes on."""
    for side in conversation.sides:
        for fin in side.fins[:1]:
            causes = _cause(conversation, fin)
            call = next((c for c in side.calls if c.id in causes), None)
            if call and call.end is not None and fin.at - call.end > 1_000_000:
                yield (
                    f"{call.name}() returned at once; the FIN left {duration(fin.at - call.end)}"
                    " later, behind the bytes that were still to be sent: the kernel does that"
                    " alone.",
                    [call.id, fin.id],
                )


RULES: dict[str, TcpRule] = {
    "unread-data": unread_data,
    "data-after-close": after_close,
    "connection-unknown": nobody_there,
    "connection-reset": failed_with_reset,
    "broken-pipe": broken_pipe,
    "half-close": half_close,
    "end-of-stream": end_of_stream,
    "time-wait": time_wait,
    "both-closed": both_at_once,
    "ended-by-exit": ended_by_exit,
    "linger": linger,
    "close-went-on": close_took,
}
