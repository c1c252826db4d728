"""From a lab's raw capture to a timeline with its explanations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from stretta.lab.controller import Capture, Output, capture
from stretta.lab.network import HOSTS
from stretta.lab.wire import ARRIVED, FORGED, LEFT, MARKED, RECORD
from stretta.options import LabOptions, WireOptions
from stretta.see.events import Arrival, Event, Fault, Frame, Print, Process
from stretta.see.explain import explain
from stretta.see.packets import decode
from stretta.see.pcapng import to_pcapng
from stretta.see.strace_events import read_strace
from stretta.see.timeline import Timeline, build

__all__ = ["Recording", "Wired", "read_wire", "record", "timeline_of"]

SHOWN = 256
"""Bytes of each payload that a timeline keeps."""

SIDES = ("client", "server")


@dataclass(slots=True)
class Wired:
    """What the wire's log holds; ``bodies`` and ``changed`` are keyed by the frames' identity."""

    frames: list[Frame] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    bodies: dict[int, bytes] = field(default_factory=dict)
    changed: dict[tuple[int, int], bytes] = field(default_factory=dict)


@dataclass(slots=True)
class Recording:
    """What ``record`` returns: the timeline, every frame's bytes, and how the programs ended.

    ``status`` is the client's exit status, negative for a signal, or None if it was still running;
    ``lost`` counts frames that the lab itself could not carry: 0, or the picture is not the truth.
    """

    timeline: Timeline
    capture: Capture
    bodies: dict[int, bytes]
    changed: dict[tuple[int, int], bytes]

    @property
    def status(self) -> int | None:
        """The client's exit status (the server's, where there is no client)."""
        host = "client" if "client" in self.capture.commands else "server"
        ended = self.capture.ended.get(host)
        return ended[1] if ended else None

    @property
    def lost(self) -> int:
        """How many frames the lab itself lost."""
        return self.capture.lost

    def to_pcapng(self) -> bytes:
        """Return the frames as a pcapng file."""
        return to_pcapng(self.timeline, self.bodies, self.changed)


def record(
    server: str | list[str] | None,
    client: str | list[str] | None,
    *,
    wire: WireOptions | None = None,
    lab: LabOptions | None = None,
    seed: int = 0,
    calls: bool = True,
    show: Callable[[Output], object] = lambda _: None,
) -> Recording:
    """Run two programs in a lab and return everything that was seen, explained.

    Takes and raises what ``stretta.lab.controller.capture`` does.
    """
    options = wire or WireOptions()
    seen = capture(server, client, wire=options, lab=lab, seed=seed, calls=calls, show=show)
    faults = {
        name: value
        for name in WireOptions.__slots__
        if name not in ("seed", "queue") and (value := getattr(options, name))
    }
    return timeline_of(seen, {"wire": faults} if faults else {})


def read_wire(wire: bytes, start: int) -> Wired:
    """Read the wire's log; times become nanoseconds since ``start``."""
    seen = Wired()
    frames: dict[int, Frame] = {}
    at = 0
    while at + RECORD.size <= len(wire):
        what, direction, number, time, size = RECORD.unpack_from(wire, at)
        body = wire[at + RECORD.size : at + RECORD.size + size]
        at += RECORD.size + size
        if what in (LEFT, FORGED):
            packet = decode(body)
            if packet.length > SHOWN:
                packet = replace(packet, payload=packet.payload[:SHOWN])
            frames[number] = Frame(
                number, time - start, SIDES[direction], packet=packet, forged=what == FORGED
            )
            seen.bodies[number] = body
        elif what == ARRIVED:
            arrivals = frames[number].arrivals
            if size:
                seen.changed[number, len(arrivals)] = body
            arrivals.append(Arrival(time - start, corrupted=size > 0))
        elif what == MARKED:
            kind, _, by = body.decode().partition("\t")
            seen.faults.append(
                Fault(-1, frames[number].at, "wire", effect=kind, by=by, frame=number)
            )
    seen.frames = list(frames.values())
    return seen


def _sent_by_nobody(timeline: Timeline, host: str) -> bool:
    """Return whether a host sent bytes that no call is known to have given."""
    carried = {link.target for link in timeline.links if link.kind == "carried"}
    return any(
        isinstance(e, Frame)
        and e.host == host
        and e.packet.protocol in ("tcp", "udp")
        and e.packet.length
        and e.retransmission_of is None
        and not e.forged
        and e.id not in carried
        for e in timeline.events
    )


def timeline_of(seen: Capture, about: dict[str, object]) -> Recording:
    """Return the recording that a capture is."""
    wired = read_wire(seen.wire, seen.start)
    # what the hosts' kernels said before any program ran belongs to nobody
    first = min(seen.launched.values(), default=seen.start) - seen.start
    frames = [f for f in wired.frames if f.at >= first]
    numbers = {id(frame): frame.id for frame in frames}
    kept = set(numbers.values())
    events: list[Event] = [*frames, *(f for f in wired.faults if f.frame in kept)]
    blind = []
    for host, text in seen.traces.items():
        calls = read_strace(text, host, HOSTS[host], seen.start)
        events += calls.calls
        events += calls.processes
        if calls.blind:
            blind.append(host)
    for output in seen.output:
        events.append(Print(-1, output.at - seen.start, output.host, data=output.data))
    if not seen.traces:
        for host, (at, status) in seen.ended.items():
            program = seen.commands[host].partition(" ")[0].rpartition("/")[2]
            events.append(
                Process(-1, at - seen.start, host, process=1, program=program, status=status)
            )
    about = {**about, "seed": seen.seed, "commands": seen.commands, "lost": seen.lost}
    timeline = build(events, start=seen.start, about=about)
    if blind := [host for host in blind if _sent_by_nobody(timeline, host)]:
        timeline.about["blind"] = blind
    timeline.notes = explain(timeline)
    bodies = {f.id: wired.bodies[numbers[id(f)]] for f in frames}
    changed = {
        (f.id, n): data
        for f in frames
        for n in range(len(f.arrivals))
        if (data := wired.changed.get((numbers[id(f)], n)))
    }
    return Recording(timeline, seen, bodies, changed)
