"""TCP sequence numbers relative to each direction's first, without wrapping (RFC 9293). Pure."""

from __future__ import annotations

from collections.abc import Sequence

from stretta.see.events import Flow, Frame
from stretta.see.packets import ACK, RST, SYN

__all__ = ["relative_numbers", "unwrap"]


def relative_numbers(flow: Flow, frames: Sequence[Frame]) -> dict[int, tuple[int, int]]:
    """Return the relative ``seq`` and ``ack`` of a connection's frames, by the frames' ids.

    The SYN of a direction has 0. Where no SYN was seen, the first segment has 1.
    """
    segments = [f for f in frames if f.packet.protocol == "tcp"]
    sides = {end.host: _of(end.host, segments) for end in (flow.initiator, flow.responder)}
    bases = {
        end.host: base
        for end in (flow.initiator, flow.responder)
        if (base := _base(sides[end.host], sides[flow.peer_of(end.host).host])) is not None
    }
    numbers: dict[int, tuple[int, int]] = {}
    for end in (flow.initiator, flow.responder):
        own, other = bases.get(end.host, 0), bases.get(flow.peer_of(end.host).host, 0)
        at_seq, at_ack = 0, 0
        for frame in sides[end.host]:
            packet, seq, ack = frame.packet, 0, 0
            if packet.seq or not packet.flags & RST:
                seq = at_seq = unwrap(at_seq, packet.seq - own)
            if packet.flags & ACK:
                ack = at_ack = unwrap(at_ack, packet.ack - other)
            numbers[frame.id] = seq, ack
    return numbers


def _of(host: str, segments: Sequence[Frame]) -> list[Frame]:
    return [f for f in segments if f.host == host]


def _base(own: Sequence[Frame], peers: Sequence[Frame]) -> int | None:
    """Return the number that counts as 0: that of SYN, or one before the first byte."""
    syn = next((f for f in own if f.packet.flags & SYN and not f.forged), None)
    if syn:
        return syn.packet.seq
    first = next((f for f in own if not f.packet.flags & RST), None)
    if first:
        return (first.packet.seq - 1) % 2**32
    acked = next((f for f in peers if f.packet.flags & ACK), None)
    return (acked.packet.ack - 1) % 2**32 if acked else None


def unwrap(near: int, number: int) -> int:
    """Return the integer closest to ``near`` that a 32-bit number stands for.

    >>> unwrap(2**32 - 10, 5), unwrap(2**32 + 5, 2**32 - 10)
    (4294967301, 4294967286)
    """
    return near + ((number - near + 2**31) % 2**32) - 2**31
