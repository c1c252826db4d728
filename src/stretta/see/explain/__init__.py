"""Sentences for what a person should notice: rules over the timeline, which never guess. Pure.

Each rule looks at one conversation, and says what it found in the events' own figures.
"""

from __future__ import annotations

import re

from stretta.see.events import Note
from stretta.see.explain import application, connection, datagrams, loss, termination, transfer
from stretta.see.explain.phrases import Found
from stretta.see.timeline import Timeline

__all__ = ["RULES", "explain"]

TCP_RULES = connection.RULES | transfer.RULES | loss.RULES | termination.RULES | application.RULES
UDP_RULES = datagrams.RULES
RULES = (*TCP_RULES, *UDP_RULES)
"""The names of all rules."""


HOSTS = re.compile(r"\b(the|The) (client|server)\b")


def _end_of(found: re.Match[str]) -> str:
    """Return the words for a host where no lab gave the two their names."""
    end = "the other end" if found[2] == "server" else "this end"
    return end.capitalize() if found[1] == "The" else end


def explain(timeline: Timeline) -> list[Note]:
    """Return what is worth noticing, in the order of the events it is about."""
    notes: list[Note] = []

    def add(rule: str, found: list[Found]) -> None:
        for said, events in found:
            text = said
            if timeline.about.get("trace") and rule not in application.RULES:
                text = HOSTS.sub(_end_of, said)
            at = timeline.events[events[0]].at
            notes.append(Note(rule, text, tuple(events), at))

    for conversation in timeline.tcp.values():
        for name, rule in TCP_RULES.items():
            add(name, list(rule(conversation)))
    for told in timeline.udp.values():
        for name, udp_rule in UDP_RULES.items():
            add(name, list(udp_rule(told)))
    notes.sort(key=lambda note: (note.at, note.events, note.rule))
    return notes
