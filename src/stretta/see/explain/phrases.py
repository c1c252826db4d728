"""What all rules share: the form of a finding, and facts that the catalogue makes sentences of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from stretta.see.correlate.conversation import TcpConversation
from stretta.see.correlate.udp import UdpConversation
from stretta.see.events import Effect, Fault, Frame

__all__ = ["Found", "Phrase", "TcpRule", "UdpRule", "fate", "phrase"]


@dataclass(frozen=True, slots=True)
class Phrase:
    """A sentence or a part of one, before it has words: an entry of the catalogue, and the facts.

    Facts are numbers, names of hosts and calls, calls, and other phrases.
    """

    key: str
    facts: tuple[tuple[str, Any], ...] = ()


def phrase(key: str, **facts: Any) -> Phrase:
    """Return a phrase."""
    return Phrase(key, tuple(facts.items()))


Found = tuple[Phrase, list[int]]
"""What a rule found, and the ids of the events that it is about; it is shown at the first."""

TcpRule = Callable[[TcpConversation], Iterable[Found]]
UdpRule = Callable[[UdpConversation], Iterable[Found]]

FATAL = {Effect.LOST, Effect.CUT, Effect.QUEUE_FULL, Effect.CORRUPTED, Effect.RESET}
"""The effects that keep a frame from its receiver."""


def fate(faults: Mapping[int, Fault], frame: Frame) -> Phrase:
    """Return the fate of a frame that did not arrive, with the option that caused it."""
    fault = faults.get(frame.id)
    if fault is None or fault.effect not in FATAL:
        return phrase("fate.unknown")
    return phrase(f"fate.{fault.effect}", option=fault.option)
