"""What happens to datagrams, and who notices: nobody, unless a program does (RFC 768, 1122)."""

from __future__ import annotations

from collections.abc import Iterator

from stretta.see.correlate.tcp import other
from stretta.see.correlate.udp import Datagram, UdpConversation
from stretta.see.explain.phrases import Found, UdpRule, bytes_, duration, fate, kernel, times

__all__ = ["RULES"]


def _bytes_of(datagram: Datagram) -> bytes:
    return datagram.frame.packet.payload


def _again(conversation: UdpConversation, place: int) -> Datagram | None:
    """Return the next datagram with the same bytes from the same host as the one at a place."""
    lost = conversation.datagrams[place]
    later = conversation.datagrams[
        place + 1 : place + 100
    ]  # who has said so much since, has gone on
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


def no_handshake(conversation: UdpConversation) -> Iterator[Found]:
    """Nothing is agreed on before the first datagram."""
    first = next(iter(conversation.datagrams), None)
    if first and first.call and first.arrivals:
        yield (
            f"{_name(first)} returned after {duration(first.call.duration)}, when the datagram was on"  # noqa: E501
            " its way: no handshake, no acknowledgement. Whether anybody is there, it cannot"
            " know.",
            [first.call.id, first.frame.id],
        )


def _vain(conversation: UdpConversation, host: str, since: int, until: int) -> str:
    """Return the words for a wait of a host's program in which nothing came, or ''."""
    for call in conversation.in_vain:
        if call.host == host and since <= call.latest_end and call.at + call.duration <= until:
            return f"its {call.name}() waited {duration(call.duration)} in vain"
    return ""


TOLD = 3
"""Sentences about the same thing; the last says how many more there would be."""


def lost(conversation: UdpConversation) -> Iterator[Found]:
    """A datagram was lost, and nothing tells its sender."""
    latest = {d.host: place for place, d in enumerate(conversation.datagrams)}
    gone = [
        (place, d) for place, d in enumerate(conversation.datagrams)
        if len(d.frames) == 1 and not d.frame.arrivals and not _repetition(conversation, place)
    ]  # fmt: skip
    for told, (place, datagram) in enumerate(gone[:TOLD], 1):
        left = datagram.frame.at
        sender, receiver = datagram.host, other(datagram.host)
        noticed = "nothing told its sender"
        waited = ""
        if vain := _vain(conversation, sender, left, 2**63):
            waited = f" Only the sender's own time-out can tell: {vain}."
        elif vain := _vain(conversation, receiver, left, 2**63):
            waited = f" Who was to get it noticed only that nothing came: {vain}."
        elif conversation.watched >= {sender, receiver} and latest[datagram.host] == place:
            noticed = "nobody noticed"
        yield (
            f"The datagram {fate(conversation.faults, datagram.frame)}, and {noticed}: UDP has"
            f" no acknowledgement. {_name(datagram)} had succeeded all the same.{waited}"
            f"{_more(told, len(gone))}",
            [datagram.frame.id, *([datagram.call.id] if datagram.call else [])],
        )


def _more(told: int, count: int) -> str:
    """Return the words for what is not told one by one."""
    rest = count - TOLD
    return f" So it went with {rest:,} more." if told == TOLD and rest > 0 else ""


def _repetition(conversation: UdpConversation, place: int) -> tuple[Datagram, str] | None:
    """Return the repetition of a datagram, and the words for the wait that made it one, or None.

    Only who began can ask again, and, where calls are seen, only after waiting in vain: equal
    bytes alone can be another question, or the answer to one.
    """
    datagram = conversation.datagrams[place]
    if datagram.host != conversation.datagrams[0].host or not datagram.frame.packet.payload:
        return None
    again = _again(conversation, place)
    if again is None:
        return None
    vain = _vain(conversation, datagram.host, datagram.frame.at, again.frame.at)
    return (again, vain) if vain or datagram.host not in conversation.watched else None


def repeated(conversation: UdpConversation) -> Iterator[Found]:
    """A program sent a lost datagram again, or one whose reply was lost."""
    found: list[Found] = []
    for place, datagram in enumerate(conversation.datagrams):
        repetition = _repetition(conversation, place)
        if repetition is None:
            continue
        again, vain = repetition
        replies = [
            d for d in conversation.datagrams[place + 1 : place + 100]
            if d.host != datagram.host and d.frame.at < again.frame.at
        ]  # fmt: skip
        reply = None
        if datagram.lost:
            what = f"The datagram {_fate(conversation, datagram)}"
        elif replies and all(d.lost for d in replies):
            reply = replies[0]
            what = f"The reply {_fate(conversation, reply)}"
        else:
            continue
        after = duration(again.frame.at - datagram.frame.at)
        how = f"The same bytes were sent again after {after}, by the program, not by the kernel"
        if vain:
            how = (
                f"The program, not the kernel, noticed that no reply came ({vain}), and sent the"
                f" same bytes again after {after}"
            )
        found.append(
            (
                f"{what}. {how}: with UDP, that is the program's business.",
                [again.frame.id, datagram.frame.id, *([reply.frame.id] if reply else [])],
            )
        )
    for told, (text, events) in enumerate(found[:TOLD], 1):
        yield text + _more(told, len(found)), events


def _fate(conversation: UdpConversation, datagram: Datagram) -> str:
    """Return what became of a datagram that did not come whole."""
    if len(datagram.frames) > 1:
        return "did not arrive whole"
    return fate(conversation.faults, datagram.frame)


def waited_in_vain(conversation: UdpConversation) -> Iterator[Found]:
    """A receive that never got anything."""
    for call in conversation.in_vain[:1]:
        yield (
            f"{call.name}() waited {duration(call.duration)} and nothing came: without a time-out"
            " of its own it would wait for ever.",
            [call.id],
        )


def doubled(conversation: UdpConversation) -> Iterator[Found]:
    """A datagram came twice."""
    for datagram in conversation.datagrams:
        if len(datagram.arrivals) > 1:
            taken = len(datagram.received_by)
            yield (
                f"The wire delivered this datagram {times(len(datagram.arrivals))}, and the"
                f" program got it {times(taken) if taken else 'not at all'}: UDP does not sort"
                " out doubles. Who must not do a thing twice has to number his requests.",
                [datagram.frame.id, *(c.id for c in datagram.received_by)],
            )


def overtaken(conversation: UdpConversation) -> Iterator[Found]:
    """Datagrams came in another order."""
    for host in ("client", "server"):
        latest: Datagram | None = None
        for datagram in sorted(
            (d for d in conversation.datagrams if d.host == host and d.arrivals),
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


def truncated(conversation: UdpConversation) -> Iterator[Found]:
    """The receiver's buffer was too small."""
    for datagram in conversation.datagrams:
        for call in datagram.received_by:
            if call.transferred < datagram.size:
                yield (
                    f"{call.name}() had room for {bytes_(call.transferred)} of a datagram of"
                    f" {bytes_(datagram.size)}: the other {datagram.size - call.transferred:,} are"
                    " lost, as one receive takes one datagram, whole or cut.",
                    [call.id, datagram.frame.id],
                )


def fragmented(conversation: UdpConversation) -> Iterator[Found]:
    """A datagram was bigger than a frame."""
    for datagram in conversation.datagrams:
        if len(datagram.frames) > 1 and datagram.arrivals:
            yield (
                f"A datagram of {bytes_(datagram.size)} does not fit in one frame (MTU 1500): the"
                f" IP layer sent it as {len(datagram.frames)} fragments, and put it together"
                " again at the other end.",
                [datagram.frame.id, *(f.id for f in datagram.frames[1:8])],
            )
            return


def fragment_lost(conversation: UdpConversation) -> Iterator[Found]:
    """One fragment was lost, so the whole was."""
    for datagram in conversation.datagrams:
        gone = [f for f in datagram.frames if not f.arrivals]  # what is damaged does come
        if len(datagram.frames) > 1 and gone:
            yield (
                f"One of {len(datagram.frames)} fragments {fate(conversation.faults, gone[0])}, and with"  # noqa: E501
                f" it the whole datagram of {bytes_(datagram.size)}:"
                f" {kernel(other(datagram.host))} keeps the others for 30 s, and then gives up.",
                [gone[0].id, datagram.frame.id],
            )


def refused(conversation: UdpConversation) -> Iterator[Found]:
    """Nobody has that port, and the sender learns of it."""
    for error in conversation.errors:
        call = next(
            (k.target for k in conversation.links if k.source == error.id and k.kind == "failed"),
            None,
        )
        if call is not None:
            failed = next(c for c in conversation.calls if c.id == call)
            yield (
                f"Nobody has that port: {kernel(error.host)} answered the datagram with ICMP"
                f' "{error.packet.words}". As the socket is connected, the kernel could tell the'
                f" program: {failed.name}() failed with {failed.error}.",
                [error.id, call],
            )
            return


def refused_unheard(conversation: UdpConversation) -> Iterator[Found]:
    """Nobody has that port, and the sender does not learn of it."""
    for error in conversation.errors:
        heard = any(k.source == error.id and k.kind == "failed" for k in conversation.links)
        if not heard:
            yield (
                f"Nobody has that port: {kernel(error.host)} answered the datagram with ICMP"
                f' "{error.packet.words}", but no call of the program told of it: the socket is not'
                " connected, or nothing was asked of it afterwards.",
                [error.id],
            )
            return


def empty(conversation: UdpConversation) -> Iterator[Found]:
    """A datagram of no bytes."""
    for datagram in conversation.datagrams:
        if datagram.size == 0 and datagram.received_by:
            yield (
                "A datagram of 0 bytes is a datagram all the same: the receive returned 0, and"
                " this is not the end of anything.",
                [datagram.frame.id, *(c.id for c in datagram.received_by)],
            )
            return


def unread(conversation: UdpConversation) -> Iterator[Found]:
    """It came, and no program took it."""
    refused_ones = {k.source for k in conversation.links if k.kind == "provoked"}
    for datagram in conversation.datagrams:
        to = other(datagram.host)
        missing = len(datagram.arrivals) - len(datagram.received_by)
        known = to in conversation.watched and not datagram.received_by
        if missing > 0 and known and datagram.frame.id not in refused_ones:
            yield (
                f"This datagram came to the {to}, and its program never took it: it stayed in the"
                " socket's buffer, or found it full.",
                [datagram.frame.id],
            )
            return


def corrupted(conversation: UdpConversation) -> Iterator[Found]:
    """A damaged datagram is a lost one."""
    for datagram in conversation.datagrams:
        spoiled = [f for f in datagram.frames if any(a.corrupted for a in f.arrivals)]
        if not datagram.lost or not spoiled or not all(f.arrivals for f in datagram.frames):
            continue
        what = "its checksum no longer fitted"
        if len(datagram.frames) > 1:
            if ":" in datagram.frame.packet.source:
                continue  # the bit can be one of the fragment's own header (RFC 8200 section 4.5)
            what = (
                f"when its {len(datagram.frames)} fragments were together, its checksum no longer"
                " fitted"
            )
        yield (
            f"One bit of this datagram changed on the wire: {what}, and"
            f" {kernel(other(datagram.host))} dropped it whole, without a word.",
            [datagram.frame.id, *(f.id for f in spoiled if f is not datagram.frame)],
        )
        return


def answered(conversation: UdpConversation) -> Iterator[Found]:
    """How long a question took."""
    first = next(iter(conversation.datagrams), None)
    if first is None or not first.arrivals or _again(conversation, 0):
        return
    reply = next(
        (
            d for d in conversation.datagrams
            if d.host != first.host and d.frame.at >= first.arrivals[0] and d.arrivals
        ),
        None,
    )  # fmt: skip
    if reply is None:
        return
    between = [d for d in conversation.datagrams if d.frame.at <= reply.arrivals[0]]
    once = len(first.arrivals) == len(reply.arrivals) == 1
    alone = len(between) == 2 and once
    more = " and two datagrams: one each way, and nothing more" if alone else ""
    yield (
        f"Question and answer took {duration(reply.arrivals[0] - first.frame.at)}{more}.",
        [reply.frame.id, first.frame.id],
    )


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
