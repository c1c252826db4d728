"""Frames as a pcapng file: one interface a host, a comment on each (draft-ietf-opsawg-pcapng).

A frame that was lost is on its sender's interface and not on the other's.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from stretta.see.events import Call, Fault, Frame
from stretta.see.timeline import Timeline

__all__ = ["to_pcapng"]

ETHERNET = 1
SECTION, INTERFACE, NAMES, PACKET = 0x0A0D0D0A, 1, 4, 6
COMMENT, IF_NAME, IF_DESCRIPTION, IF_RESOLUTION, EPB_FLAGS, HARDWARE, APPLICATION = (
    1, 2, 3, 9, 2, 2, 4,
)  # fmt: skip
INBOUND, OUTBOUND = 1, 2
INTERFACES = ("client", "server")


def to_pcapng(
    timeline: Timeline,
    frames: Mapping[int, bytes],
    changed: Mapping[tuple[int, int], bytes] | None = None,
) -> bytes:
    """Return a pcapng file of a timeline; ``frames`` are the bytes of each frame by its id.

    ``changed`` are the bytes of the nth arrival of a frame, where the wire damaged it.
    """
    changed = changed or {}
    callers = {link.target: link for link in timeline.links if link.kind in ("carried", "sent")}
    faults = {e.frame: e for e in timeline.events if isinstance(e, Fault)}
    blocks = [_section()]
    for name in INTERFACES:
        options = _option(IF_NAME, name.encode()) + _option(
            IF_DESCRIPTION, f"eth0 of the lab's {name}".encode()
        )
        options += _option(IF_RESOLUTION, b"\x09") + _option(0, b"")
        blocks.append(_block(INTERFACE, struct.pack("<HHI", ETHERNET, 0, 0) + options))
    packets: list[tuple[int, int, bytes]] = []
    for frame in (e for e in timeline.events if isinstance(e, Frame)):
        body = frames.get(frame.id)
        if body is None:
            continue
        comment = _comment(timeline, frame, callers.get(frame.id), faults.get(frame.id))
        here = INTERFACES.index(frame.host)
        if not frame.forged:
            packets.append(
                (frame.at, here, _packet(timeline, here, frame.at, body, comment, OUTBOUND))
            )
        for number, arrival in enumerate(frame.arrivals):
            data = changed.get((frame.id, number), body)
            more = f"{comment}\ndamaged on the wire" if arrival.corrupted else comment
            packets.append(
                (arrival.at, 1 - here, _packet(timeline, 1 - here, arrival.at, data, more, INBOUND))
            )
    packets.sort(key=lambda packet: packet[0])
    return b"".join(blocks + [block for _, _, block in packets])


def _comment(timeline: Timeline, frame: Frame, link: object, fault: Fault | None) -> str:
    lines = []
    source = getattr(link, "source", None)
    if source is not None:
        event = timeline.events[source]
        if isinstance(event, Call):
            lines.append(f"{frame.host}: {event.display} (event {event.id})")
    if frame.retransmission_of is not None:
        lines.append(f"retransmission of event {frame.retransmission_of}")
    if frame.forged:
        lines.append("forged by the wire")
    if fault:
        lines.append(f"{fault.effect} by {fault.by}")
    if not lines:
        lines.append(f"{frame.host}'s kernel")
    return "\n".join(lines)


def _section() -> bytes:
    options = _option(HARDWARE, b"Stretta lab") + _option(APPLICATION, b"stretta") + _option(0, b"")
    return _block(SECTION, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1) + options)


def _packet(
    timeline: Timeline, interface: int, at: int, data: bytes, comment: str, way: int
) -> bytes:
    time = timeline.start + at
    head = struct.pack("<IIIII", interface, time >> 32, time & 0xFFFFFFFF, len(data), len(data))
    options = _option(COMMENT, comment.encode()) + _option(EPB_FLAGS, struct.pack("<I", way))
    return _block(PACKET, head + data + b"\0" * (-len(data) % 4) + options + _option(0, b""))


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + value + b"\0" * (-len(value) % 4)


def _block(kind: int, body: bytes) -> bytes:
    size = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + size + body + size
