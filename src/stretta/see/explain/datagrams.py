"""What happens to datagrams, and who notices: nobody, unless a program does (RFC 768, 1122)."""

from __future__ import annotations

from collections.abc import Iterator

from stretta.see.explain.rules import Found, UdpRule, bytes_, duration, fate, kernel, times
from stretta.see.tcp import other
from stretta.see.udp import Datagram, UdpStory

__all__ = ["RULES"]


def _bytes_of(datagram: Datagram) -> bytes:
    return datagram.frame.packet.payload


def _again(story: UdpStory, place: int) -> Datagram | None:
    """Return the next datagram with the same bytes from the same host as the one at a place."""
    lost = story.datagrams[place]
    later = story.datagrams[place + 1 : place + 100]  # who has said so much since, has gone on
    return next(
        (
            d
            for d in later
            if d.host == lost.host and d.size == lost.size and _bytes_of(d) == _bytes_of(lost)
        ),
        None,
    )


def _name(datagram: Datagram) -> str:
    return f"{datagram.call.name}()" if datagram.call else "the program"


def no_handshake(story: UdpStory) -> Iterator[Found]:
    """Nothing is agreed on before the first datagram."""
    first = next(iter(story.datagrams), None)
    if first and first.call and first.arrivals:
        yield (
            f"{_name(first)} returned after {duration(first.call.took)}, when the datagram was on"
            " its way: no handshake, no acknowledgement. Whether anybody is there, it cannot"
            " know.",
            [first.call.id, first.frame.id],
        )


def lost(story: UdpStory) -> Iterator[Found]:
    """A datagram was lost, and nobody noticed."""
    for place, datagram in enumerate(story.datagrams):
        gone = len(datagram.frames) == 1 and not datagram.frame.arrivals
        if gone and _again(story, place) is None:
            yield (
                f"The datagram {fate(story.faults, datagram.frame)}, and nobody noticed: UDP has"
                f" no acknowledgement. {_name(datagram)} had succeeded all the same.",
                [datagram.frame.id, *([datagram.call.id] if datagram.call else [])],
            )


def repeated(story: UdpStory) -> Iterator[Found]:
    """A program sent a lost datagram again."""
    for place, datagram in enumerate(story.datagrams):
        again = _again(story, place) if datagram.frame.packet.payload else None
        if again is None:
            continue
        reply = next(
            (
                d
                for d in story.datagrams[place + 1 : place + 100]
                if d.host != datagram.host and d.frame.at < again.frame.at
            ),
            None,
        )
        if datagram.lost:
            what = f"The datagram {fate(story.faults, datagram.frame)}"
        elif reply and reply.lost:
            what = f"The reply {fate(story.faults, reply.frame)}"
        else:
            continue
        yield (
            f"{what}. The program, not the kernel, noticed that no reply came, and sent the same"
            f" bytes again after {duration(again.frame.at - datagram.frame.at)}: with UDP, that"
            " is the program's business.",
            [again.frame.id, datagram.frame.id, *([reply.frame.id] if reply else [])],
        )


def waited_in_vain(story: UdpStory) -> Iterator[Found]:
    """A receive that never got anything."""
    for call in story.calls:
        failed = call.error in ("EAGAIN", "ETIMEDOUT") and call.took > 50_000_000
        if call.way == "in" and failed:
            yield (
                f"{call.name}() waited {duration(call.took)} and nothing came: without a time-out"
                " of its own it would wait for ever.",
                [call.id],
            )
            return


def doubled(story: UdpStory) -> Iterator[Found]:
    """A datagram came twice."""
    for datagram in story.datagrams:
        if len(datagram.arrivals) > 1:
            taken = len(datagram.taken)
            yield (
                f"The wire delivered this datagram {times(len(datagram.arrivals))}, and the"
                f" program got it {times(taken) if taken else 'not at all'}: UDP does not sort"
                " out doubles. Who must not do a thing twice has to number his requests.",
                [datagram.frame.id, *(c.id for c in datagram.taken)],
            )


def overtaken(story: UdpStory) -> Iterator[Found]:
    """Datagrams came in another order."""
    for host in ("client", "server"):
        latest: Datagram | None = None
        for datagram in sorted(
            (d for d in story.datagrams if d.host == host and d.arrivals),
            key=lambda d: d.arrivals[0],
        ):
            if latest and datagram.frame.at < latest.frame.at:
                yield (
                    "This datagram was overtaken by one that was sent after it, and the program"
                    " gets them in the order of their arrival: UDP keeps none.",
                    [datagram.frame.id, latest.frame.id],
                )
                return
            latest = datagram


def truncated(story: UdpStory) -> Iterator[Found]:
    """The receiver's buffer was too small."""
    for datagram in story.datagrams:
        for call in datagram.taken:
            if call.moved < datagram.size:
                yield (
                    f"{call.name}() had room for {bytes_(call.moved)} of a datagram of"
                    f" {bytes_(datagram.size)}: the other {datagram.size - call.moved:,} are"
                    " lost, as one receive takes one datagram, whole or cut.",
                    [call.id, datagram.frame.id],
                )


def fragmented(story: UdpStory) -> Iterator[Found]:
    """A datagram was bigger than a frame."""
    for datagram in story.datagrams:
        if len(datagram.frames) > 1 and datagram.arrivals:
            yield (
                f"A datagram of {bytes_(datagram.size)} does not fit in one frame (MTU 1500): the"
                f" IP layer sent it as {len(datagram.frames)} fragments, and put it together"
                " again at the other end.",
                [datagram.frame.id, *(f.id for f in datagram.frames[1:8])],
            )
            return


def fragment_lost(story: UdpStory) -> Iterator[Found]:
    """One fragment was lost, so the whole was."""
    for datagram in story.datagrams:
        gone = [f for f in datagram.frames if f.arrived is None]
        if len(datagram.frames) > 1 and gone:
            yield (
                f"One of {len(datagram.frames)} fragments {fate(story.faults, gone[0])}, and with"
                f" it the whole datagram of {bytes_(datagram.size)}:"
                f" {kernel(other(datagram.host))} keeps the others for 30 s, and then gives up.",
                [gone[0].id, datagram.frame.id],
            )


def refused(story: UdpStory) -> Iterator[Found]:
    """Nobody has that port, and the sender learns of it."""
    for error in story.errors:
        call = next(
            (k.target for k in story.links if k.source == error.id and k.kind == "failed"), None
        )
        if call is not None:
            failed = next(c for c in story.calls if c.id == call)
            yield (
                f"Nobody has that port: {kernel(error.host)} answered the datagram with ICMP"
                f' "{error.packet.words}". As the socket is connected, the kernel could tell the'
                f" program: {failed.name}() failed with {failed.error}.",
                [error.id, call],
            )
            return


def refused_unheard(story: UdpStory) -> Iterator[Found]:
    """Nobody has that port, and the sender does not learn of it."""
    for error in story.errors:
        heard = any(k.source == error.id and k.kind == "failed" for k in story.links)
        if not heard:
            yield (
                f"Nobody has that port: {kernel(error.host)} answered the datagram with ICMP"
                f' "{error.packet.words}", but no call of the program told of it: the socket is not'
                " connected, or nothing was asked of it afterwards.",
                [error.id],
            )
            return


def empty(story: UdpStory) -> Iterator[Found]:
    """A datagram of no bytes."""
    for datagram in story.datagrams:
        if datagram.size == 0 and datagram.taken:
            yield (
                "A datagram of 0 bytes is a datagram all the same: the receive returned 0, and"
                " this is not the end of anything.",
                [datagram.frame.id, *(c.id for c in datagram.taken)],
            )
            return


def unread(story: UdpStory) -> Iterator[Found]:
    """It came, and no program took it."""
    refused_ones = {k.source for k in story.links if k.kind == "provoked"}
    for datagram in story.datagrams:
        to = other(datagram.host)
        missing = len(datagram.arrivals) - len(datagram.taken)
        if missing > 0 and to in story.watched and datagram.frame.id not in refused_ones:
            yield (
                f"This datagram came to the {to}, and its program never took it: it stayed in the"
                " socket's buffer, or found it full.",
                [datagram.frame.id],
            )
            return


def corrupted(story: UdpStory) -> Iterator[Found]:
    """A damaged datagram is a lost one."""
    for datagram in story.datagrams:
        if datagram.lost and any(a.changed for f in datagram.frames for a in f.arrivals):
            yield (
                "One bit of this datagram changed on the wire: its checksum no longer fitted,"
                f" and {kernel(other(datagram.host))} dropped it without a word.",
                [datagram.frame.id],
            )
            return


def answered(story: UdpStory) -> Iterator[Found]:
    """How long a question took."""
    for first in story.datagrams:
        reply = next(
            (d for d in story.datagrams if d.host != first.host and d.frame.at > first.frame.at),
            None,
        )
        if first.arrivals and reply and reply.arrivals and _again(story, 0) is None:
            yield (
                f"Question and answer took {duration(reply.arrivals[0] - first.frame.at)} and two"
                " datagrams: one each way, and nothing more.",
                [reply.frame.id, first.frame.id],
            )
        return


RULES: dict[str, UdpRule] = {
    "udp-no-handshake": no_handshake,
    "udp-lost": lost,
    "udp-repeated": repeated,
    "udp-waited": waited_in_vain,
    "udp-doubled": doubled,
    "udp-overtaken": overtaken,
    "udp-truncated": truncated,
    "udp-fragmented": fragmented,
    "udp-fragment-lost": fragment_lost,
    "udp-refused": refused,
    "udp-refused-unheard": refused_unheard,
    "udp-empty": empty,
    "udp-unread": unread,
    "udp-corrupted": corrupted,
    "udp-answered": answered,
}
