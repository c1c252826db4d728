"""The same eyes on a program on this machine's own network: its calls, and what else may be seen.

Segments need the right to open a packet socket (CAP_NET_RAW); without it, calls alone are seen.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import socket
import struct
import subprocess
import tempfile
import time
from dataclasses import replace

from stretta.errors import StrettaError
from stretta.lab.controller import FIRST_DESCRIPTOR
from stretta.lab.strace import strace_command
from stretta.see.events import Arrival, Call, Event, Frame
from stretta.see.explain import explain
from stretta.see.packets import Packet, decode
from stretta.see.strace_events import read_strace
from stretta.see.timeline import Timeline, build

__all__ = ["trace"]

ETH_P_ALL = 3
SOL_PACKET = 263
PACKET_STATISTICS = 6
SO_RCVBUFFORCE = 33
SO_TIMESTAMPNS = 35
BUFFER = 64 * 1024 * 1024
PACKET_OUTGOING = 4
SHOWN = 256
SETTLE = 0.1
"""Seconds that are listened on for when the program has ended: its last FIN may be answered."""


class PacketSniffer:
    """A packet socket on every interface, if this user may have one (packet(7))."""

    def __init__(self) -> None:
        self.frames: list[tuple[int, bytes]] = []
        self.socket: socket.socket | None = None
        try:
            # without link headers, which differ from interface to interface
            self.socket = socket.socket(
                socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL)
            )
        except (PermissionError, AttributeError):
            return
        self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        for option in (SO_RCVBUFFORCE, socket.SO_RCVBUF):  # the first past the system's limit
            with contextlib.suppress(PermissionError):
                self.socket.setsockopt(socket.SOL_SOCKET, option, BUFFER)
                break
        self.socket.setblocking(False)

    def listen(self, seconds: float) -> None:
        """Take what comes for so long."""
        if self.socket is None:
            time.sleep(seconds)
            return
        if not select.select([self.socket], [], [], seconds)[0]:
            return
        while True:
            try:
                data, ancillary, _, address = self.socket.recvmsg(65536, 64)
            except BlockingIOError:
                return
            interface, protocol, kind = address[:3]
            if kind == PACKET_OUTGOING and interface == "lo":
                continue  # it comes a second time, as received
            at = time.time_ns()
            for _, number, value in ancillary:
                if number == SO_TIMESTAMPNS and len(value) == 16:
                    seconds_, nanoseconds = struct.unpack("qq", value)
                    at = seconds_ * 1_000_000_000 + nanoseconds
            ethernet = bytes(12) + int(protocol).to_bytes(2, "big")
            self.frames.append((at, ethernet + data))

    def close(self) -> int:
        """Close the socket, and return how many packets of anybody it had no room for."""
        if self.socket is None:
            return 0
        with self.socket as sock:
            counts = sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
        return int(struct.unpack("II", counts)[1])


def trace(argv: list[str]) -> tuple[Timeline, int]:
    """Run a program, and return the timeline of its conversations and its exit status.

    ``about["segments"]`` says whether segments could be seen. Raises StraceMissing, and
    StrettaError when the program cannot start.
    """
    sniffer = PacketSniffer()
    with tempfile.TemporaryFile() as log:
        number = fcntl.fcntl(log.fileno(), fcntl.F_DUPFD, FIRST_DESCRIPTOR)
        start = time.time_ns()
        before = signal.signal(signal.SIGINT, lambda *_: None)  # the program's own affair
        try:
            process = subprocess.Popen(  # noqa: S603 - what the user asked for
                strace_command(argv, f"/proc/self/fd/{number}"),
                pass_fds=[number],
                env={**os.environ, "UV_USE_IO_URING": "0"},
            )
            while process.poll() is None:
                sniffer.listen(0.02)
        except OSError as error:
            raise StrettaError("the program could not start", str(error)) from error
        finally:
            signal.signal(signal.SIGINT, before)
            os.close(number)
        sniffer.listen(SETTLE)
        log.seek(0)
        text = log.read().decode("latin-1")
    seen = sniffer.socket is not None
    missed = sniffer.close()
    calls = read_strace(text, "client", _own_addresses(), start, loopback=True)
    events: list[Event] = [*calls.calls, *calls.processes]
    events += _own_frames(sniffer.frames, calls.calls, start)
    about: dict[str, object] = {
        "trace": True,
        "segments": seen,
        "missed": missed,
        "commands": {"client": " ".join(argv)},
    }
    timeline = build(events, start=start, about=about)
    timeline.notes = explain(timeline) if seen else []
    return timeline, process.returncode


def _own_addresses() -> tuple[str, ...]:
    """Return the addresses that this machine would use towards others; nothing is sent."""
    found = []
    for family, somewhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as sock:
                sock.connect((somewhere, 9))
                found.append(sock.getsockname()[0])
        except OSError:
            continue
    return tuple(found)


def _own_frames(frames: list[tuple[int, bytes]], calls: list[Call], start: int) -> list[Frame]:
    """Return the frames of the program's conversations; each is seen at one moment only."""
    flows = {(c.flow.protocol, c.flow.client, c.flow.server) for c in calls if c.flow}
    # a socket that was refused never told its own port
    asked = {(c.protocol, c.peer) for c in calls if c.peer and c.flow is None}
    kept: list[Frame] = []
    for at, data in frames:
        packet = decode(data)
        if at < start:
            continue
        talk = packet.inner or packet
        here, there = (talk.source, talk.source_port), (talk.target, talk.target_port)
        kind = talk.protocol
        leaves = (kind, here, there) in flows or (kind, there) in asked
        comes = (kind, there, here) in flows or (kind, here) in asked
        if not leaves and not comes:
            continue
        host = "client" if leaves != (packet.inner is not None) else "server"
        shown: Packet = replace(packet, payload=packet.payload[:SHOWN])
        kept.append(
            Frame(len(kept), at - start, host, packet=shown, arrivals=[Arrival(at - start)])
        )
    return kept
