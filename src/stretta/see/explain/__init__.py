"""Sentences for what a person should notice: rules over the timeline, which never guess. Pure.

Each rule looks at one conversation, and says what it found in the events' own figures.
"""

from __future__ import annotations

from stretta.see.events import Note
from stretta.see.explain import datagrams, ending, loss, opening, requests, stream
from stretta.see.explain.rules import Found
from stretta.see.timeline import Timeline

__all__ = ["RULES", "explain"]

TCP_RULES = opening.RULES | stream.RULES | loss.RULES | ending.RULES | requests.RULES
UDP_RULES = datagrams.RULES
RULES = (*TCP_RULES, *UDP_RULES)
"""The names of all rules."""


def explain(timeline: Timeline) -> list[Note]:
    """Return what is worth noticing, in the order of the events it is about."""
    notes: list[Note] = []

    def add(rule: str, found: list[Found]) -> None:
        for text, events in found:
            at = timeline.events[events[0]].at
            notes.append(Note(rule, text, tuple(events), at))

    for story in timeline.tcp.values():
        for name, rule in TCP_RULES.items():
            add(name, list(rule(story)))
    for told in timeline.udp.values():
        for name, udp_rule in UDP_RULES.items():
            add(name, list(udp_rule(told)))
    notes.sort(key=lambda note: (note.at, note.events, note.rule))
    return notes
