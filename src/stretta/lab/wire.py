"""The wire: carries frames between the two ends of a lab, and writes down each one's fate."""

from __future__ import annotations

import struct
import time
from typing import IO, Protocol

from stretta.lab.faults import Faults, Mark

__all__ = ["ARRIVED", "FORGED", "LEFT", "MARKED", "RECORD", "End", "Wire"]

RECORD = struct.Struct("<BBIQI")
"""The head of what the wire writes: what, direction, frame's number, time (ns), bytes after it."""

LEFT, ARRIVED, MARKED, FORGED = range(4)
"""A frame left its host; it arrived at the other (bytes follow if they changed); a fault took
hold of it (``kind`` and option follow); the wire itself sent a frame."""

BATCH = 256
"""Frames that are taken from one end before the other end and the programs get their turn."""


class End(Protocol):
    """One end of the wire, as ``Ring`` is."""

    def take(self) -> tuple[int, bytes] | None: ...

    def send(self, frame: bytes) -> bool: ...


class Wire:
    """Two ends, the faults between them, and the log; ``lost`` counts what the lab itself lost."""

    def __init__(self, client: End, server: End, faults: Faults, log: IO[bytes]) -> None:
        self.ends = (client, server)
        self.faults = faults
        self.log = log
        self.number = 0
        self.moved = 0
        self.lost = 0
        self.last_frame = 0
        self._plain = faults.idle

    def pump(self) -> bool:
        """Carry what has come and what is due; return whether there may be more at once."""
        more = False
        records: list[bytes] = []
        for direction in (0, 1):
            take, send = self.ends[direction].take, self.ends[1 - direction].send
            for _ in range(BATCH):
                taken = take()
                if taken is None:
                    break
                at, frame = taken
                self.last_frame = at
                number = self.number
                self.number += 1
                records += RECORD.pack(LEFT, direction, number, at, len(frame)), frame
                if self._plain:
                    now = max(time.time_ns(), at)
                    if send(frame):
                        records.append(RECORD.pack(ARRIVED, direction, number, now, 0))
                    else:
                        self.lost += 1
                else:
                    self.faults.offer(direction, number, frame, max(time.time_ns(), at))
            else:
                more = True
        if not self._plain:
            self._deliver(records)
        if records:
            self.log.write(b"".join(records))
        return more

    def wait(self) -> float | None:
        """Return how many seconds it may sleep before something is due; None is for ever."""
        due = None if self._plain else self.faults.next_due()
        return None if due is None else max(0.0, (due - time.time_ns()) / 1e9)

    def _deliver(self, records: list[bytes]) -> None:
        faults = self.faults
        records += map(_marked, faults.marks)
        faults.marks.clear()
        for delivery in faults.take(time.time_ns()):
            number, direction, frame = delivery.number, delivery.direction, delivery.frame
            now = max(time.time_ns(), delivery.due)
            if number < 0:
                number = self.number
                self.number += 1
                records += RECORD.pack(FORGED, direction, number, now, len(frame)), frame
            changed = frame if delivery.changed else b""
            if self.ends[1 - direction].send(frame):
                records.append(RECORD.pack(ARRIVED, direction, number, now, len(changed)))
                records.append(changed)
            else:
                self.lost += 1
        records += map(_marked, faults.marks)  # a queue may have been found full
        faults.marks.clear()


def _marked(mark: Mark) -> bytes:
    words = f"{mark.kind}\t{mark.by}".encode()
    return RECORD.pack(MARKED, 0, mark.number, 0, len(words)) + words
