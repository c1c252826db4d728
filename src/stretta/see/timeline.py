"""One ordered list of events, and the links between them: what brought about what. Pure.

How a timeline is built
-----------------------
The input is what was captured: the calls of each host (strace), the frames that left each host and
their arrivals (the wire), the faults, the starts and ends of programs. The hosts' clocks are one
clock. ``build`` makes new values in six steps, and leaves its input as it was:

1. *Order.* Events are sorted by time. At equal times a call comes before a frame, a frame before
   its fault, and a state last: a cause never stands behind its effect.
2. *Conversations* (``flows``). Each frame and each call gets its flow: protocol, initiator and
   responder, by the addresses in the packet or of the socket.
3. *Sequence numbers* (``sequence_numbers``) become relative and do not wrap, so that byte ``n`` of
   a stream is the same number for the call that sent it and the segment that carried it.
4. *Correlation* (``correlate``), one conversation at a time. TCP keeps order: the nth byte given
   to send() is the nth byte of the stream, and the nth byte that recv() returns. So three maps
   from byte ranges suffice: to the sending call, to the segment that carried the bytes first, to
   the receiving call. Where two of them overlap, there is a link. A segment whose bytes were
   all carried before is a retransmission. UDP keeps boundaries instead: calls and datagrams are
   matched by size and order. Other links follow from rules of the protocol: RST, FIN, ICMP.
5. *Clocks.* strace measures the length of a call well, but not when it began. A call whose cause
   is known ends just after the cause arrived, if strace's bounds allow it (``_adjusted``).
6. *Numbers.* With states and adjusted calls the events are sorted once more; an event's id is its
   place, and links and conversations name events by it.

Links are facts (``LinkKind``, ``Cause``). ``stretta.see.explain`` makes sentences of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from stretta.see.correlate import tcp, udp
from stretta.see.correlate.conversation import TcpConversation
from stretta.see.correlate.udp import UdpConversation
from stretta.see.events import (
    Call,
    Cause,
    Event,
    Fault,
    Flow,
    Frame,
    Link,
    LinkKind,
    Note,
    Process,
    State,
)
from stretta.see.flows import name_flows
from stretta.see.hosts import Host
from stretta.see.sequence_numbers import relative_numbers
from stretta.see.tcp_states import infer_states

__all__ = ["Timeline", "build"]

ORDER = {Call: 0, Frame: 1, Fault: 2, State: 3}
"""Which of two events of the same nanosecond comes first; others come last."""

JUST_AFTER = 1000
"""Nanoseconds between a cause's arrival and the return of the call that waited for it."""

Conversation = TcpConversation | UdpConversation


@dataclass(frozen=True, slots=True)
class Timeline:
    """All that happened between some hosts, and why.

    ``events`` are in order of time, and an event's id is its place. ``start`` is when time began,
    in nanoseconds since 1970. ``hosts`` are those that take part, in the order in which pictures
    show them. ``tcp`` and ``udp`` hold what was found out about each conversation. ``about`` says
    how the timeline was made: commands, seed, faults, what is not seen. ``frame_ids`` maps the
    frames' ids before the timeline was built to those in it.
    """

    events: tuple[Event, ...]
    hosts: tuple[Host, ...]
    links: tuple[Link, ...] = ()
    notes: tuple[Note, ...] = ()
    start: int = 0
    about: Mapping[str, object] = field(default_factory=dict)
    tcp: Mapping[Flow, TcpConversation] = field(default_factory=dict)
    udp: Mapping[Flow, UdpConversation] = field(default_factory=dict)
    frame_ids: Mapping[int, int] = field(default_factory=dict, compare=False)


def build(
    events: Iterable[Event],
    hosts: Iterable[Host],
    *,
    start: int = 0,
    about: Mapping[str, object] | None = None,
) -> Timeline:
    """Return the timeline of events in any order; their ids, flows and links are found here."""
    hosts = tuple(hosts)
    given = _in_order(events)
    named = _named(given, hosts)
    numbered, frame_ids = _numbered(given, named)
    numbered = _with_relative_numbers(numbered)
    faults = {e.frame: e for e in numbered if isinstance(e, Fault)}
    conversations = _correlate(numbered, faults)
    states = [s for c in conversations if isinstance(c, TcpConversation) for s in infer_states(c)]
    links = [link for each in conversations for link in each.links]
    adjusted = _adjusted(numbered, links)
    again = {
        r.frame.id: r.original.id
        for c in conversations if isinstance(c, TcpConversation)
        for side in c.sides for r in side.retransmissions
    }  # fmt: skip
    new, ordered = _final(adjusted, states, again)
    conversations = [each.moved_to(new) for each in conversations]
    all_links = [link for each in conversations for link in each.links]
    all_links += [
        Link(event.frame, event.id, LinkKind.FAULT, Cause.OPTION)
        for event in ordered if isinstance(event, Fault) and event.frame >= 0
    ]  # fmt: skip
    all_links.sort(key=lambda link: (link.source, link.target))
    return Timeline(
        events=ordered,
        hosts=hosts,
        links=tuple(all_links),
        start=start,
        about=dict(about or {}),
        tcp={c.flow: c for c in conversations if isinstance(c, TcpConversation)},
        udp={c.flow: c for c in conversations if isinstance(c, UdpConversation)},
        frame_ids={old: new[number].id for old, number in frame_ids.items()},
    )


def _in_order(events: Iterable[Event]) -> list[Event]:
    return sorted(events, key=lambda e: (e.at, ORDER.get(type(e), 9)))


def _named(events: Sequence[Event], hosts: tuple[Host, ...]) -> list[Event]:
    """Return the events with calls and frames that know their conversations."""
    calls = [(place, e) for place, e in enumerate(events) if isinstance(e, Call)]
    frames = [(place, e) for place, e in enumerate(events) if isinstance(e, Frame)]
    named_calls, named_frames = name_flows([c for _, c in calls], [f for _, f in frames], hosts)
    named = list(events)
    for (place, _), call in zip(calls, named_calls, strict=True):
        named[place] = call
    for (place, _), frame in zip(frames, named_frames, strict=True):
        named[place] = frame
    return named


def _numbered(given: Sequence[Event], named: Sequence[Event]) -> tuple[list[Event], dict[int, int]]:
    """Return the events with their places as ids, and the frames' new ids by their old ones."""
    frame_ids = {e.id: place for place, e in enumerate(given) if isinstance(e, Frame)}
    numbered: list[Event] = []
    for place, event in enumerate(named):
        if isinstance(event, Fault):
            numbered.append(replace(event, id=place, frame=frame_ids.get(event.frame, -1)))
        else:
            numbered.append(replace(event, id=place))
    return numbered, frame_ids


def _with_relative_numbers(events: Sequence[Event]) -> list[Event]:
    by_flow: dict[Flow, list[Frame]] = defaultdict(list)
    for event in events:
        if isinstance(event, Frame) and event.flow and event.flow.protocol == "tcp":
            by_flow[event.flow].append(event)
    numbers: dict[int, tuple[int, int]] = {}
    for flow, frames in by_flow.items():
        numbers.update(relative_numbers(flow, frames))
    return [
        replace(event, seq=numbers.get(event.id, (0, 0))[0], ack=numbers.get(event.id, (0, 0))[1])
        if isinstance(event, Frame) else event
        for event in events
    ]  # fmt: skip


def _correlate(events: Sequence[Event], faults: Mapping[int, Fault]) -> list[Conversation]:
    """Return the conversations in the order of their first events."""
    calls = [e for e in events if isinstance(e, Call)]
    by_flow: dict[Flow, tuple[list[Call], list[Frame]]] = defaultdict(lambda: ([], []))
    for event in events:
        if isinstance(event, Call) and event.flow:
            by_flow[event.flow][0].append(event)
        elif isinstance(event, Frame) and event.flow:
            by_flow[event.flow][1].append(event)
    processes = [e for e in events if isinstance(e, Process)]
    polls = [c for c in calls if not c.direction and (c.ready or c.waits_for_many)]
    settings = [c for c in calls if c.name == "setsockopt" and c.flow is None and c.local]
    watched = frozenset(c.host for c in calls)
    conversations: list[Conversation] = []
    for flow, (its_calls, its_frames) in by_flow.items():
        if flow.protocol == "tcp":
            conversations.append(
                tcp.correlate(
                    flow, its_calls, its_frames, polls, processes, faults, watched, settings
                )
            )
        elif flow.protocol == "udp":
            conversations.append(udp.correlate(flow, its_calls, its_frames, polls, faults, watched))
    return conversations


def _adjusted(events: Sequence[Event], links: Iterable[Link]) -> list[Event]:
    """Return the events with each call ending after the arrival of its cause, where it can.

    A call's length is known better than its begin, so the begin moves along; though not behind
    what the call sent: strace notes the time, and then asks the kernel about the descriptors.
    """
    links = list(links)
    adjusted = list(events)
    sent: dict[int, int] = {}
    for link in links:
        if link.kind in (LinkKind.SENT, LinkKind.CARRIED):
            at = adjusted[link.target].at
            sent[link.source] = min(at, sent.get(link.source, at))
    for link in links:
        source, call = adjusted[link.source], adjusted[link.target]
        if isinstance(source, Frame) and isinstance(call, Call) and call.end is not None:
            came, end = source.arrived, call.end
            if came is not None and end <= came <= call.latest_end:
                end = min(came + JUST_AFTER, call.latest_end)
            begun = min(end - call.duration, sent.get(call.id, end))
            at = max(call.at, begun) if call.duration else call.at
            if (at, end) != (call.at, call.end):
                adjusted[call.id] = replace(call, at=at, end=end)
    return adjusted


def _final(
    events: Sequence[Event], states: Sequence[State], again: Mapping[int, int]
) -> tuple[dict[int, Event], tuple[Event, ...]]:
    """Return the events by their ids so far, and all of them in order with new ids."""
    ordered = _in_order([*events, *states])
    places = {
        event.id: place for place, event in enumerate(ordered) if not isinstance(event, State)
    }
    new: dict[int, Event] = {}
    final: list[Event] = []
    for place, event in enumerate(ordered):
        if isinstance(event, State):
            made: Event = replace(event, id=place, cause=places.get(event.cause, -1))
        elif isinstance(event, Fault):
            made = replace(event, id=place, frame=places.get(event.frame, -1))
        elif isinstance(event, Frame):
            original = again.get(event.id)
            made = replace(
                event, id=place, retransmission_of=None if original is None else places[original]
            )
        else:
            made = replace(event, id=place)
        if not isinstance(event, State):
            new[event.id] = made
        final.append(made)
    return new, tuple(final)
