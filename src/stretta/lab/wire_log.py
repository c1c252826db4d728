"""The wire's log: its format, and its parser. Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace

from stretta.lab.topology import Topology
from stretta.see.events import Arrival, Effect, Fault, Frame
from stretta.see.packets import decode

__all__ = ["FAULT", "FORGED", "RECEIVED", "RECORD", "SENT", "WireLog", "read_wire_log"]

RECORD = struct.Struct("<BBIQI")
"""The head of a log record: type, port, frame's number, time (ns), number of bytes after it."""

SENT, RECEIVED, FAULT, FORGED = range(4)
"""A host sent a frame (bytes follow); a host received it (bytes follow if they changed); a fault
hit it (its kind and option follow); the wire itself sent a frame (bytes follow)."""

SHOWN = 256
"""Bytes of each payload that a timeline keeps."""


@dataclass(slots=True)
class WireLog:
    """The frames and the faults of a log.

    ``bodies`` holds each frame's bytes by its id; ``changed`` the bytes of its nth arrival, if the
    wire changed them.
    """

    frames: list[Frame] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    bodies: dict[int, bytes] = field(default_factory=dict)
    changed: dict[tuple[int, int], bytes] = field(default_factory=dict)


def read_wire_log(log: bytes, start: int, topology: Topology) -> WireLog:
    """Return what a log holds; times become nanoseconds since ``start``."""
    read = WireLog()
    frames: dict[int, Frame] = {}
    arrivals: dict[int, list[Arrival]] = {}
    hosts = [endpoint.host for endpoint in topology.endpoints]
    at = 0
    while at + RECORD.size <= len(log):
        kind, port, number, time, size = RECORD.unpack_from(log, at)
        body = log[at + RECORD.size : at + RECORD.size + size]
        at += RECORD.size + size
        if kind in (SENT, FORGED):
            packet = decode(body)
            if packet.length > SHOWN:
                packet = replace(packet, payload=packet.payload[:SHOWN])
            frames[number] = Frame(
                number, time - start, hosts[port], packet=packet, forged=kind == FORGED
            )
            read.bodies[number] = body
        elif kind == RECEIVED:
            received = arrivals.setdefault(number, [])
            if size:
                read.changed[number, len(received)] = body
            received.append(Arrival(time - start, corrupted=size > 0, host=hosts[port]))
        elif kind == FAULT:
            effect, _, option = body.decode().partition("\t")
            read.faults.append(
                Fault(-1, frames[number].at, "", Effect(effect), option, frame=number)
            )
    read.frames = [_received(frame, arrivals.get(frame.id, [])) for frame in frames.values()]
    return read


def _received(frame: Frame, arrivals: list[Arrival]) -> Frame:
    """Return a frame with its arrivals; the host of the first one is the host it was sent to."""
    to = arrivals[0].host if arrivals else ""
    elsewhere = (replace(a, host="") if a.host == to else a for a in arrivals)
    return replace(frame, to=to, arrivals=tuple(elsewhere))
