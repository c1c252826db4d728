"""How bytes travel: sends, segments and receives need not match (RFC 9293 section 3.8)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from stretta.see.events import Call, Frame
from stretta.see.explain.rules import Found, TcpRule, bytes_, duration, kernel, times
from stretta.see.packets import RST, SYN
from stretta.see.tcp import Side, TcpStory, other

__all__ = ["RULES"]

SHORT = 5_000_000
"""Nanoseconds: a wait below this is not worth a sentence."""


def _sides(story: TcpStory) -> Iterator[tuple[Side, Side]]:
    for side in story.sides:
        yield side, story.side(other(side.host))


def _frames_of(side: Side) -> dict[int, list[tuple[int, int, Frame]]]:
    """Return the segments that carried each call's bytes first."""
    found: dict[int, list[tuple[int, int, Frame]]] = defaultdict(list)
    for first, last, call in side.sends:
        for a, b, frame in side.first.within(first, last):
            found[call.id].append((a, b, frame))
    return found


def _by_id(calls: Iterator[Call]) -> dict[int, Call]:
    return {call.id: call for call in calls}


def segmented(story: TcpStory) -> Iterator[Found]:
    """One send travelled in several segments."""
    for side, peer in _sides(story):
        limit = min((s.packet.mss for s in (*side.syns[:1], *peer.syns[:1])), default=0)
        frames = _frames_of(side)
        told = 0
        for _, _, call in side.sends:
            if told == 2:
                break
            carried = list({f.id: f for _, _, f in frames[call.id]}.values())
            if len(carried) > 1:
                most = max(f.packet.length for f in carried)
                less = limit - most
                why = f" (MSS {limit:,}, less {less} of options)" if 0 < less <= 40 else ""
                told += 1
                yield (
                    f"The {side.host} sent {bytes_(call.moved)} in one {call.name}(); they"
                    f" travelled in {len(carried)} segments of at most {bytes_(most)}{why}.",
                    [call.id, *(f.id for f in carried[:8])],
                )


def coalesced(story: TcpStory) -> Iterator[Found]:
    """One segment carried several sends."""
    for side, _ in _sides(story):
        told = 0
        for frame in side.frames:
            if not frame.packet.length or frame.repeats is not None or told >= 3:
                continue
            start = frame.seq - 1
            calls = list(
                _by_id(
                    c for _, _, c in side.sends.within(start, start + frame.packet.length)
                ).values()
            )
            if len(calls) > 1 and frame.packet.length < 1000:
                told += 1
                yield (
                    f"One segment carries the bytes of {len(calls)} calls of {calls[0].name}():"
                    f" {kernel(side.host)} sent together what it had.",
                    [frame.id, *(c.id for c in calls[:8])],
                )


def received_together(story: TcpStory) -> Iterator[Found]:
    """One receive returned the bytes of several sends."""
    for side, peer in _sides(story):
        for first, last, call in side.takes:
            calls = list(_by_id(c for _, _, c in side.sends.within(first, last)).values())
            if len(calls) > 1:
                yield (
                    f"One {call.name}() of the {peer.host} returned the bytes of {len(calls)}"
                    f" calls of {calls[0].name}(): TCP is a stream of bytes and keeps no message"
                    " apart.",
                    [call.id, *(c.id for c in calls[:8])],
                )
                break


def received_apart(story: TcpStory) -> Iterator[Found]:
    """One send took several receives."""
    for side, peer in _sides(story):
        for first, last, call in side.sends:
            taken = list(_by_id(c for _, _, c in side.takes.within(first, last)).values())
            if len(taken) > 1:
                yield (
                    f"The {bytes_(call.moved)} of one {call.name}() came out of {len(taken)}"
                    f" calls of {taken[0].name}() at the {peer.host}: who wants a whole message"
                    " must know its length, and go on until it is there.",
                    [taken[0].id, call.id],
                )
                break


def partial_send(story: TcpStory) -> Iterator[Found]:
    """send() took less than it was given."""
    for side in story.sides:
        calls = [
            c
            for c in side.calls
            if c.way == "out" and c.name != "sendfile" and c.asked and 0 < c.moved < c.asked
        ]
        for call in calls[:1]:
            more = f" It happened {times(len(calls))}." if len(calls) > 1 else ""
            yield (
                f"{call.name}() took {call.moved:,} of {bytes_(call.asked or 0)}: the kernel's"
                " send buffer was full. The rest was not sent, and is the program's to send"
                f" again; that is what sendall() does.{more}",
                [call.id, *(c.id for c in calls[1:4])],
            )


def send_blocked(story: TcpStory) -> Iterator[Found]:
    """A sending call had to wait for room."""
    for side, peer in _sides(story):
        for call in side.calls:
            if call.way != "out" or call.took < 20_000_000 or not call.moved:
                continue
            low = min((w for f, w in peer.windows if f.at <= call.until), default=None)
            why = "faster than the wire carries them"
            if low is not None and low < 2 * 1460:
                why = f"faster than the {peer.host}'s program reads them"
            yield (
                f"{call.name}() of {bytes_(call.asked or call.moved)} blocked for"
                f" {duration(call.took)}: the kernel's send buffer was full, as bytes were given"
                f" {why}.",
                [call.id],
            )
            break


def would_block(story: TcpStory) -> Iterator[Found]:
    """A call on a socket that does not block found nothing to do."""
    for side in story.sides:
        for way, what in (("out", "room to send"), ("in", "anything to read")):
            calls = [c for c in side.calls if c.way == way and c.error in ("EAGAIN", "EWOULDBLOCK")]
            if calls:
                yield (
                    f"{calls[0].name}() returned EAGAIN {times(len(calls))}: the socket does not"
                    f" block, and there was not {what} yet.",
                    [calls[0].id],
                )


def zero_window(story: TcpStory) -> Iterator[Found]:
    """The receiver's buffer was full."""
    for side, peer in _sides(story):
        shut = next(
            (f for f, w in side.windows if w == 0 and not f.packet.flags & (SYN | RST)), None
        )
        if shut is None:
            continue
        opened = next((f for f, w in side.windows if w > 0 and f.at > shut.at), None)
        until = opened.at if opened else 2**62
        probes = [f for f in peer.frames if shut.at < f.at < until and f.packet.span <= 1]
        heard = (
            f" It asked {times(len(probes))} meanwhile whether there was room." if probes else ""
        )
        end = f" after {duration(opened.at - shut.at)}" if opened else " never again"
        yield (
            f"The {side.host}'s program did not read, its kernel's buffer was full, and it"
            f" offered a window of 0: the {peer.host} must not send. It offered room"
            f" again{end}.{heard}",
            [shut.id, *([opened.id] if opened else [])],
        )


def nagle(story: TcpStory) -> Iterator[Found]:
    """A small segment waited for an acknowledgement."""
    for side, peer in _sides(story):
        carriers = _frames_of(side)
        for _, _, call in side.sends:
            frames = [f for _, _, f in carriers[call.id]] if call.moved < 1460 else []
            if not frames or frames[0].at - call.until < 10_000_000 or call.end is None:
                continue
            ack = next(
                (
                    f
                    for f in peer.frames
                    if f.arrived is not None and 0 <= frames[0].at - f.arrived < 2_000_000
                ),
                None,
            )
            if ack:
                yield (
                    f"The {bytes_(call.moved)} of this {call.name}() waited"
                    f" {duration(frames[0].at - call.at)} in {kernel(side.host)}: a small segment"
                    " is not sent while another is unacknowledged (Nagle, RFC 9293 section"
                    " 3.7.4); it left when the acknowledgement came. TCP_NODELAY would send it"
                    " at once.",
                    [call.id, ack.id, frames[0].id],
                )
                return


def delayed_ack(story: TcpStory) -> Iterator[Found]:
    """An acknowledgement waited for a reply to ride on."""
    for side, peer in _sides(story):
        acknowledged = {k.target: k.source for k in story.links if k.kind == "acknowledged"}
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


def piggyback(story: TcpStory) -> Iterator[Found]:
    """The acknowledgement rode on a reply."""
    for side, peer in _sides(story):
        ours = {f.id: f for f in side.frames if f.packet.length}
        theirs = {f.id: f for f in peer.frames if f.packet.length}
        for link in story.links:
            frame, done = ours.get(link.target), theirs.get(link.source)
            if link.kind == "acknowledged" and frame and done:
                yield (
                    "No segment of its own was needed to acknowledge these bytes: the"
                    f" acknowledgement rode on the {side.host}'s reply.",
                    [frame.id, done.id],
                )
                return


def receive_waited(story: TcpStory) -> Iterator[Found]:
    """What a receiving call waited for."""
    for side, peer in _sides(story):
        told = 0
        for first, _, call in side.takes:
            if call.took < SHORT or told >= 3:
                continue
            landed = next((f for _, _, f in side.landed.within(first, first + 1)), None)
            given = next((c for _, _, c in side.sends.within(first, first + 1)), None)
            if landed is None or landed.arrived is None or landed.arrived <= call.at:
                continue
            told += 1
            parts = []
            if given and given.at > call.at:
                parts.append(
                    f"{duration(given.at - call.at)} until the {side.host} called {given.name}()"
                )
            start = max(call.at, given.at if given else landed.at)
            original = next((f for _, _, f in side.first.within(first, first + 1)), landed)
            if landed is not original:
                parts.append(f"{duration(landed.at - start)} until the bytes were sent again")
                start = landed.at
            if landed.arrived - start > 500_000:
                parts.append(f"{duration(landed.arrived - start)} on the way")
            why = ", ".join(parts) or f"for bytes that the {side.host} sent"
            yield (
                f"{call.name}() of the {peer.host} waited {duration(call.took)}: {why}.",
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
