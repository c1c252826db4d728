"""What the bytes are: HTTP exchanges and TLS handshakes, with their times."""

from __future__ import annotations

from collections.abc import Iterator

from stretta.see.explain.rules import Found, TcpRule, duration
from stretta.see.packets import describe_payload
from stretta.see.tcp import TcpStory

__all__ = ["RULES"]


def http_exchange(story: TcpStory) -> Iterator[Found]:
    """A request and its response."""
    opener, taker = story.sides
    requests = [
        (f, describe_payload(f.packet.payload))
        for f in opener.frames
        if f.repeats is None and f.packet.length
    ]
    answers = [
        (f, describe_payload(f.packet.payload))
        for f in taker.frames
        if f.repeats is None and f.packet.length
    ]
    requests = [(f, words) for f, words in requests if " HTTP/" in words]
    answers = [(f, words) for f, words in answers if words.startswith("HTTP/")]
    for (asked, request), (came, status) in list(zip(requests, answers, strict=False))[:10]:
        if came.arrived is not None:
            yield (
                f"{request}: {status} - the first byte came {duration(came.arrived - asked.at)}"
                " after the request left.",
                [asked.id, came.id],
            )


def tls_handshake(story: TcpStory) -> Iterator[Found]:
    """A TLS handshake, from ClientHello to the first application data."""
    opener, taker = story.sides
    hello = next(
        (f for f in opener.frames if "ClientHello" in describe_payload(f.packet.payload)), None
    )
    answer = next(
        (f for f in taker.frames if "ServerHello" in describe_payload(f.packet.payload)), None
    )
    if hello and answer and answer.arrived is not None:
        later = (f for f in opener.frames if f.at > answer.at)
        named = ((f, describe_payload(f.packet.payload)) for f in later)
        data = next((f for f, words in named if "application data" in words), None)
        took = (data.at if data else answer.arrived) - hello.at
        yield (
            f"TLS began with ClientHello and took {duration(took)} until the first encrypted"
            " record: from there on, only lengths and times can be seen.",
            [hello.id, answer.id],
        )


RULES: dict[str, TcpRule] = {"http-exchange": http_exchange, "tls-handshake": tls_handshake}
