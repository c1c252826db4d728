"""The reason of a link in words, for the JSON document."""

from __future__ import annotations

from stretta.see.events import Call, Fault, Frame, Link
from stretta.see.explain.phrases import phrase
from stretta.see.explain.wording import Wording
from stretta.see.timeline import Timeline

__all__ = ["REASONS", "reason"]

REASONS: dict[str, str] = {
    "bytes": "bytes {first} to {last} of the stream",
    "datagram": "this datagram",
    "connect": "{name}() asks the kernel for a connection: SYN",
    "syn": "the kernel answers a SYN by itself: SYN ACK",
    "syn-ack": "the SYN ACK arrived: established",
    "handshake-complete": "the handshake was complete",
    "handshake-was-complete": "the handshake was complete before the call",
    "acknowledgement": "everything up to {acknowledged}",
    "close": "{name}() says that no more will be sent: FIN",
    "exit": "the program ended, and its kernel closed the socket: FIN",
    "fin": "FIN: the stream has ended, so 0 bytes",
    "rst": "RST: the connection was reset or refused",
    "not-listening": "no socket listens on that port: RST",
    "listener-closed": (
        "no program had accepted the connection when its listening socket was closed: RST"
    ),
    "close-unread": "close() discarded {size:bytes} that had arrived unread: RST",
    "linger": "close() with SO_LINGER of 0 s: RST",
    "abort": "close() gave the connection up: RST",
    "exit-unread": "the program ended with {size:bytes} unread: RST",
    "already-closed": "it arrived after the program had closed the socket: RST",
    "unknown-connection": "the kernel does not know this connection: RST",
    "time-out": "no acknowledgement had arrived for {wait:time}",
    "duplicate-acks": ("acknowledgements reported later bytes and not these (RFC 5681, RFC 6675)"),
    "syn-time-out": "no answer had arrived for {wait:time} (time-out of 1 s at first, RFC 6298)",
    "syn-repeated": "the SYN had arrived again, so it was answered again",
    "fin-time-out": "no acknowledgement of the FIN had arrived for {wait:time}",
    "readable": "there is something to read",
    "writable": "there is room to send",
    "acceptable": "there is a connection to accept",
    "icmp": "ICMP: {icmp}",
    "option": "{effect} by {option}",
}
"""The words for each cause, as the catalogue's."""


def reason(timeline: Timeline, link: Link) -> str:
    """Return why one event brought about another, in words made of the link's facts."""
    source, target = timeline.events[link.source], timeline.events[link.target]
    what = phrase(
        str(link.cause),
        first=link.first,
        last=link.last - 1,
        size=link.last - link.first,
        name=source.name if isinstance(source, Call) else "",
        acknowledged=target.ack - 1 if isinstance(target, Frame) else 0,
        wait=target.at - source.at,
        icmp=next(
            (e.packet.words for e in (target, source) if isinstance(e, Frame) and e.packet.inner),
            "",
        ),
        effect=target.effect if isinstance(target, Fault) else "",
        option=target.option if isinstance(target, Fault) else "",
    )
    return Wording(timeline.hosts, REASONS).say(what)
