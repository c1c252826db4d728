"""The wire: forwards frames between the ports of each link, and logs what happens to each frame."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import IO, Protocol

from stretta.lab.faults import FaultInjector, InjectedFault
from stretta.lab.topology import Topology
from stretta.lab.wire_log import FAULT, FORGED, RECEIVED, RECORD, SENT

__all__ = ["Port", "Wire"]

BATCH = 256
"""Frames that are taken from one port before the other ports and the programs are served."""


class Port(Protocol):
    """One port of the wire, as ``PacketRing`` is."""

    def receive(self) -> tuple[int, bytes] | None:
        """Return the next frame and its time, or None."""

    def send(self, frame: bytes) -> bool:
        """Send a frame; return whether the port took it."""


class Wire:
    """All links of a topology; a link with more than two ports forwards as a switch does.

    ``lost`` counts frames that no port took: the lab's own losses.
    """

    def __init__(
        self, topology: Topology, ports: Sequence[Port], faults: FaultInjector, log: IO[bytes]
    ) -> None:
        self.ports = ports
        self.faults = faults
        self.log = log
        self.number = 0
        self.lost = 0
        self.last_frame = 0
        self._faultless = faults.idle
        self._paths = topology.paths
        # for each port: all paths from it, and those to the owners of MAC addresses
        self._all: list[tuple[int, ...]] = [
            tuple(path for path, (sender, _) in enumerate(self._paths) if sender == port)
            for port in range(len(ports))
        ]
        hardware = [
            bytes.fromhex(topology.interface(endpoint).hardware.replace(":", ""))
            for endpoint in topology.endpoints
        ]
        self._to: list[dict[bytes, tuple[int, ...]]] = [
            {hardware[self._paths[path][1]]: (path,) for path in paths} for paths in self._all
        ]

    def forward(self) -> bool:
        """Forward the frames that have come and those that are due; return whether more wait."""
        more = False
        records: list[bytes] = []
        for port, source in enumerate(self.ports):
            receive, everywhere, to = source.receive, self._all[port], self._to[port]
            one = len(everywhere) == 1
            for _ in range(BATCH):
                taken = receive()
                if taken is None:
                    break
                at, frame = taken
                self.last_frame = at
                number = self.number
                self.number += 1
                records += RECORD.pack(SENT, port, number, at, len(frame)), frame
                for path in everywhere if one else to.get(frame[:6], everywhere):
                    now = max(time.time_ns(), at)
                    if not self._faultless:
                        self.faults.enqueue(path, number, frame, now)
                        continue
                    target = self._paths[path][1]
                    if self.ports[target].send(frame):
                        records.append(RECORD.pack(RECEIVED, target, number, now, 0))
                    else:
                        self.lost += 1
            else:
                more = True
        if not self._faultless:
            self._deliver(records)
        if records:
            self.log.write(b"".join(records))
        return more

    def timeout(self) -> float | None:
        """Return in how many seconds a frame is due, or None if no frame is under way."""
        due = None if self._faultless else self.faults.next_due()
        return None if due is None else max(0.0, (due - time.time_ns()) / 1e9)

    def _deliver(self, records: list[bytes]) -> None:
        """Send the frames that are due, and log them and the faults since the last call."""
        faults = self.faults
        records += map(_fault, faults.injected)
        faults.injected.clear()
        for scheduled in faults.dequeue(time.time_ns()):
            number, frame = scheduled.number, scheduled.frame
            source, target = self._paths[scheduled.path]
            now = max(time.time_ns(), scheduled.due)
            if number < 0:
                number = self.number
                self.number += 1
                records += RECORD.pack(FORGED, source, number, now, len(frame)), frame
            changed = frame if scheduled.changed else b""
            if self.ports[target].send(frame):
                records.append(RECORD.pack(RECEIVED, target, number, now, len(changed)))
                records.append(changed)
            else:
                self.lost += 1
        records += map(_fault, faults.injected)  # releasing held frames can overflow a queue
        faults.injected.clear()


def _fault(fault: InjectedFault) -> bytes:
    text = f"{fault.effect}\t{fault.option}".encode()
    return RECORD.pack(FAULT, 0, fault.number, 0, len(text)) + text
