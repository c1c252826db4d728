"""From the raw capture of a lab to a timeline with its explanations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from stretta.lab.commands import Command
from stretta.lab.controller import RawCapture, run_lab
from stretta.lab.messages import Printed
from stretta.lab.topology import LISTENING, TWO_HOSTS, Topology
from stretta.lab.wire_log import read_wire_log
from stretta.options import LabOptions, WireOptions
from stretta.see.events import Event, Frame, LinkKind, Print, Process
from stretta.see.explain import explained
from stretta.see.pcapng import to_pcapng
from stretta.see.strace_events import read_strace
from stretta.see.timeline import Timeline, build

__all__ = ["Recording", "build_recording", "record", "record_hosts"]


@dataclass(slots=True)
class Recording:
    """The timeline of a lab, every frame's bytes, and how the programs ended."""

    timeline: Timeline
    capture: RawCapture
    bodies: dict[int, bytes]
    changed: dict[tuple[int, int], bytes]

    @property
    def failed_host(self) -> str:
        """The host whose exit status is ``status``."""
        hosts = [h for h in self.capture.topology.hosts if h.name in self.capture.commands]
        hosts = [h for h in hosts if h.role not in LISTENING] or hosts
        ended = self.capture.ended
        # the first that failed, or else that still ran
        hosts.sort(key=lambda h: 2 if h.name not in ended else int(ended[h.name][1] == 0))
        return hosts[0].name

    @property
    def status(self) -> int | None:
        """The client's exit status: negative for a signal, None if it was still running.

        Of several clients, that of the first that failed; without a client, the server's.
        """
        ended = self.capture.ended.get(self.failed_host)
        return ended[1] if ended else None

    @property
    def lost(self) -> int:
        """How many frames the lab itself lost; if not 0, the timeline is not reliable."""
        return self.capture.lost

    def to_pcapng(self) -> bytes:
        """Return the frames as a pcapng file."""
        return to_pcapng(self.timeline, self.bodies, self.changed)


def record(
    server: Command | None,
    client: Command | None,
    *,
    wire: WireOptions | None = None,
    lab: LabOptions | None = None,
    seed: int = 0,
    calls: bool = True,
    show: Callable[[Printed], object] = lambda _: None,
) -> Recording:
    """Run a server and a client in a lab, and return everything that was seen, explained.

    A program is a shell's command line, a list of arguments, or None for none; ``-`` is a shell for
    a person. ``show`` gets their output as it is printed. ``seed`` is where chance begins; with
    ``calls`` false only segments are recorded. Raises LabUnavailable, UsageError, StraceMissing,
    TimedOut when the server does not listen in time, StrettaError when a program cannot start.
    """
    given = {"client": client, "server": server}
    commands = {host: command for host, command in given.items() if command is not None}
    return record_hosts(commands, TWO_HOSTS, wire=wire, lab=lab, seed=seed, calls=calls, show=show)


def record_hosts(
    commands: Mapping[str, Command],
    topology: Topology,
    *,
    wire: WireOptions | None = None,
    lab: LabOptions | None = None,
    seed: int = 0,
    calls: bool = True,
    show: Callable[[Printed], object] = lambda _: None,
) -> Recording:
    """Run programs on the hosts of any topology, and return everything that was seen, explained.

    Takes and raises what ``stretta.lab.controller.run_lab`` does.
    """
    options = wire or WireOptions()
    seen = run_lab(commands, topology, wire=options, lab=lab, seed=seed, calls=calls, show=show)
    faults = {
        name: value
        for name in WireOptions.__dataclass_fields__
        if name not in ("seed", "queue") and (value := getattr(options, name))
    }
    return build_recording(seen, {"wire": faults} if faults else {})


def build_recording(seen: RawCapture, about: dict[str, object]) -> Recording:
    """Return the recording of a capture; ``about`` goes to the timeline's."""
    log = read_wire_log(seen.wire, seen.start, seen.topology)
    # leave out what the hosts' kernels sent before any program ran
    first = min(seen.launched.values(), default=seen.start) - seen.start
    frames = [f for f in log.frames if f.at >= first]
    kept = {f.id for f in frames}
    events: list[Event] = [*frames, *(f for f in log.faults if f.frame in kept)]
    hidden = []
    for name, text in seen.traces.items():
        host = seen.topology.host(name)
        calls = read_strace(text, host, seen.topology.hosts, seen.start)
        events += calls.calls
        events += calls.processes
        if calls.blind:
            hidden.append(name)
    for output in seen.output:
        events.append(Print(-1, output.at - seen.start, output.host, data=output.data))
    if not seen.traces:
        events += _process_ends(seen)
    about = {**about, "seed": seen.seed, "commands": seen.commands, "lost": seen.lost}
    timeline = build(events, seen.topology.hosts, start=seen.start, about=about)
    if blind := [host for host in hidden if _has_unexplained_frames(timeline, host)]:
        timeline = replace(timeline, about={**about, "blind": blind})
    ids = timeline.frame_ids
    bodies = {ids[f.id]: log.bodies[f.id] for f in frames}
    changed = {(ids[n], copy): data for (n, copy), data in log.changed.items() if n in kept}
    return Recording(explained(timeline), seen, bodies, changed)


def _process_ends(seen: RawCapture) -> list[Process]:
    """Return the ends of the programs, which strace reports where it runs."""
    return [
        Process(
            -1,
            at - seen.start,
            host,
            process=1,
            program=seen.commands[host].partition(" ")[0].rpartition("/")[2],
            status=status,
        )
        for host, (at, status) in seen.ended.items()
    ]


def _has_unexplained_frames(timeline: Timeline, host: str) -> bool:
    """Return whether a host sent data that no recorded call passed to the kernel."""
    carried = {link.target for link in timeline.links if link.kind is LinkKind.CARRIED}
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
