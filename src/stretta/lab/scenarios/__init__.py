"""Six ready-made experiments: each has two programs, the wire's options, and a question."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

from stretta.options import WireOptions

__all__ = ["SCENARIOS", "Scenario"]

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Scenario:
    """An experiment: the programs' arguments, the wire's options, a question to answer."""

    summary: str
    question: str
    server: list[str]
    client: list[str]
    wire: WireOptions = field(default_factory=WireOptions)


def _own(name: str, *arguments: str) -> list[str]:
    return [sys.executable, str(HERE / f"{name}.py"), *arguments]


def _stretta(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "stretta", *arguments]


FAR = ("20ms",)
"""A delay long enough to show the waits."""

SCENARIOS = {
    "handshake": Scenario(
        "A TCP client sends one sentence, and its server replies.",
        "What does connect() wait for? And accept(), and recv()?",
        _own("tcp_server"),
        _own("tcp_client", "ciao"),
        WireOptions(delay=FAR),
    ),
    "udp": Scenario(
        "The same over UDP: two datagrams.",
        "Which calls wait now, and which no longer do?",
        _own("udp_server"),
        _own("udp_client", "ciao"),
        WireOptions(delay=FAR),
    ),
    "lost-syn-ack": Scenario(
        "The answer to the first SYN is lost.",
        "Who notices, when, and what does the program see of it?",
        _own("tcp_server"),
        _own("tcp_client", "ciao"),
        WireOptions(delay=FAR, drop=("syn-ack:1",)),
    ),
    "lost-datagram": Scenario(
        "A datagram is lost: the first client gives up, the second one sends it again.",
        "What does the kernel do about it? Compare lost-syn-ack.",
        _stretta("udp", "server"),
        _own("retrying_client"),
        WireOptions(delay=FAR, drop=("client>server udp:1-2",)),
    ),
    "partial-send": Scenario(
        "send() and sendall() to a slow reader.",
        "What did send() return? What does a window of 0 mean?",
        _own("slow_reader"),
        _own("big_sender"),
        WireOptions(delay=("1ms",)),
    ),
    "unread-data": Scenario(
        "The server reads once, and closes with unread data in its buffer.",
        "Why RST and not FIN? What did the client lose?",
        _own("tcp_server"),
        _own("tcp_client", "--size", "5000"),
        WireOptions(delay=FAR),
    ),
}
"""The scenarios, by name."""
