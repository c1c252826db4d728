"""From a lab's raw capture to a timeline."""

from __future__ import annotations

from dataclasses import replace

from stretta.lab.hosts import Capture
from stretta.lab.inside import HOSTS
from stretta.lab.wire import ARRIVED, FORGED, LEFT, MARKED, RECORD
from stretta.see.calls import read_calls
from stretta.see.events import Arrival, Event, Fault, Frame, Print, Process
from stretta.see.packets import decode
from stretta.see.timeline import Timeline, build

__all__ = ["frames_of", "timeline_of"]

SHOWN = 256
"""Bytes of each payload that a timeline keeps."""

SIDES = ("client", "server")


def frames_of(wire: bytes, start: int) -> tuple[list[Frame], list[Fault], dict[int, bytes]]:
    """Read the wire's log: frames with their arrivals, faults, and the bytes of each frame by id.

    Times are nanoseconds since ``start``.
    """
    frames: dict[int, Frame] = {}
    faults: list[Fault] = []
    whole: dict[int, bytes] = {}
    at = 0
    while at + RECORD.size <= len(wire):
        what, direction, number, time, size = RECORD.unpack_from(wire, at)
        body = wire[at + RECORD.size : at + RECORD.size + size]
        at += RECORD.size + size
        if what in (LEFT, FORGED):
            packet = decode(body)
            frames[number] = Frame(
                number, time - start, SIDES[direction],
                packet=replace(packet, payload=packet.payload[:SHOWN]), forged=what == FORGED,
            )  # fmt: skip
            whole[number] = body
        elif what == ARRIVED:
            frames[number].arrivals.append(Arrival(time - start, changed=size > 0))
        elif what == MARKED:
            kind, _, by = body.decode().partition("\t")
            frame = frames[number]
            faults.append(Fault(-1, frame.at, "wire", kind=kind, by=by, frame=number))
    return list(frames.values()), faults, whole


def timeline_of(capture: Capture, about: dict[str, object]) -> tuple[Timeline, dict[int, bytes]]:
    """Return the timeline of a capture, and the bytes of each frame by its event's id."""
    frames, faults, whole = frames_of(capture.wire, capture.start)
    # what the hosts' kernels said before any program ran belongs to nobody
    first = min(capture.launched.values(), default=capture.start) - capture.start
    kept = [f for f in frames if f.at >= first]
    events: list[Event] = [*kept, *faults]
    blind = []
    for host, text in capture.traces.items():
        calls = read_calls(text, host, HOSTS[host], capture.start)
        events += calls.calls
        events += calls.processes
        if calls.blind:
            blind.append(host)
    if not capture.traces:
        for host, at in capture.launched.items():
            program = capture.commands.get(host, "")
            events.append(Process(-1, at - capture.start, host, program=program))
    for output in capture.output:
        events.append(Print(-1, output.at - capture.start, output.host, data=output.data))
    bodies = {id(frame): whole[frame.id] for frame in kept}
    about = {**about, "seed": capture.seed, "commands": capture.commands, "lost": capture.lost}
    if blind:
        about["blind"] = blind
    timeline = build(events, start=capture.start, about=about)
    return timeline, {f.id: bodies[id(f)] for f in kept}
