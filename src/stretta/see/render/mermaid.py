"""The sequence diagram as Mermaid text, for pages that draw it (GitHub's, for one). Pure."""

from __future__ import annotations

from stretta.escape import escape
from stretta.see.events import Call, Frame, Process
from stretta.see.explain.phrases import duration
from stretta.see.render.layout import label, lay_out, outcome
from stretta.see.timeline import Timeline

__all__ = ["to_mermaid"]

HEADING = """\
sequenceDiagram
    participant cp as client program
    participant ck as client kernel
    participant sk as server kernel
    participant sp as server program
"""
ENTITIES = str.maketrans({"#": "#35;", ";": "#59;", "<": "#lt;", ">": "#gt;", "\n": " "})
PROGRAM = {"client": "cp", "server": "sp"}
KERNEL = {"client": "ck", "server": "sk"}


def to_mermaid(timeline: Timeline, *, everything: bool = False) -> str:
    """Return the picture of a timeline in Mermaid's language (sequenceDiagram).

    Mermaid has one arrow for a segment, not a slanted one: it stands where the segment leaves.
    """
    what = lay_out(timeline, everything=everything)
    lines: list[str] = []
    for step in what.steps:
        event, host = step.event, step.event.host
        if step.kind == "fold":
            lines.append(f"Note over ck,sk: {_safe(step.words)}")
        elif isinstance(event, Frame) and step.kind == "leave":
            there = "server" if host == "client" else "client"
            words = _safe(label(event))
            if event.flow in what.names:
                words = f"{what.names[event.flow]} {words}"
            if event.arrivals:
                lines.append(f"{KERNEL[host]}->>{KERNEL[there]}: {words}")
            else:
                lines.append(f"{KERNEL[host]}-x{KERNEL[there]}: {words} (lost)")
        elif isinstance(event, Call):
            if step.kind == "enter":
                lines.append(f"{PROGRAM[host]}->>{KERNEL[host]}: {_safe(event.display)}")
            elif event.duration >= 1_000_000 or event.result:
                took = f" after {duration(event.duration)}" if event.duration >= 1_000_000 else ""
                lines.append(
                    f"{KERNEL[host]}-->>{PROGRAM[host]}: {_safe(event.name)} {outcome(event)}{took}"
                )
        elif isinstance(event, Process):
            lines.append(
                f"Note over {PROGRAM[host]}: {_safe(event.program)} ends, status {event.status}"
            )
        lines += [f"Note over {KERNEL[there]}: {state}" for there, state in step.states.items()]
        lines += [f"Note over ck,sk: {_safe(timeline.notes[n - 1].text)}" for n in step.notes]
    return HEADING + "".join(f"    {line}\n" for line in lines)


def _safe(text: str) -> str:
    """Return text without the signs that end a statement in Mermaid, or begin an entity."""
    return escape(text).translate(ENTITIES)
