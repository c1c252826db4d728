"""One ordered list of events, and the links between them: what brought about what. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from stretta.see.correlate import tcp, udp
from stretta.see.correlate.tcp import TcpConversation
from stretta.see.correlate.udp import UdpConversation
from stretta.see.events import Call, Event, Fault, Flow, Frame, Link, Note, Process, State
from stretta.see.tcp_states import infer_states

__all__ = ["Timeline", "build"]

ORDER = {"Call": 0, "Frame": 1, "Fault": 2, "State": 3}
"""Which of two events of the same nanosecond comes first."""


@dataclass(slots=True)
class Timeline:
    """All that happened in a lab, and why.

    ``events`` are in order of time and know their ids, which are their places in the list;
    ``start`` is when time began, in nanoseconds since 1970. ``conversations`` hold the findings
    about each conversation. ``about`` says how it was made: commands, seed, faults, what is not
    seen.
    """

    events: list[Event]
    links: list[Link] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    start: int = 0
    about: dict[str, object] = field(default_factory=dict)
    tcp: dict[Flow, TcpConversation] = field(default_factory=dict)
    udp: dict[Flow, UdpConversation] = field(default_factory=dict)

    def of(self, kind: type[Event]) -> list[Event]:
        """Return the events of a kind."""
        return [event for event in self.events if type(event) is kind]


def build(
    events: Iterable[Event], *, start: int = 0, about: dict[str, object] | None = None
) -> Timeline:
    """Return the timeline of events whose order, ids and links are still to be found."""
    timeline = Timeline(list(events), start=start, about=about or {})
    frames = [e for e in timeline.events if isinstance(e, Frame)]
    calls = [e for e in timeline.events if isinstance(e, Call)]
    frames.sort(key=lambda f: f.at)
    _name_flows(frames)
    _find_lost_flows(calls, frames)
    _find_lost_sources(calls, frames)
    _find_lost_failures(calls)
    _number(timeline)
    calls.sort(key=lambda c: c.id)
    frames.sort(key=lambda f: f.id)
    by_flow: dict[Flow, tuple[list[Call], list[Frame]]] = defaultdict(lambda: ([], []))
    for call in calls:
        if call.flow:
            by_flow[call.flow][0].append(call)
    for frame in frames:
        if frame.flow:
            by_flow[frame.flow][1].append(frame)
    processes = [e for e in timeline.events if isinstance(e, Process)]
    faults = {e.frame: e for e in timeline.events if isinstance(e, Fault)}
    polls = [
        c for c in calls if not c.direction and (c.ready or "poll" in c.name or "select" in c.name)
    ]
    settings = [c for c in calls if c.name == "setsockopt" and c.flow is None and c.local]
    watched = frozenset(c.host for c in calls)
    states: list[State] = []
    for flow, (its_calls, its_frames) in sorted(by_flow.items(), key=lambda kv: _first(kv[1])):
        if flow.protocol == "tcp":
            conversation = tcp.correlate(
                flow, its_calls, its_frames, polls, processes, faults, watched, settings
            )
            timeline.tcp[flow] = conversation
            states += infer_states(conversation)
        elif flow.protocol == "udp":
            told = udp.correlate(flow, its_calls, its_frames, polls, faults, watched)
            timeline.udp[flow] = told
    conversations: list[TcpConversation | UdpConversation] = [
        *timeline.tcp.values(),
        *timeline.udp.values(),
    ]
    for each in conversations:
        _obey_causes(timeline, each.links)
    timeline.events += states
    _renumber(timeline, conversations)
    for each in conversations:
        timeline.links += each.links
    for fault in faults.values():
        if fault.frame >= 0:
            reason = f"{fault.effect} by {fault.by}"
            timeline.links.append(Link(fault.frame, fault.id, "fault", reason))
    timeline.links.sort(key=lambda link: (link.source, link.target))
    return timeline


def _obey_causes(timeline: Timeline, links: list[Link]) -> None:
    """Let no call return before what ended it arrived: strace's clock leaves that much room.

    How long it took is known better than when it was entered, so its begin moves along, though not
    behind what it sent: strace notes the time, and then asks the kernel about the descriptors.
    """
    sent: dict[int, int] = {}
    for link in links:
        if link.kind in ("sent", "carried"):
            at = timeline.events[link.target].at
            sent[link.source] = min(at, sent.get(link.source, at))
    for link in links:
        source, call = timeline.events[link.source], timeline.events[link.target]
        if isinstance(source, Frame) and isinstance(call, Call) and call.end is not None:
            came = source.arrived
            if came is not None and call.end <= came <= call.latest_end:
                call.end = min(came + 1000, call.latest_end)
            begun = min(call.end - call.duration, sent.get(call.id, call.end))
            call.at = max(call.at, begun) if call.duration else call.at


def _first(pair: tuple[list[Call], list[Frame]]) -> int:
    return min((event.at for part in pair for event in part), default=0)


def _name_flows(frames: list[Frame]) -> None:
    """Say of each frame which conversation it belongs to; fragments follow their first."""
    whole: dict[tuple[str, str, int], Flow] = {}
    for frame in frames:
        packet = frame.packet
        if packet.protocol in ("tcp", "udp"):
            here = packet.source, packet.source_port
            there = packet.target, packet.target_port
            ends = (here, there) if frame.host == "client" else (there, here)
            frame.flow = Flow(packet.protocol, *ends)
            if packet.more:
                whole[packet.source, packet.target, packet.identity] = frame.flow
        elif packet.inner and packet.inner.protocol in ("tcp", "udp"):
            inner = packet.inner
            sent, to = (inner.source, inner.source_port), (inner.target, inner.target_port)
            # it comes back to whoever had sent the packet
            ends = (to, sent) if frame.host == "client" else (sent, to)
            frame.flow = Flow(inner.protocol, *ends)
    for frame in frames:
        packet = frame.packet
        if packet.protocol == "fragment":
            frame.flow = whole.get((packet.source, packet.target, packet.identity))


def _find_lost_flows(calls: list[Call], frames: list[Frame]) -> None:
    """Name the conversations of sockets whose own end strace never showed, by what they sent.

    A refused connect() leaves no trace of its port but the SYN; nor does the only datagram of a
    socket that is never used again.
    """
    nameless = [
        c
        for c in calls
        if c.flow is None and c.peer and (c.direction == "out" or c.name == "connect")
    ]
    if not nameless:
        return
    claimed = {c.flow for c in calls if c.flow}
    by_target: dict[tuple[str, str, tuple[str, int]], list[Frame]] = defaultdict(list)
    for frame in frames:
        packet = frame.packet
        if frame.flow and packet.protocol in ("tcp", "udp"):
            key = frame.host, packet.protocol, (packet.target, packet.target_port)
            by_target[key].append(frame)
    same: dict[tuple[str, int], list[Call]] = defaultdict(list)
    for call in calls:
        if call.flow is None and call.socket >= 0:
            same[call.host, call.socket].append(call)
    for call in nameless:
        if call.flow is not None or call.peer is None:
            continue
        for frame in by_target[call.host, call.protocol, call.peer]:
            if frame.flow not in claimed and call.at <= frame.at <= call.latest_end:
                assert frame.flow is not None  # noqa: S101 - for the type checker
                claimed.add(frame.flow)
                for other in same[call.host, call.socket]:
                    if other.protocol == "tcp" or other.peer in (call.peer, None):
                        other.flow = frame.flow
                break


def _find_lost_sources(calls: list[Call], frames: list[Frame]) -> None:
    """Name the conversations of receives that did not ask where a datagram came from."""
    nameless = [
        c for c in calls
        if c.flow is None and c.protocol == "udp" and c.direction == "in" and c.local and not c.error  # noqa: E501
    ]  # fmt: skip
    used: set[int] = set()
    for call in sorted(nameless, key=lambda c: c.latest_end):
        for frame in frames:
            packet = frame.packet
            if (
                frame.host != call.host and packet.protocol == "udp" and id(frame) not in used
                and call.local is not None and packet.target_port == call.local[1]
                and frame.arrived is not None and frame.arrived <= call.latest_end
                and call.transferred in (packet.length, call.requested)
            ):  # fmt: skip
                used.add(id(frame))
                call.flow = frame.flow
                break


def _find_lost_failures(calls: list[Call]) -> None:
    """Give receives that got nothing to the only conversation that their socket has."""
    flows: dict[tuple[str, int], set[Flow]] = defaultdict(set)
    for call in calls:
        if call.flow and call.protocol == "udp":
            flows[call.host, call.socket].add(call.flow)
    for call in calls:
        if call.flow is None and call.protocol == "udp" and call.direction == "in":
            found = flows[call.host, call.socket]
            if len(found) == 1:
                call.flow = next(iter(found))


def _number(timeline: Timeline) -> None:
    """Put the events in order, and number them; faults follow their frames' numbers."""
    frames_before = {e.id: e for e in timeline.events if isinstance(e, Frame)}
    timeline.events.sort(key=lambda e: (e.at, ORDER.get(type(e).__name__, 9)))
    faults = [(e, frames_before.get(e.frame)) for e in timeline.events if isinstance(e, Fault)]
    for number, event in enumerate(timeline.events):
        event.id = number
    for fault, frame in faults:
        fault.frame = frame.id if frame else -1


def _renumber(timeline: Timeline, conversations: list[TcpConversation | UdpConversation]) -> None:
    """Give the events new numbers, here and where they are named."""
    timeline.events.sort(key=lambda e: (e.at, ORDER.get(type(e).__name__, 9)))
    new = {}
    for number, event in enumerate(timeline.events):
        if not isinstance(event, State):
            new[event.id] = number
    for number, event in enumerate(timeline.events):
        event.id = number
        if isinstance(event, Fault):
            event.frame = new.get(event.frame, -1)
        elif isinstance(event, State):
            event.cause = new.get(event.cause, -1)
        elif isinstance(event, Frame) and event.retransmission_of is not None:
            event.retransmission_of = new[event.retransmission_of]
    for conversation in conversations:
        conversation.links = [
            replace(link, source=new[link.source], target=new[link.target])
            for link in conversation.links
        ]
        conversation.faults = {fault.frame: fault for fault in conversation.faults.values()}
