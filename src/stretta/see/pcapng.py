"""Frames as a pcapng file: the hosts' interfaces, a comment on each frame.

Source: draft-ietf-opsawg-pcapng.
A frame that was lost is on its sender's interface and not on the receiver's.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

from stretta.see.events import Call, Fault, Frame, Link, LinkKind
from stretta.see.timeline import Timeline

__all__ = ["to_pcapng"]

ETHERNET = 1
SECTION, INTERFACE, PACKET = 0x0A0D0D0A, 1, 6
COMMENT, IF_NAME, IF_DESCRIPTION, IF_RESOLUTION, EPB_FLAGS, HARDWARE, APPLICATION = (
    1, 2, 3, 9, 2, 2, 4,
)  # fmt: skip
INBOUND, OUTBOUND = 1, 2

LONGEST = 60_000
"""Bytes of an option: its length has 16 bits."""


def to_pcapng(
    timeline: Timeline,
    frames: Mapping[int, bytes],
    changed: Mapping[tuple[int, int], bytes] | None = None,
) -> bytes:
    """Return a pcapng file of a timeline; ``frames`` are the bytes of each frame by its id.

    ``changed`` are the bytes of the nth arrival of a frame, where the wire damaged it.
    """
    changed = changed or {}
    callers = {
        link.target: link
        for link in timeline.links if link.kind in (LinkKind.CARRIED, LinkKind.SENT)
    }  # fmt: skip
    faults = {e.frame: e for e in timeline.events if isinstance(e, Fault)}
    interfaces = Interfaces(timeline)
    packets: list[tuple[int, int, bytes]] = []
    for frame in (e for e in timeline.events if isinstance(e, Frame)):
        body = frames.get(frame.id)
        if body is None:
            continue
        comment = _comment(timeline, frame, callers.get(frame.id), faults.get(frame.id))
        here = interfaces.of(frame.host, frame.packet.source)
        if not frame.forged and here is not None:
            block = _packet(timeline, here, frame.at, body, comment, OUTBOUND)
            packets.append((frame.at, here, block))
        for number, arrival in enumerate(frame.arrivals):
            there = interfaces.of(arrival.host or frame.to, frame.packet.target)
            if there is None:
                continue
            data = changed.get((frame.id, number), body)
            more = f"{comment}\ndamaged on the wire" if arrival.corrupted else comment
            block = _packet(timeline, there, arrival.at, data, more, INBOUND)
            packets.append((arrival.at, there, block))
    packets.sort(key=lambda packet: packet[0])
    return b"".join([_section(), *interfaces.blocks(), *(block for _, _, block in packets)])


class Interfaces:
    """The numbers of the hosts' interfaces in the file, in the order of the hosts."""

    def __init__(self, timeline: Timeline) -> None:
        self._names: list[tuple[str, str]] = []
        self._first: dict[str, int] = {}
        self._by_address: dict[tuple[str, str], int] = {}
        for host in timeline.hosts:
            self._first[host.name] = len(self._names)
            several = len(host.interfaces) > 1
            for each in host.interfaces:
                for address in each.addresses:
                    self._by_address[host.name, address] = len(self._names)
                name = f"{host.name}.{each.name}" if several else host.name
                self._names.append((name, f"{each.name} of the lab's {host.name}"))
            if not host.interfaces:
                self._names.append((host.name, f"the lab's {host.name}"))

    def of(self, host: str, address: str) -> int | None:
        """Return the number of the interface of a host that has an address, or of its first."""
        return self._by_address.get((host, address), self._first.get(host))

    def blocks(self) -> Iterator[bytes]:
        """Return the blocks that describe the interfaces."""
        for name, description in self._names:
            options = _text(IF_NAME, name) + _text(IF_DESCRIPTION, description)
            options += _option(IF_RESOLUTION, b"\x09") + _option(0, b"")
            yield _block(INTERFACE, struct.pack("<HHI", ETHERNET, 0, 0) + options)


def _comment(timeline: Timeline, frame: Frame, link: Link | None, fault: Fault | None) -> str:
    lines = []
    source = timeline.events[link.source] if link else None
    if isinstance(source, Call):
        lines.append(f"{frame.host}: {source.display} (event {source.id})")
    if frame.retransmission_of is not None:
        lines.append(f"retransmission of event {frame.retransmission_of}")
    if frame.forged:
        lines.append("forged by the wire")
    if fault:
        lines.append(f"{fault.effect} by {fault.option}")
    return "\n".join(lines or [f"{frame.host}'s kernel"])


def _section() -> bytes:
    options = _option(HARDWARE, b"Stretta lab") + _option(APPLICATION, b"stretta") + _option(0, b"")
    return _block(SECTION, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1) + options)


def _packet(
    timeline: Timeline, interface: int, at: int, data: bytes, comment: str, direction: int
) -> bytes:
    time = max(0, timeline.start + at)
    head = struct.pack("<IIIII", interface, time >> 32, time & 0xFFFFFFFF, len(data), len(data))
    options = _text(COMMENT, comment) + _option(EPB_FLAGS, struct.pack("<I", direction))
    return _block(PACKET, head + data + b"\0" * (-len(data) % 4) + options + _option(0, b""))


def _text(code: int, text: str) -> bytes:
    """Return an option that is text: valid UTF-8, whatever the text holds."""
    encoded = text.encode("utf-8", "backslashreplace")[:LONGEST]
    return _option(code, encoded.decode("utf-8", "ignore").encode())


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + value + b"\0" * (-len(value) % 4)


def _block(kind: int, body: bytes) -> bytes:
    size = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + size + body + size
