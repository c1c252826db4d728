"""Six conversations to start with: each is two programs, a wire, and what to look at."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

from stretta.options import WireOptions

__all__ = ["SCENARIOS", "Scenario"]

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Scenario:
    """One conversation: the programs' arguments, what the wire does, what to look at."""

    words: str
    look: str
    server: list[str]
    client: list[str]
    wire: WireOptions = field(default_factory=WireOptions)


def _own(name: str, *arguments: str) -> list[str]:
    return [sys.executable, str(HERE / f"{name}.py"), *arguments]


def _stretta(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "stretta", *arguments]


FAR = ("20ms",)
"""Far enough to see what is waited for."""

SCENARIOS = {
    "handshake": Scenario(
        "A TCP client and its server: one sentence there, one back.",
        "What does connect() wait for? And accept(), and recv()?",
        _own("tcp_server"),
        _own("tcp_client", "ciao"),
        WireOptions(delay=FAR),
    ),
    "udp": Scenario(
        "The same over UDP: two datagrams and nothing else.",
        "Which calls wait now, and which no longer?",
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
        "A datagram is lost: first nobody sends it again, then the client does.",
        "What does the kernel do about it? Compare lost-syn-ack.",
        _stretta("udp", "server"),
        _own("patience"),
        WireOptions(delay=FAR, drop=("client>server udp:1-2",)),
    ),
    "partial-send": Scenario(
        "send() and sendall() before a reader that takes its time.",
        "What did send() return? What does a window of 0 mean?",
        _own("slow_reader"),
        _own("big_sender"),
        WireOptions(delay=("1ms",)),
    ),
    "unread-data": Scenario(
        "The server reads once, and closes while more has come.",
        "Why RST and not FIN? What did the client lose?",
        _own("tcp_server"),
        _own("tcp_client", "--size", "5000"),
        WireOptions(delay=FAR),
    ),
}
"""The scenarios, by name."""
