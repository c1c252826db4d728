"""The columns of a terminal's picture: a lane for each host's program and kernel, wires between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stretta.see.events import Frame
from stretta.see.hosts import Host, Role
from stretta.see.render.canvas import Row
from stretta.see.render.labels import safe

__all__ = ["TIME", "Lane", "Lanes", "Span"]

TIME = 9
"""Columns of the time."""

NARROWEST = 10
"""Columns that a lane and a wire have at least; many hosts make the picture wider than asked."""


@dataclass(frozen=True, slots=True)
class Lane:
    """The columns of one host: its words from ``start``; its kernel's borders, where a wire is.

    The first host's kernel is at its right border, the last host's at its left.
    """

    host: Host
    place: int
    start: int
    width: int
    left: int | None
    right: int | None

    @property
    def text_start(self) -> int:
        """Where words begin: a border needs a space after it."""
        return self.start + (self.left is not None)

    @property
    def room(self) -> int:
        """Columns that words have."""
        return self.width - (self.left is not None)


@dataclass(frozen=True, slots=True)
class Span:
    """The columns that a frame crosses, between the borders of two hosts."""

    first: int
    size: int
    rightward: bool

    def place(self, distance: int) -> int:
        """Return the column at a distance from the frame's sender."""
        return self.first + distance if self.rightward else self.first + self.size - 1 - distance

    def write_from_sender(self, row: Row, text: str, colour: str) -> None:
        """Write words next to the kernel that a frame leaves."""
        row.write(
            self.first if self.rightward else self.first + self.size - len(text), text, colour
        )


class Lanes:
    """The lanes of some hosts in a picture ``width`` columns wide, from left to right."""

    def __init__(self, hosts: Sequence[Host], width: int) -> None:
        count, wires = len(hosts), max(1, len(hosts) - 1)
        wire = max(20, min(44, (width - TIME) * 3 // 10))
        if wires > 1:
            wire = max(NARROWEST, min(30, (width - TIME) * 4 // 10 // wires))
        self.lane = max(NARROWEST, (width - TIME - wires * (wire + 2)) // max(2, count))
        if wires == 1:
            wire = max(wire, width - TIME - 2 * self.lane - 2)
        self.wire = wire
        self.width = TIME + max(2, count) * self.lane + wires * (wire + 2)
        self.traced = any(host.role is Role.OUTSIDE for host in hosts)
        self.wires: list[int] = []
        self.by_host: dict[str, Lane] = {}
        start = TIME
        for place, host in enumerate(hosts):
            last = place == count - 1 and count > 1
            left = start - 1 if place else None
            right = None if last else start + self.lane
            self.by_host[host.name] = Lane(host, place, start, self.lane, left, right)
            if right is not None:
                self.wires.append(right + 1)
                start = right + 1 + wire + 1
        self.ordered = list(self.by_host.values())

    @property
    def borders(self) -> list[int]:
        """The columns of all borders between kernels and wires."""
        return [at for wire in self.wires for at in (wire - 1, wire + self.wire)]

    def span(self, frame: Frame, copy: int = 0) -> Span:
        """Return the columns that a copy of a frame crosses; to an unknown host, one wire."""
        arrived = frame.arrivals[copy].host if frame.arrivals else ""
        here, there = self.by_host[frame.host], self.by_host.get(arrived or frame.to)
        if there is None or there is here:
            wire = here.place if here.right is not None else here.place - 1
            return Span(self.wires[wire], self.wire, rightward=here.right is not None)
        one, two = min(here.place, there.place), max(here.place, there.place)
        first = self.wires[one]
        end = self.wires[two - 1] + self.wire
        return Span(first, end - first, rightward=there is not here and here.place < there.place)

    def _program(self, lane: Lane, *, outside: bool) -> str:
        """Return the words over a host's program: fewer where there is no room."""
        if outside or self.traced:
            return "" if outside else "program"
        name = safe(lane.host.name)
        words = f"{name} program"
        return words if len(words) < lane.width else name[: lane.width]

    def heading(self) -> Row:
        """Return the row that names the lanes."""
        row = Row(self.width)
        row.write(0, "time (s)", "dim")
        for lane in self.ordered:
            outside = lane.host.role is Role.OUTSIDE
            kernel = "peer" if outside else "kernel"
            program = self._program(lane, outside=outside)
            if len(program) + len(kernel) >= lane.width:
                kernel = ""
            end = lane.start + lane.width
            if lane.left is None:
                row.write(lane.start, program, "bold")
                row.write(end - len(kernel), kernel, "bold")
            else:
                row.write(lane.start, kernel, "bold")
                row.write(end - len(program), program, "bold")
        for wire in self.wires:
            row.write(wire, ("network" if self.traced else "wire").center(self.wire), "dim")
        return row
