"""What happens to datagrams: no kernel repairs a loss, only a program can (RFC 768, 1122)."""

from __future__ import annotations

from collections.abc import Iterator

from stretta.see.correlate.udp import Datagram, UdpConversation
from stretta.see.events import NEVER, Call, LinkKind
from stretta.see.explain.phrases import Found, Phrase, UdpRule, fate, phrase

__all__ = ["RULES"]

REPORTED = 3
"""Sentences of a rule about one conversation; the last says how many more there would be."""

AHEAD = 100
"""Datagrams in which the repetition of one is looked for: later ones belong to other requests."""


def _payload(datagram: Datagram) -> bytes:
    return datagram.frame.packet.payload


def _again(conversation: UdpConversation, place: int) -> Datagram | None:
    """Return the next datagram with the same bytes from the same host as the one at a place."""
    first = conversation.datagrams[place]
    for later in conversation.datagrams[place + 1 : place + AHEAD]:
        if (later.host, later.size, _payload(later)) == (first.host, first.size, _payload(first)):
            return later
    return None


def _sender(datagram: Datagram) -> Phrase:
    if datagram.call:
        return phrase("call", name=datagram.call.name)
    return phrase("udp.program")


def no_handshake(conversation: UdpConversation) -> Iterator[Found]:
    """Nothing is agreed on before the first datagram."""
    first = next(iter(conversation.datagrams), None)
    if first and first.call and first.arrivals:
        yield (
            phrase("udp-no-handshake", name=first.call.name, wait=first.call.duration),
            [first.call.id, first.frame.id],
        )


def _vain(conversation: UdpConversation, host: str, since: int, until: int) -> Call | None:
    """Return a call of a host's program that waited in vain within a time, or None."""
    for call in conversation.in_vain:
        if call.host == host and since <= call.latest_end and call.at + call.duration <= until:
            return call
    return None


def _wait(call: Call) -> Phrase:
    return phrase("udp.vain", name=call.name, wait=call.duration)


def lost(conversation: UdpConversation) -> Iterator[Found]:
    """A datagram was lost, and nothing tells its sender."""
    latest = {d.host: place for place, d in enumerate(conversation.datagrams)}
    gone = [
        (place, d) for place, d in enumerate(conversation.datagrams)
        if len(d.frames) == 1 and not d.frame.arrivals and not _repetition(conversation, place)
    ]  # fmt: skip
    for reported, (place, datagram) in enumerate(gone[:REPORTED], 1):
        left = datagram.frame.at
        sender, receiver = datagram.host, conversation.peer(datagram.host)
        noticed, waited = phrase("udp-lost.sender"), None
        if vain := _vain(conversation, sender, left, NEVER):
            waited = phrase("udp-lost.sender-waited", wait=_wait(vain))
        elif vain := _vain(conversation, receiver, left, NEVER):
            waited = phrase("udp-lost.receiver-waited", wait=_wait(vain))
        elif conversation.watched >= {sender, receiver} and latest[datagram.host] == place:
            noticed = phrase("udp-lost.nobody")
        yield (
            phrase(
                "udp-lost",
                fate=fate(conversation.faults, datagram.frame),
                noticed=noticed,
                sender=_sender(datagram),
                waited=waited,
                more=_more(reported, len(gone)),
            ),
            [datagram.frame.id, *([datagram.call.id] if datagram.call else [])],
        )


def _more(reported: int, count: int) -> Phrase | None:
    """Return how many findings are not reported one by one, with the last that is."""
    rest = count - REPORTED
    return phrase("udp.more", count=rest) if reported == REPORTED and rest > 0 else None


def _repetition(conversation: UdpConversation, place: int) -> tuple[Datagram, Call | None] | None:
    """Return the repetition of a datagram, and the call whose time-out caused it, or None.

    Only the initiator asks again, and, where calls are seen, only after waiting in vain: equal
    bytes alone can be another question, or the answer to one.
    """
    datagram = conversation.datagrams[place]
    if datagram.host != conversation.datagrams[0].host or not _payload(datagram):
        return None
    again = _again(conversation, place)
    if again is None:
        return None
    vain = _vain(conversation, datagram.host, datagram.frame.at, again.frame.at)
    return (again, vain) if vain or datagram.host not in conversation.watched else None


def repeated(conversation: UdpConversation) -> Iterator[Found]:
    """A program sent a lost datagram again, or one whose reply was lost."""
    found: list[tuple[Phrase, Phrase, list[int]]] = []
    for place, datagram in enumerate(conversation.datagrams):
        repetition = _repetition(conversation, place)
        if repetition is None:
            continue
        again, vain = repetition
        replies = [
            d for d in conversation.datagrams[place + 1 : place + AHEAD]
            if d.host != datagram.host and d.frame.at < again.frame.at
        ]  # fmt: skip
        reply = None
        if datagram.lost:
            what = phrase("udp-repeated.datagram", fate=_fate(conversation, datagram))
        elif replies and all(d.lost for d in replies):
            reply = replies[0]
            what = phrase("udp-repeated.reply", fate=_fate(conversation, reply))
        else:
            continue
        after = again.frame.at - datagram.frame.at
        how = phrase("udp-repeated.unseen", after=after)
        if vain:
            how = phrase("udp-repeated.noticed", wait=_wait(vain), after=after)
        events = [again.frame.id, datagram.frame.id, *([reply.frame.id] if reply else [])]
        found.append((what, how, events))
    for reported, (what, how, events) in enumerate(found[:REPORTED], 1):
        yield phrase("udp-repeated", what=what, how=how, more=_more(reported, len(found))), events


def _fate(conversation: UdpConversation, datagram: Datagram) -> Phrase:
    """Return the fate of a datagram that did not arrive whole."""
    if len(datagram.frames) > 1:
        return phrase("fate.not-whole")
    return fate(conversation.faults, datagram.frame)


def waited_in_vain(conversation: UdpConversation) -> Iterator[Found]:
    """A receive that never got anything."""
    for call in conversation.in_vain[:1]:
        yield phrase("udp-waited", name=call.name, wait=call.duration), [call.id]


def doubled(conversation: UdpConversation) -> Iterator[Found]:
    """A datagram arrived twice."""
    for datagram in conversation.datagrams:
        if len(datagram.arrivals) > 1:
            taken = len(datagram.received_by)
            yield (
                phrase(
                    "udp-doubled" if taken else "udp-doubled.unread",
                    count=len(datagram.arrivals),
                    taken=taken,
                ),
                [datagram.frame.id, *(c.id for c in datagram.received_by)],
            )


def overtaken(conversation: UdpConversation) -> Iterator[Found]:
    """Datagrams arrived in another order."""
    for end in (conversation.flow.initiator, conversation.flow.responder):
        latest: Datagram | None = None
        arrived = [d for d in conversation.datagrams if d.host == end.host and d.arrivals]
        for datagram in sorted(arrived, key=lambda d: d.arrivals[0]):
            if latest and datagram.frame.at < latest.frame.at:
                yield phrase("udp-overtaken"), [datagram.frame.id, latest.frame.id]
                return
            latest = datagram


def truncated(conversation: UdpConversation) -> Iterator[Found]:
    """The receiver's buffer was too small."""
    for datagram in conversation.datagrams:
        for call in datagram.received_by:
            if call.transferred < datagram.size:
                yield (
                    phrase(
                        "udp-truncated",
                        name=call.name,
                        room=call.transferred,
                        size=datagram.size,
                        lost=datagram.size - call.transferred,
                    ),
                    [call.id, datagram.frame.id],
                )


def fragmented(conversation: UdpConversation) -> Iterator[Found]:
    """A datagram was bigger than a frame."""
    for datagram in conversation.datagrams:
        count = len(datagram.frames)
        if count > 1 and datagram.arrivals:
            yield (
                phrase("udp-fragmented", size=datagram.size, count=count),
                [datagram.frame.id, *(f.id for f in datagram.frames[1:8])],
            )
            return


def fragment_lost(conversation: UdpConversation) -> Iterator[Found]:
    """One fragment was lost, so the whole datagram was."""
    for datagram in conversation.datagrams:
        gone = [f for f in datagram.frames if not f.arrivals]  # a damaged one does arrive
        if len(datagram.frames) > 1 and gone:
            yield (
                phrase(
                    "udp-fragment-lost",
                    count=len(datagram.frames),
                    fate=fate(conversation.faults, gone[0]),
                    size=datagram.size,
                    host=conversation.peer(datagram.host),
                ),
                [gone[0].id, datagram.frame.id],
            )


def refused(conversation: UdpConversation) -> Iterator[Found]:
    """No socket has that port, and the sender learns of it."""
    calls = {c.id: c for c in conversation.calls}
    for error in conversation.errors:
        for link in conversation.links:
            if link.source == error.id and link.kind is LinkKind.FAILED:
                call = calls[link.target]
                yield (
                    phrase(
                        "udp-refused",
                        host=error.host,
                        icmp=error.packet.words,
                        name=call.name,
                        error=call.error,
                    ),
                    [error.id, call.id],
                )
                return


def refused_unheard(conversation: UdpConversation) -> Iterator[Found]:
    """No socket has that port, and the sender does not learn of it."""
    heard = {k.source for k in conversation.links if k.kind is LinkKind.FAILED}
    for error in conversation.errors:
        if error.id not in heard:
            yield (
                phrase("udp-refused-unheard", host=error.host, icmp=error.packet.words),
                [error.id],
            )
            return


def empty(conversation: UdpConversation) -> Iterator[Found]:
    """A datagram of no bytes."""
    for datagram in conversation.datagrams:
        if datagram.size == 0 and datagram.received_by:
            yield (
                phrase("udp-empty"),
                [datagram.frame.id, *(c.id for c in datagram.received_by)],
            )
            return


def unread(conversation: UdpConversation) -> Iterator[Found]:
    """It arrived, and no program received it."""
    refused_ones = {k.source for k in conversation.links if k.kind is LinkKind.PROVOKED}
    for datagram in conversation.datagrams:
        to = conversation.peer(datagram.host)
        known = to in conversation.watched and not datagram.received_by
        if datagram.arrivals and known and datagram.frame.id not in refused_ones:
            yield phrase("udp-unread", host=to), [datagram.frame.id]
            return


def corrupted(conversation: UdpConversation) -> Iterator[Found]:
    """A damaged datagram counts as lost."""
    for datagram in conversation.datagrams:
        spoiled = [f for f in datagram.frames if any(a.corrupted for a in f.arrivals)]
        if not datagram.lost or not spoiled or not all(f.arrivals for f in datagram.frames):
            continue
        count = len(datagram.frames)
        if count > 1 and ":" in datagram.frame.packet.source:
            continue  # the bit can be one of the fragment's own header (RFC 8200 section 4.5)
        key = "udp-corrupted.fragments" if count > 1 else "udp-corrupted"
        yield (
            phrase(key, count=count, host=conversation.peer(datagram.host)),
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
    key = "udp-answered.alone" if len(between) == 2 and once else "udp-answered"
    yield (
        phrase(key, wait=reply.arrivals[0] - first.frame.at),
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
