"""Explanations of a timeline in words, by rules that never guess.

Each rule looks at one conversation, decides by its facts alone, and yields phrases: keys of the
catalogue with facts. ``Wording`` makes sentences of them, last. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from stretta.see.events import Note
from stretta.see.explain import application, connection, datagrams, loss, termination, transfer
from stretta.see.explain.phrases import Found
from stretta.see.explain.reasons import reason
from stretta.see.explain.wording import Wording
from stretta.see.timeline import Timeline

__all__ = ["RULES", "explain", "explained", "reason"]

TCP_RULES = connection.RULES | transfer.RULES | loss.RULES | termination.RULES | application.RULES
UDP_RULES = datagrams.RULES
RULES = (*TCP_RULES, *UDP_RULES)
"""The names of all rules."""


def explain(timeline: Timeline) -> tuple[Note, ...]:
    """Return the explanations, in the order of the events that they are about."""
    wording = Wording(timeline.hosts)
    notes: list[Note] = []

    def add(rule: str, found: Iterable[Found]) -> None:
        for what, events in found:
            at = timeline.events[events[0]].at
            notes.append(Note(rule, wording.say(what), tuple(events), at))

    for connection_ in timeline.tcp.values():
        for name, tcp_rule in TCP_RULES.items():
            add(name, tcp_rule(connection_))
    for datagrams_ in timeline.udp.values():
        for name, udp_rule in UDP_RULES.items():
            add(name, udp_rule(datagrams_))
    return tuple(sorted(notes, key=lambda note: (note.at, note.events, note.rule)))


def explained(timeline: Timeline) -> Timeline:
    """Return a timeline with its explanations."""
    return replace(timeline, notes=explain(timeline))
