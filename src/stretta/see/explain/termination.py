"""How connections end: FIN, RST, half-close, TIME_WAIT (RFC 9293 sections 3.6 and 3.10.7)."""

from __future__ import annotations

from collections.abc import Iterator

from stretta.see.correlate.conversation import Side, TcpConversation, unread_at
from stretta.see.events import NEVER, Cause, Direction, Event, Frame, LinkKind
from stretta.see.explain.phrases import Found, TcpRule, phrase

__all__ = ["RULES"]


def _why(conversation: TcpConversation, frame: Frame) -> Cause | None:
    """Return why a FIN or RST was sent."""
    link = conversation.cause_of(frame, LinkKind.SENT) or conversation.cause_of(
        frame, LinkKind.PROVOKED
    )
    return link.cause if link else None


def _causes(conversation: TcpConversation, target: Event) -> list[int]:
    """Return the events that made a kernel send a FIN or RST."""
    kinds = LinkKind.SENT, LinkKind.PROVOKED
    return [k.source for k in conversation.links if k.target == target.id and k.kind in kinds]


def _resets(conversation: TcpConversation, *causes: Cause) -> Iterator[tuple[Side, Frame]]:
    """Return the RST segments that have one of the causes, with the side that sent them."""
    for side in conversation.sides:
        for reset in side.resets:
            if _why(conversation, reset) in causes:
                yield side, reset


def unread_data(conversation: TcpConversation) -> Iterator[Found]:
    """close() with unread data resets."""
    for side, reset in _resets(conversation, Cause.CLOSE_UNREAD, Cause.EXIT_UNREAD):
        if reset is not side.resets[0]:
            continue
        peer = conversation.peer(side)
        gave = list({c.id: c for _, _, c in peer.sent_by if c.at <= reset.at}.values())
        took = list({c.id: c for _, _, c in peer.received_by}.values())
        carried = [
            f for f in peer.frames
            if f.packet.length and f.retransmission_of is None and f.at <= reset.at
        ]  # fmt: skip
        before = None
        if gave and took:
            before = phrase(
                "unread-data.before",
                peer=peer.host,
                size=sum(c.transferred for c in gave),
                sends=gave,
                segments=len(carried),
                receives=took,
                host=side.host,
                received=peer.bytes_received,
            )
        closed = _why(conversation, reset) is Cause.CLOSE_UNREAD
        yield (
            phrase(
                "unread-data" if closed else "unread-data.exit",
                before=before,
                host=side.host,
                size=unread_at(peer, reset.at),
            ),
            [reset.id, *_causes(conversation, reset)],
        )


def after_close(conversation: TcpConversation) -> Iterator[Found]:
    """A segment arrived after the program had closed the socket."""
    for side, reset in _resets(conversation, Cause.ALREADY_CLOSED):
        causes = _causes(conversation, reset)
        segment = next((f for f in conversation.peer(side).frames if f.id in causes), None)
        data = segment is not None and segment.packet.length > 0
        key = "data-after-close" if data else "data-after-close.empty"
        yield phrase(key, host=side.host), [reset.id, *causes]
        return


def nobody_there(conversation: TcpConversation) -> Iterator[Found]:
    """A segment arrived for a connection that the kernel does not know."""
    for side, reset in _resets(conversation, Cause.UNKNOWN_CONNECTION):
        yield (
            phrase("connection-unknown", host=side.host),
            [reset.id, *_causes(conversation, reset)],
        )
        return


def failed_with_reset(conversation: TcpConversation) -> Iterator[Found]:
    """A call failed because of an RST."""
    for side in conversation.sides:
        peer = conversation.peer(side)
        for call in side.calls:
            if call.error != "ECONNRESET":
                continue
            lost = peer.bytes_sent - peer.bytes_received
            also = None
            if lost > 0 and call.direction is Direction.IN:
                also = phrase("connection-reset.lost", size=lost, host=peer.host)
            link = conversation.cause_of(call, LinkKind.FAILED)
            yield (
                phrase("connection-reset", name=call.name, also=also),
                [call.id, *([link.source] if link else [])],
            )
            return


def broken_pipe(conversation: TcpConversation) -> Iterator[Found]:
    """A send after the end."""
    for side in conversation.sides:
        for call in side.calls:
            if call.error != "EPIPE":
                continue
            resets = conversation.peer(side).resets
            reset = next((f for f in resets if (f.arrived or NEVER) <= call.latest_end), None)
            shut = next((c for c in side.call("shutdown") if c.id < call.id and not c.error), None)
            why, cause = phrase("broken-pipe.over"), []
            if shut and shut.flags != "SHUT_RD":
                why, cause = phrase("broken-pipe.shutdown"), [shut.id]
            elif reset:
                why, cause = phrase("broken-pipe.reset"), [reset.id]
            kills = None if "MSG_NOSIGNAL" in call.flags else phrase("broken-pipe.signal")
            yield (
                phrase("broken-pipe", name=call.name, why=why, kills=kills),
                [call.id, *cause],
            )
            return


def half_close(conversation: TcpConversation) -> Iterator[Found]:
    """One direction ended, the other went on."""
    for side in conversation.sides:
        peer = conversation.peer(side)
        call = next(
            (c for c in side.call("shutdown") if c.flags == "SHUT_WR" and not c.error), None
        )
        fin = next(iter(side.fins), None)
        if not call or not fin or (_fin_arrival(peer) or NEVER) <= call.at:
            continue  # no half-close, or the other direction had ended before
        later = [c for _, _, c in peer.sent_by if fin.arrived is not None and c.at > fin.arrived]
        size = sum(c.transferred for c in later)
        reads = [
            c for c in side.calls if c.direction is Direction.IN and (c.end or NEVER) > call.at
        ]
        closed = next((c for c in side.call("close") if c.at >= call.at), None)
        still = phrase("half-close.reads" if reads else "half-close.could-read")
        if closed and not reads and side.host in conversation.watched:
            still = phrase("half-close.closed", wait=closed.at - call.at)
        went_on = phrase("half-close.went-on", size=size) if size else None
        yield (
            phrase("half-close", host=side.host, still=still, went_on=went_on),
            [call.id, fin.id],
        )


def end_of_stream(conversation: TcpConversation) -> Iterator[Found]:
    """A receive returned 0 bytes."""
    calls = {c.id: (side, c) for side in conversation.sides for c in side.calls}
    for link in conversation.links:
        if link.kind is LinkKind.ENDED:
            side, call = calls[link.target]
            yield (
                phrase("end-of-stream", name=call.name, host=conversation.peer(side).host),
                [call.id, link.source],
            )


def time_wait(conversation: TcpConversation) -> Iterator[Found]:
    """The end that closes first stays in TIME_WAIT."""
    fins = [(side.fins[0].at, side) for side in conversation.sides if side.fins]
    if len(fins) < 2 or any(side.resets for side in conversation.sides):
        return
    side = min(fins, key=lambda pair: pair[0])[1]
    peer = conversation.peer(side)
    fin, came, back = side.fins[0], _fin_arrival(side), _fin_arrival(peer)
    if came is None or back is None or peer.fins[0].at <= came:
        return  # both at once, or not at its end yet
    last = next((f for f in side.frames if f.at >= back), fin)
    shut = any(c.id in _causes(conversation, fin) for c in side.call("shutdown"))
    yield phrase("time-wait.shutdown" if shut else "time-wait", host=side.host), [last.id]


def _fin_arrival(side: Side) -> int | None:
    """Return when a side's FIN first reached the other end, however often it was sent."""
    return min((f.arrived for f in side.fins if f.arrived is not None), default=None)


def both_at_once(conversation: TcpConversation) -> Iterator[Found]:
    """Two FINs crossed."""
    one, two = conversation.sides
    if one.fins and two.fins:
        a, b = one.fins[0], two.fins[0]
        if a.arrived is None or b.arrived is None:
            return  # a lost FIN crosses nothing
        if a.arrived > b.at and b.arrived > a.at:
            yield phrase("both-closed"), [a.id, b.id]


def ended_by_exit(conversation: TcpConversation) -> Iterator[Found]:
    """The kernel closed a socket whose program ended."""
    for side in conversation.sides:
        for fin in side.fins[:1]:
            if _why(conversation, fin) is Cause.EXIT:
                yield phrase("ended-by-exit", host=side.host), [fin.id, *_causes(conversation, fin)]


def linger(conversation: TcpConversation) -> Iterator[Found]:
    """close() reset the connection because of SO_LINGER."""
    for side in conversation.sides:
        for reset in side.resets:
            if _why(conversation, reset) is Cause.LINGER:
                yield phrase("linger"), [reset.id, *_causes(conversation, reset)]
                return


def close_took(conversation: TcpConversation) -> Iterator[Found]:
    """close() returned at once; the kernel went on."""
    for side in conversation.sides:
        for fin in side.fins[:1]:
            causes = _causes(conversation, fin)
            call = next((c for c in side.calls if c.id in causes), None)
            if call and call.end is not None and fin.at - call.end > 1_000_000:
                yield (
                    phrase("close-went-on", name=call.name, wait=fin.at - call.end),
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
