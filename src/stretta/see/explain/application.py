"""What the bytes are: HTTP exchanges and TLS handshakes, with their times."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stretta.see.correlate.tcp import Side, TcpConversation
from stretta.see.events import Frame
from stretta.see.explain.phrases import Found, TcpRule, duration
from stretta.see.packets import HTTP_METHODS, describe_payload

__all__ = ["RULES"]

METHODS = b"|".join(HTTP_METHODS)
REQUEST = re.compile(rb"(?:^|\r\n\r\n)((?:" + METHODS + rb")[^\r\n]* HTTP/1\.\d)(?=\r\n)")
STATUS = re.compile(rb"(?:^|\r\n\r\n)(HTTP/1\.\d (\d{3})[^\r\n]*)(?=\r\n)")


def _heads(side: Side, pattern: re.Pattern[bytes]) -> list[tuple[Frame, int, re.Match[bytes]]]:
    """Return the first lines that a side sent: in which segment, and where in it."""
    return [
        (frame, found.start(1), found)
        for frame in side.frames
        if frame.retransmission_of is None and frame.packet.length
        for found in pattern.finditer(frame.packet.payload)
    ]


def _came(side: Side, frame: Frame, place: int) -> int | None:
    """Return when a byte of a segment reached the other end first, in whichever segment."""
    at = frame.seq - 1 + place
    return next((f.arrived for _, _, f in side.delivered_by.within(at, at + 1)), None)


def http_exchange(conversation: TcpConversation) -> Iterator[Found]:
    """A request and its response, where only one request can be meant (RFC 9112 section 9.3.2)."""
    initiator, responder = conversation.sides
    requests, told = _heads(initiator, REQUEST), 0
    unanswered: list[tuple[Frame, int, re.Match[bytes]]] = []
    for came, place, status in _heads(responder, STATUS):
        if status[2][:1] == b"1" and status[2] != b"101":
            continue  # the answer itself is still to come (RFC 9110 section 15.2)
        while requests and (_came(initiator, *requests[0][:2]) or 2**63) <= came.at:
            unanswered.append(requests.pop(0))
        arrived = _came(responder, came, place)
        if len(unanswered) == 1 and arrived is not None and told < 10:
            asked, _, request = unanswered[0]
            told += 1
            yield (
                f"{request[1].decode('latin-1')}: {status[1].decode('latin-1')} - it came"
                f" {duration(arrived - asked.at)} after the request left.",
                [asked.id, came.id],
            )
        del unanswered[:1]


def tls_handshake(conversation: TcpConversation) -> Iterator[Found]:
    """A TLS handshake, from ClientHello to the first application data."""
    initiator, responder = conversation.sides
    hello = next(
        (f for f in initiator.frames if "ClientHello" in describe_payload(f.packet.payload)), None
    )
    answer = next(
        (f for f in responder.frames if "ServerHello" in describe_payload(f.packet.payload)), None
    )
    if hello and answer and answer.arrived is not None:
        later = (f for f in initiator.frames if f.at > answer.at)
        named = ((f, describe_payload(f.packet.payload)) for f in later)
        data = next((f for f, words in named if "application data" in words), None)
        took = (data.at if data else answer.arrived) - hello.at
        yield (
            f"TLS began with ClientHello and took {duration(took)} until the first encrypted"
            " record: from there on, only lengths and times can be seen.",
            [hello.id, answer.id],
        )


RULES: dict[str, TcpRule] = {"http-exchange": http_exchange, "tls-handshake": tls_handshake}
