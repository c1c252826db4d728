"""What all rules share: their shape, and the words for times, sizes and fates."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from stretta.see.correlate.tcp import TcpConversation
from stretta.see.correlate.udp import UdpConversation
from stretta.see.events import Call, Fault, Frame

__all__ = [
    "Found",
    "TcpRule",
    "UdpRule",
    "bytes_",
    "calls_of",
    "duration",
    "fate",
    "kernel",
    "times",
]

Found = tuple[str, list[int]]
"""A sentence, and the ids of the events that it is about, the one to stand beside first."""

TcpRule = Callable[[TcpConversation], Iterable[Found]]
UdpRule = Callable[[UdpConversation], Iterable[Found]]


def duration(nanoseconds: int) -> str:
    """Return a time as a person says it.

    >>> duration(1_023_400_000), duration(50_312_000), duration(312_000)
    ('1.02 s', '50.3 ms', '0.31 ms')
    """
    if nanoseconds >= 1_000_000_000:
        return f"{nanoseconds / 1e9:.2f} s"
    if nanoseconds >= 1_000_000:
        return f"{nanoseconds / 1e6:.3g} ms"
    return f"{nanoseconds / 1e6:.2f} ms"


def bytes_(count: int) -> str:
    """Return a number of bytes in words."""
    return f"{count:,} byte" if count == 1 else f"{count:,} bytes"


def times(count: int) -> str:
    """Return how often, in words."""
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def calls_of(calls: list[Call]) -> str:
    """Return how many calls of which names: ``2 calls of send()``."""
    names = list(dict.fromkeys(f"{c.name}()" for c in calls))
    if len(calls) == 1:
        return f"one {names[0]}"
    if len(names) == 1:
        return f"{len(calls)} calls of {names[0]}"
    return f"{len(calls)} calls ({', '.join(names[:-1])} and {names[-1]})"


def kernel(host: str) -> str:
    """Return the words for a host's kernel."""
    return f"the {host}'s kernel"


WORDS = {
    "lost": "was lost on the wire",
    "cut": "was lost, as the wire was unplugged",
    "queue-full": "was lost, as the slow wire's queue was full",
    "corrupted": "was damaged on the wire, and its receiver's kernel threw it away",
    "reset": "was stopped on the wire",
}


def fate(faults: dict[int, Fault], frame: Frame) -> str:
    """Return what became of a frame that did not arrive, and by which option."""
    fault = faults.get(frame.id)
    if fault is None or fault.effect not in WORDS:
        return "did not arrive"
    return f"{WORDS[fault.effect]} ({fault.by})"
