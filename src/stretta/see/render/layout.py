"""What of a timeline is drawn, in order: calls that begin and end, frames that leave and arrive.

Long runs of the same are folded. Pure; each renderer draws these steps in its own way.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from stretta.see.events import Call, Event, Flow, Frame, Process, State
from stretta.see.explain.phrases import duration
from stretta.see.packets import ACK, RST, SYN, describe_payload
from stretta.see.timeline import Timeline

__all__ = ["Layout", "Step", "label", "lay_out", "outcome"]

QUIET_CALLS = {
    "setsockopt", "getsockopt", "getsockname", "getpeername", "ioctl", "fcntl", "epoll_ctl",
}  # fmt: skip
KEEP = 2
"""Events that are left at each end of a run that is folded."""

LONGEST_RUN = 8
"""Events of a run that is drawn whole."""

PAUSE = 20_000_000
"""Nanoseconds without an event, which divide what several conversations do."""

LONG_WAIT = 1_000_000
"""Nanoseconds from which on a wait for several sockets is drawn."""


@dataclass(slots=True)
class Step:
    """One thing to draw: ``kind`` is enter, exit, leave, arrive, end, or fold.

    ``states`` maps hosts to the TCP state that begins here; ``notes`` are numbers of explanations,
    from 1. A fold has words and stands for ``count`` events.
    """

    at: int
    kind: str
    event: Event
    copy: int = 0
    states: dict[str, str] = field(default_factory=dict)
    notes: list[int] = field(default_factory=list)
    words: str = ""


@dataclass(slots=True)
class Layout:
    """The steps of a timeline, from ``begin``; ``names`` are letters for its conversations."""

    timeline: Timeline
    steps: list[Step]
    begin: int
    names: dict[Flow, str]
    sent_by: dict[int, int]  # frame to the call that sent it
    ended_by: dict[int, int]  # call to the frame whose arrival ended it


def lay_out(timeline: Timeline, *, everything: bool = False, fold: bool = True) -> Layout:
    """Return what there is to draw; ``everything`` adds housekeeping frames and quiet calls."""
    events = [e for e in timeline.events if _is_drawn(e, everything=everything)]
    if not everything:
        busy = _busy_sockets(timeline)
        events = [
            e
            for e in events
            if not isinstance(e, Call) or e.protocol != "udp" or (e.host, e.socket) in busy
        ]
    talkers = {(e.host, e.process) for e in events if isinstance(e, Call)}
    known = any(isinstance(e, Call) for e in timeline.events)
    if known:
        events = [e for e in events if not isinstance(e, Process) or (e.host, e.process) in talkers]
    frames = [e for e in events if isinstance(e, Frame)]
    # what the programs do when the lab tells them to stop belongs to no conversation
    last = max([f.at for f in frames] + [a.at for f in frames for a in f.arrivals], default=0)
    ends = [e.at for e in events if isinstance(e, Process) and e.host == "client"]
    last = max([last, *ends])
    if frames:
        events = [e for e in events if e.at <= last]
    else:  # nothing else tells the end
        last = max([last, *(e.end or e.at for e in events if isinstance(e, Call))])
    noted = {note.events[0] for note in timeline.notes}
    flows = dict.fromkeys(f.flow for f in frames if f.flow)
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    names = {}
    if len(flows) > 1:
        names = {f: letters[n] if n < 26 else str(n + 1) for n, f in enumerate(flows)}
    folds: list[Step] = []
    if fold:
        events, folds = _fold(events, noted, names)
    steps = [m for event in events for m in _steps(event, last)] + folds
    steps.sort(key=_order)
    _add_states(timeline, steps)
    _add_notes(timeline, steps)
    sent_by: dict[int, int] = {}
    ended_by: dict[int, int] = {}
    for link in timeline.links:
        if link.kind in ("sent", "carried"):
            sent_by.setdefault(link.target, link.source)
        elif link.kind in ("returned", "delivered", "ended", "failed", "woke"):
            ended_by[link.target] = link.source
    begin = steps[0].at if steps else 0
    return Layout(timeline, steps, begin, names, sent_by, ended_by)


def _order(step: Step) -> tuple[int, int, int, str]:
    """Return where a step stands: of those of one time, arrivals come first and returns last."""
    kind = step.kind
    at_once = kind == "arrive" and step.event.at == step.at  # seen at one place only
    rank = 0 if kind == "arrive" and not at_once else 2 if kind == "exit" else 1
    return step.at, rank, step.event.id, "leave+" if at_once else kind


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
    if not event.direction and ("poll" in event.name or "select" in event.name):
        return event.duration >= LONG_WAIT and event.result != 0 and not event.error
    return not (event.error in ("EAGAIN", "EWOULDBLOCK") and event.direction != "out")


def _busy_sockets(timeline: Timeline) -> set[tuple[str, int]]:
    """Return the sockets that serve or speak; a resolver's UDP sockets only ask for a route."""
    return {
        (e.host, e.socket)
        for e in timeline.events
        if isinstance(e, Call)
        and (e.name == "bind" or (e.flow in timeline.udp and timeline.udp[e.flow].frames))
    } | {("client", -1), ("server", -1)}


def _steps(event: Event, last: int) -> list[Step]:
    if isinstance(event, Call):
        steps = [Step(event.at, "enter", event)]
        if event.end is not None and event.end <= last:
            steps.append(Step(event.end, "exit", event))
        return steps
    if isinstance(event, Frame):
        steps = [Step(event.at, "leave", event)]
        steps += [Step(a.at, "arrive", event, copy=n) for n, a in enumerate(event.arrivals)]
        return steps
    return [Step(event.at, "end", event)]


def _is_dull(event: Event, noted: set[int]) -> bool:
    """Return whether an event is one of many of its kind, about which there is nothing to say."""
    if event.id in noted:
        return False
    if isinstance(event, Call):
        return (
            bool(event.direction) and not event.error and event.transferred > 0
        ) or "poll" in event.name
    if isinstance(event, Frame):
        plain = len(event.arrivals) == 1 and not event.arrivals[0].corrupted
        usual = not event.packet.flags & (SYN | RST | 1) and event.packet.protocol in ("tcp", "udp")
        return plain and usual and event.retransmission_of is None and not event.forged
    return False


def _fold(
    events: list[Event], noted: set[int], names: dict[Flow, str]
) -> tuple[list[Event], list[Step]]:
    """Take the middle of long dull runs out, and say what was taken.

    Where there are several conversations, a pause ends a run: what follows is another matter.
    """
    kept: list[Event] = []
    folds: list[Step] = []
    run: list[Event] = []

    def end_run() -> None:
        if len(run) > LONGEST_RUN:
            kept.extend(run[:KEEP])
            middle = run[KEEP:-KEEP]
            folds.append(Step(middle[0].at, "fold", middle[0], words=_summary(middle, names)))
            kept.extend(run[-KEEP:])
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


def _summary(events: list[Event], names: dict[Flow, str]) -> str:
    parts = []
    whose_words = ""
    whose = {names[e.flow] for e in events if isinstance(e, Call | Frame) and e.flow in names}
    if 0 < len(whose) <= 3:
        whose_words = f"{' '.join(sorted(whose))}: "
    for host, arrow in (("client", "→"), ("server", "←")):
        data = [e for e in events if isinstance(e, Frame) and e.host == host and e.packet.length]
        acks = sum(isinstance(e, Frame) and e.host == host and not e.packet.length for e in events)
        if data:
            size = sum(f.packet.length for f in data)
            parts.append(f"{len(data):,} × data {arrow} ({size:,} B)")
        if acks:
            parts.append(f"{acks:,} × ACK {arrow}")
    calls = sum(isinstance(e, Call) for e in events)
    if calls:
        parts.append(f"{calls:,} call{'s' * (calls > 1)}")
    return f"{whose_words}{', '.join(parts)}, {duration(events[-1].at - events[0].at)}"


def _add_states(timeline: Timeline, steps: list[Step]) -> None:
    places = {}
    for step in steps:
        if isinstance(step.event, Frame):
            places[step.event.id, step.kind] = step
    first: set[tuple[str, Flow]] = set()
    for event in timeline.events:
        if not isinstance(event, State) or event.flow is None:
            continue
        for kind in ("leave", "arrive"):
            found = places.get((event.cause, kind))
            if found is not None and found.at == event.at:
                found.states[event.host] = event.state
                first.add((event.host, event.flow))
                break


def _add_notes(timeline: Timeline, steps: list[Step]) -> None:
    places: dict[int, Step] = {}
    for step in steps:
        places.setdefault(step.event.id, step)
    for number, note in enumerate(timeline.notes, 1):
        place = next((places[e] for e in note.events if e in places), None)
        if place is None and steps:
            place = min(steps, key=lambda m: abs(m.at - note.at))
        if place:
            place.notes.append(number)


def label(frame: Frame) -> str:
    """Return the few words that stand on a frame's arrow."""
    packet = frame.packet
    if packet.protocol == "tcp":
        words = [n for n in packet.flag_names.split() if n != "ACK" or packet.flags & (SYN | 1)]
        size = packet.length
        if size:
            named = describe_payload(packet.payload)
            words.append(named or f"{size:,} byte{'s' * (size != 1)}")
            if packet.flags & 1:
                words = ["FIN", *[w for w in words if w not in ("FIN", "ACK")]]
        if not words:
            words = [f"ACK {frame.ack - 1:,}"] if frame.ack > 1 else ["ACK"]
        if packet.flags & RST:
            words = ["RST"]
        if frame.forged:
            words.append("(forged)")
        if frame.retransmission_of is not None:  # before what may be too long to be seen whole
            words.insert(len(words) if len(" ".join(words)) < 12 else 0, "again")
        if packet.window == 0 and packet.flags & ACK and not packet.flags & (SYN | RST):
            words = [*(w for w in words if not w.startswith("ACK")), "ACK, window 0"]
        return " ".join(words)
    if packet.protocol == "udp":
        more = ", fragment" if packet.more else ""
        return f"{packet.length:,} byte{'s' * (packet.length != 1)}{more}"
    if packet.protocol == "fragment":
        return "last fragment" if not packet.more else "fragment"
    if packet.protocol.startswith("icmp"):
        return f"ICMP {packet.words}"
    return f"{packet.protocol.upper()} {packet.words}"


def outcome(call: Call) -> str:
    """Return what a call gave back."""
    if call.result is None:
        return ""
    if call.error:
        return f"= -1 {call.error}"
    return f"= {call.result}"
