"""What of a timeline is drawn, in order: calls that begin and end, frames that leave and arrive.

Long runs of events of the same kind are folded. Pure; each renderer draws these steps its own way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from stretta.see.events import (
    Call,
    Direction,
    Event,
    Flow,
    Frame,
    LinkKind,
    Process,
    State,
    TcpState,
)
from stretta.see.hosts import Host
from stretta.see.packets import FIN, RST, SYN
from stretta.see.timeline import Timeline

__all__ = ["Fold", "Layout", "Run", "Step", "StepKind", "lay_out"]

QUIET_CALLS = {
    "setsockopt", "getsockopt", "getsockname", "getpeername", "ioctl", "fcntl", "epoll_ctl",
}  # fmt: skip
KEEP = 2
"""Events that are left at each end of a run that is folded."""

LONGEST_RUN = 8
"""Events of a run that is drawn whole."""

PAUSE = 20_000_000
"""Nanoseconds without an event, which divide the runs of several conversations."""

LONG_WAIT = 1_000_000
"""Nanoseconds from which on a wait for several sockets is drawn."""

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class StepKind(StrEnum):
    """What a step draws."""

    ENTER = "enter"
    """A call begins."""
    EXIT = "exit"
    """A call returns."""
    LEAVE = "leave"
    """A frame leaves a host."""
    ARRIVE = "arrive"
    """A frame arrives."""
    END = "end"
    """A program ends."""
    FOLD = "fold"
    """A run of events that is not drawn one by one."""


@dataclass(frozen=True, slots=True)
class Run:
    """Frames of a fold from one host to another: with data, and their bytes; without, ``acks``."""

    host: str
    to: str
    data: int
    size: int
    acks: int


@dataclass(frozen=True, slots=True)
class Fold:
    """What a fold stands for; ``names`` are the letters of its conversations, if they are few."""

    names: tuple[str, ...]
    runs: tuple[Run, ...]
    calls: int
    duration: int


@dataclass(slots=True)
class Step:
    """One thing to draw. ``copy`` is which arrival of a frame; only a fold has a ``fold``.

    ``states`` maps hosts to the TCP state that begins here; ``notes`` are numbers of explanations,
    from 1.
    """

    at: int
    kind: StepKind
    event: Event
    copy: int = 0
    states: dict[str, TcpState] = field(default_factory=dict)
    notes: list[int] = field(default_factory=list)
    fold: Fold | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """The steps of a timeline, from ``begin``; ``names`` are letters for its conversations.

    ``sent_by`` maps frames to the calls that sent them, ``ended_by`` calls to the frames whose
    arrival ended them. ``hosts`` have a lane each, in this order.
    """

    timeline: Timeline
    steps: list[Step]
    begin: int
    names: dict[Flow, str]
    sent_by: dict[int, int]
    ended_by: dict[int, int]

    @property
    def hosts(self) -> tuple[Host, ...]:
        """The hosts that have a lane."""
        return self.timeline.hosts


def lay_out(timeline: Timeline, *, everything: bool = False, fold: bool = True) -> Layout:
    """Return what there is to draw; ``everything`` adds housekeeping frames and quiet calls."""
    events = [e for e in timeline.events if _is_drawn(e, everything=everything)]
    if not everything:
        busy = _busy_sockets(timeline)
        events = [
            e for e in events
            if not isinstance(e, Call) or e.protocol != "udp" or e.socket < 0
            or (e.host, e.socket) in busy
        ]  # fmt: skip
    callers = {(e.host, e.process) for e in events if isinstance(e, Call)}
    if any(isinstance(e, Call) for e in timeline.events):
        events = [e for e in events if not isinstance(e, Process) or (e.host, e.process) in callers]
    frames = [e for e in events if isinstance(e, Frame)]
    last = _last(events, frames, timeline)
    if frames:
        events = [e for e in events if e.at <= last]
    noted = {note.events[0] for note in timeline.notes}
    flows = dict.fromkeys(f.flow for f in frames if f.flow)
    names = {}
    if len(flows) > 1:
        names = {f: LETTERS[n] if n < len(LETTERS) else str(n + 1) for n, f in enumerate(flows)}
    folds: list[Step] = []
    if fold:
        events, folds = _fold(events, noted, names, timeline.hosts)
    steps = [step for event in events for step in _steps(event, last)] + folds
    steps.sort(key=_order)
    _add_states(timeline, steps)
    _add_notes(timeline, steps)
    sent_by: dict[int, int] = {}
    ended_by: dict[int, int] = {}
    for link in timeline.links:
        if link.kind in SENDING:
            sent_by.setdefault(link.target, link.source)
        elif link.kind in ENDING:
            ended_by[link.target] = link.source
    begin = steps[0].at if steps else 0
    return Layout(timeline, steps, begin, names, sent_by, ended_by)


SENDING = {LinkKind.SENT, LinkKind.CARRIED}
ENDING = {
    LinkKind.RETURNED, LinkKind.DELIVERED, LinkKind.ENDED, LinkKind.FAILED, LinkKind.WOKE,
}  # fmt: skip


def _last(events: Sequence[Event], frames: Sequence[Frame], timeline: Timeline) -> int:
    """Return when the picture ends.

    It ends with the last frame, or the end of a program that began conversations. A lab stops the
    programs that serve after that: their last calls belong to no conversation.
    """
    times = [f.at for f in frames] + [a.at for f in frames for a in f.arrivals]
    ends = [e for e in events if isinstance(e, Process)]
    serving = {flow.responder.host for flow in (*timeline.tcp, *timeline.udp)}
    times += [e.at for e in ends if e.host not in serving] or [e.at for e in ends if not times]
    if not frames:
        times += [e.end or e.at for e in events if isinstance(e, Call)]
    return max(times, default=0)


def _order(step: Step) -> tuple[int, int, int, str]:
    """Return where a step stands: of those of one time, arrivals come first and returns last."""
    arrives = step.kind is StepKind.ARRIVE
    at_once = arrives and step.event.at == step.at  # seen at one place only
    rank = 0 if arrives and not at_once else 2 if step.kind is StepKind.EXIT else 1
    return step.at, rank, step.event.id, "leave+" if at_once else step.kind


def _is_drawn(event: Event, *, everything: bool) -> bool:
    if isinstance(event, Frame):
        return everything or not event.packet.is_housekeeping
    if isinstance(event, Process):
        return event.status is not None
    if not isinstance(event, Call):
        return False
    if everything:
        return True
    if event.name in QUIET_CALLS:
        return False
    if event.waits_for_many:
        return event.duration >= LONG_WAIT and event.result != 0 and not event.error
    blocked = event.error in ("EAGAIN", "EWOULDBLOCK")
    return not blocked or event.direction is Direction.OUT


def _busy_sockets(timeline: Timeline) -> set[tuple[str, int]]:
    """Return the sockets that serve or speak; a resolver's UDP sockets only ask for a route."""
    return {
        (e.host, e.socket)
        for e in timeline.events
        if isinstance(e, Call)
        and (
            e.name == "bind"
            or (e.flow and (conversation := timeline.udp.get(e.flow)) and conversation.frames)
        )
    }


def _steps(event: Event, last: int) -> list[Step]:
    if isinstance(event, Call):
        steps = [Step(event.at, StepKind.ENTER, event)]
        if event.end is not None and event.end <= last:
            steps.append(Step(event.end, StepKind.EXIT, event))
        return steps
    if isinstance(event, Frame):
        steps = [Step(event.at, StepKind.LEAVE, event)]
        steps += [Step(a.at, StepKind.ARRIVE, event, copy=n) for n, a in enumerate(event.arrivals)]
        return steps
    return [Step(event.at, StepKind.END, event)]


def _is_dull(event: Event, noted: set[int]) -> bool:
    """Return whether an event is one of many of its kind, and no explanation is about it."""
    if event.id in noted:
        return False
    if isinstance(event, Call):
        moves = event.direction is not Direction.NONE
        return (moves and not event.error and event.transferred > 0) or "poll" in event.name
    if isinstance(event, Frame):
        plain = len(event.arrivals) == 1 and not event.arrivals[0].corrupted
        usual = event.packet.protocol in ("tcp", "udp") and not event.packet.flags & (
            SYN | RST | FIN
        )
        return plain and usual and event.retransmission_of is None and not event.forged
    return False


def _fold(
    events: Sequence[Event], noted: set[int], names: dict[Flow, str], hosts: Sequence[Host]
) -> tuple[list[Event], list[Step]]:
    """Take the middle of long dull runs out, and return what was taken as folds.

    Where there are several conversations, a pause ends a run: other events follow.
    """
    kept: list[Event] = []
    folds: list[Step] = []
    run: list[Event] = []

    def end_run() -> None:
        if len(run) > LONGEST_RUN:
            middle = run[KEEP:-KEEP]
            kept.extend((*run[:KEEP], *run[-KEEP:]))
            fold = _summary(middle, names, hosts)
            folds.append(Step(middle[0].at, StepKind.FOLD, middle[0], fold=fold))
        else:
            kept.extend(run)
        run.clear()

    for event in events:
        if names and run and event.at - run[-1].at > PAUSE:
            end_run()
        if _is_dull(event, noted):
            run.append(event)
        else:
            end_run()
            kept.append(event)
    end_run()
    return kept, folds


def _summary(events: Sequence[Event], names: dict[Flow, str], hosts: Sequence[Host]) -> Fold:
    places = {host.name: place for place, host in enumerate(hosts)}
    frames = [e for e in events if isinstance(e, Frame)]
    ways = sorted(
        {(f.host, f.to) for f in frames},
        key=lambda way: (places.get(way[0], 0), places.get(way[1], 0)),
    )
    runs = []
    for host, to in ways:
        ours = [f for f in frames if (f.host, f.to) == (host, to)]
        sizes = [f.packet.length for f in ours if f.packet.length]
        runs.append(Run(host, to, len(sizes), sum(sizes), len(ours) - len(sizes)))
    letters = {names[e.flow] for e in events if isinstance(e, Call | Frame) and e.flow in names}
    return Fold(
        names=tuple(sorted(letters)) if len(letters) <= 3 else (),
        runs=tuple(runs),
        calls=sum(isinstance(e, Call) for e in events),
        duration=events[-1].at - events[0].at,
    )


def _add_states(timeline: Timeline, steps: Sequence[Step]) -> None:
    places = {(step.event.id, step.kind): step for step in steps if isinstance(step.event, Frame)}
    for event in timeline.events:
        if not isinstance(event, State):
            continue
        for kind in (StepKind.LEAVE, StepKind.ARRIVE):
            found = places.get((event.cause, kind))
            if found is not None and found.at == event.at:
                found.states[event.host] = event.state
                break


def _add_notes(timeline: Timeline, steps: Sequence[Step]) -> None:
    places: dict[int, Step] = {}
    for step in steps:
        places.setdefault(step.event.id, step)
    for number, note in enumerate(timeline.notes, 1):
        place = next((places[e] for e in note.events if e in places), None)
        if place is None and steps:
            place = min(steps, key=lambda s: abs(s.at - note.at))
        if place:
            place.notes.append(number)
