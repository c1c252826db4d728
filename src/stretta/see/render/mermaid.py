"""The sequence diagram as Mermaid text, for pages that draw it (GitHub's, for one). Pure."""

from __future__ import annotations

from collections.abc import Sequence

from stretta.see.events import Call, Frame, Process
from stretta.see.explain.wording import duration
from stretta.see.hosts import Host
from stretta.see.render.labels import fold_parts, frame_label, outcome, safe
from stretta.see.render.layout import Layout, Step, StepKind, lay_out
from stretta.see.timeline import Timeline

__all__ = ["to_mermaid"]

ENTITIES = str.maketrans({"#": "#35;", ";": "#59;", "<": "#lt;", ">": "#gt;"})

SHOWN_WAIT = 1_000_000
"""Nanoseconds from which on a call's return says how long it took."""


def to_mermaid(timeline: Timeline, *, everything: bool = False) -> str:
    """Return the picture of a timeline in Mermaid's language (sequenceDiagram).

    Mermaid has one arrow for a segment, not a slanted one: it stands where the segment leaves.
    """
    layout = lay_out(timeline, everything=everything)
    names = Participants(layout.hosts)
    lines = [*names.declared()]
    for step in layout.steps:
        lines += _step(step, layout, names)
        lines += [f"Note over {names.kernel(host)}: {_text(s)}" for host, s in step.states.items()]
        lines += [
            f"Note over {names.wires}: {_text(timeline.notes[n - 1].text)}" for n in step.notes
        ]
    return "sequenceDiagram\n" + "".join(f"    {line}\n" for line in lines)


class Participants:
    """The names of the hosts' programs and kernels: ``cp`` and ``ck`` for the host client."""

    def __init__(self, hosts: Sequence[Host]) -> None:
        self.hosts = hosts
        initials = [host.name[:1] for host in hosts]
        plain = len(set(initials)) == len(hosts) and all(
            i.isascii() and i.isalpha() for i in initials
        )
        self._short = {
            host.name: initial if plain else f"h{number}"
            for number, (host, initial) in enumerate(zip(hosts, initials, strict=True))
        }
        kernels = [self.kernel(host.name) for host in hosts]
        self.wires = kernels[0] if len(kernels) == 1 else f"{kernels[0]},{kernels[-1]}"

    def program(self, host: str) -> str:
        """Return the participant that is a host's program."""
        return f"{self._short[host]}p"

    def kernel(self, host: str) -> str:
        """Return the participant that is a host's kernel."""
        return f"{self._short[host]}k"

    def peer(self, frame: Frame) -> str:
        """Return the kernel that a frame is sent to: its sender's own if the host is unknown."""
        return self.kernel(frame.to if frame.to in self._short else frame.host)

    def declared(self) -> list[str]:
        """Return the lines that declare all, in the order in which they stand."""
        lines: list[str] = []
        for number, host in enumerate(self.hosts):
            name = _text(host.name)
            pair = [
                f"participant {self.program(host.name)} as {name} program",
                f"participant {self.kernel(host.name)} as {name} kernel",
            ]
            lines += pair if number == 0 else reversed(pair)
        return lines


def _step(step: Step, layout: Layout, names: Participants) -> list[str]:
    """Return the lines of a step."""
    event, host = step.event, step.event.host
    if step.fold:
        words = ", ".join(text for _, text in fold_parts(step.fold, layout.hosts))
        return [f"Note over {names.wires}: {_text(words)}"]
    if isinstance(event, Frame):
        if step.kind is not StepKind.LEAVE:
            return []
        words = _text(frame_label(event))
        if event.flow in layout.names:
            words = f"{layout.names[event.flow]} {words}"
        arrow, lost = ("->>", "") if event.arrivals else ("-x", " (lost)")
        return [f"{names.kernel(host)}{arrow}{names.peer(event)}: {words}{lost}"]
    if isinstance(event, Call):
        if step.kind is StepKind.ENTER:
            return [f"{names.program(host)}->>{names.kernel(host)}: {_text(event.display)}"]
        if event.duration < SHOWN_WAIT and not event.result:
            return []
        took = f" after {duration(event.duration)}" if event.duration >= SHOWN_WAIT else ""
        words = _text(f"{event.name} {outcome(event)}{took}")
        return [f"{names.kernel(host)}-->>{names.program(host)}: {words}"]
    if isinstance(event, Process):
        words = _text(f"{event.program} ends, status {event.status}")
        return [f"Note over {names.program(host)}: {words}"]
    return []


def _text(text: str) -> str:
    """Return text without the signs that end a statement in Mermaid, or begin an entity."""
    return safe(text).translate(ENTITIES)
