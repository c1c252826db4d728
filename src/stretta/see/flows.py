"""Name the conversation of each call and each frame, and the end that began it. Pure.

A frame's packet says between which ends it travels, and a socket's addresses say the same of a
call. Three kinds of calls do not show their ends: they get the conversation of a frame or of
another call on their socket (``_name_senders``, ``_name_receivers``, ``_name_failures``).

The initiator is the sender of the first SYN or the first datagram. Where none was seen, it is the
caller of connect(), the peer that accept() returned, or the sender of the first frame.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from stretta.see.events import Address, Call, Direction, Endpoint, Flow, Frame
from stretta.see.hosts import Host, HostTable
from stretta.see.packets import ACK, SYN

__all__ = ["name_flows"]


def name_flows(
    calls: Sequence[Call], frames: Sequence[Frame], hosts: Iterable[Host]
) -> tuple[list[Call], list[Frame]]:
    """Return the calls and the frames with their conversations; the frames must be in order."""
    table = HostTable(hosts)
    ends = _flows_of_frames(frames, table)
    names = [_sorted(call.flow) if call.flow else None for call in calls]
    _name_senders(calls, names, frames, ends)
    _name_receivers(calls, names, frames, ends)
    _name_failures(calls, names)
    oriented = _orient(calls, names, frames, ends)
    named_calls = [
        replace(
            call,
            flow=oriented.get(flow, flow) if flow else None,
            ready=tuple(oriented.get(_sorted(each), each) for each in call.ready),
        )
        if flow or call.ready
        else call
        for call, flow in zip(calls, names, strict=True)
    ]
    named_frames = [
        replace(
            frame,
            flow=oriented.get(flow, flow) if flow else None,
            to=frame.to or _next_host(frame, flow, table),
        )
        for frame, flow in zip(frames, ends, strict=True)
    ]
    return named_calls, named_frames


def _sorted(flow: Flow) -> Flow:
    return Flow.between(flow.protocol, flow.initiator, flow.responder)


def _next_host(frame: Frame, flow: Flow | None, table: HostTable) -> str:
    if flow and frame.host in (flow.initiator.host, flow.responder.host):
        return flow.peer_of(frame.host).host
    return table.reached(frame.host, frame.packet.target)


def _flows_of_frames(frames: Sequence[Frame], table: HostTable) -> list[Flow | None]:
    """Return the conversation of each frame; fragments follow the first one of their datagram."""
    flows: list[Flow | None] = []
    whole: dict[tuple[str, str, int], Flow] = {}
    for frame in frames:
        packet, inner, flow = frame.packet, frame.packet.inner, None
        if packet.protocol in ("tcp", "udp"):
            source = table.source(frame.host, packet.source)
            target = table.reached(source, packet.target)
            flow = Flow.between(
                packet.protocol,
                Endpoint(source, packet.source, packet.source_port),
                Endpoint(target, packet.target, packet.target_port),
            )
            if packet.more:
                whole[packet.source, packet.target, packet.identity] = flow
        elif inner and inner.protocol in ("tcp", "udp"):
            # an ICMP error goes back to the host that had sent the packet
            target = table.source(frame.host, inner.target)
            source = table.reached(target, inner.source)
            flow = Flow.between(
                inner.protocol,
                Endpoint(source, inner.source, inner.source_port),
                Endpoint(target, inner.target, inner.target_port),
            )
        flows.append(flow)
    for place, frame in enumerate(frames):
        packet = frame.packet
        if packet.protocol == "fragment":
            flows[place] = whole.get((packet.source, packet.target, packet.identity))
    return flows


def _name_senders(
    calls: Sequence[Call],
    names: list[Flow | None],
    frames: Sequence[Frame],
    ends: Sequence[Flow | None],
) -> None:
    """Name the conversations of sockets whose own end strace never showed, by their frames.

    A refused connect() leaves no trace of its port but the SYN; nor does the only datagram of a
    socket that is never used again.
    """
    nameless = [
        place for place, call in enumerate(calls)
        if names[place] is None and call.peer
        and (call.direction is Direction.OUT or call.name == "connect")
    ]  # fmt: skip
    if not nameless:
        return
    claimed = {flow for flow in names if flow}
    by_target: dict[tuple[str, str, Address], list[tuple[int, Flow]]] = defaultdict(list)
    for frame, flow in zip(frames, ends, strict=True):
        packet = frame.packet
        if flow and packet.protocol in ("tcp", "udp"):
            key = frame.host, packet.protocol, (packet.target, packet.target_port)
            by_target[key].append((frame.at, flow))
    same: dict[tuple[str, int], list[int]] = defaultdict(list)
    for place, call in enumerate(calls):
        if names[place] is None and call.socket >= 0:
            same[call.host, call.socket].append(place)
    for place in nameless:
        call = calls[place]
        if names[place] is not None or call.peer is None:
            continue
        for at, flow in by_target[call.host, call.protocol, call.peer]:
            if flow not in claimed and call.at <= at <= call.latest_end:
                claimed.add(flow)
                for other in same[call.host, call.socket]:
                    if calls[other].protocol == "tcp" or calls[other].peer in (call.peer, None):
                        names[other] = flow
                break


def _name_receivers(
    calls: Sequence[Call],
    names: list[Flow | None],
    frames: Sequence[Frame],
    ends: Sequence[Flow | None],
) -> None:
    """Name the conversations of receives that did not ask for the sender's address."""
    nameless = [
        place for place, call in enumerate(calls)
        if names[place] is None and call.protocol == "udp" and call.local and not call.error
        and call.direction is Direction.IN
    ]  # fmt: skip
    used: set[int] = set()
    for place in sorted(nameless, key=lambda n: calls[n].latest_end):
        call = calls[place]
        for number, frame in enumerate(frames):
            packet = frame.packet
            if (
                frame.host != call.host and packet.protocol == "udp" and number not in used
                and call.local is not None and packet.target_port == call.local[1]
                and frame.arrived is not None and frame.arrived <= call.latest_end
                and call.transferred in (packet.length, call.requested)
            ):  # fmt: skip
                used.add(number)
                names[place] = ends[number]
                break


def _name_failures(calls: Sequence[Call], names: list[Flow | None]) -> None:
    """Give receives that got nothing to the only conversation that their socket has."""
    flows: dict[tuple[str, int], set[Flow]] = defaultdict(set)
    for call, flow in zip(calls, names, strict=True):
        if flow and call.protocol == "udp":
            flows[call.host, call.socket].add(flow)
    for place, call in enumerate(calls):
        if names[place] is None and call.protocol == "udp" and call.direction is Direction.IN:
            found = flows[call.host, call.socket]
            if len(found) == 1:
                names[place] = next(iter(found))


def _orient(
    calls: Sequence[Call],
    names: Sequence[Flow | None],
    frames: Sequence[Frame],
    ends: Sequence[Flow | None],
) -> dict[Flow, Flow]:
    """Return each conversation with its initiator first, by the best evidence and the earliest."""
    best: dict[Flow, tuple[int, int, Endpoint]] = {}

    def weigh(flow: Flow, rank: int, at: int, end: Endpoint) -> None:
        if flow not in best or (rank, at) < best[flow][:2]:
            best[flow] = rank, at, end

    for frame, flow in zip(frames, ends, strict=True):
        if flow is None or frame.forged:
            continue
        packet = frame.packet
        opens = packet.protocol == "udp" or (
            packet.protocol == "tcp" and packet.flags & SYN and not packet.flags & ACK
        )
        weigh(flow, 0 if opens else 2, frame.at, flow.end_of(frame.host))
    for call, flow in zip(calls, names, strict=True):
        if flow is None:
            continue
        if call.name == "accept":
            weigh(flow, 1, call.at, flow.peer_of(call.host))
        else:
            began = call.name == "connect" or (
                flow.protocol == "udp" and call.direction is Direction.OUT
            )
            weigh(flow, 1 if began else 3, call.at, flow.end_of(call.host))
    oriented = {}
    for flow, (_, _, end) in best.items():
        other = flow.responder if end == flow.initiator else flow.initiator
        oriented[flow] = Flow(flow.protocol, end, other)
    return oriented
