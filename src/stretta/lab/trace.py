"""Traces a program on this machine's own network: its calls, and its segments where allowed.

Segments need a packet socket (CAP_NET_RAW); without one only calls are recorded.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from dataclasses import replace

from stretta.lab.commands import check_executable
from stretta.lab.memory_file import memory_file, read_memory_file
from stretta.lab.packet_capture import PacketCapture
from stretta.lab.strace import strace_command
from stretta.lab.unavailable import os_error
from stretta.see.events import Arrival, Call, Event, Frame
from stretta.see.explain import explained
from stretta.see.hosts import Host, Interface, Role
from stretta.see.packets import Packet, decode
from stretta.see.strace_events import read_strace
from stretta.see.timeline import Timeline, build

__all__ = ["trace"]

SHOWN = 256
"""Bytes of each payload that a timeline keeps."""

SETTLE = 0.1
"""Seconds that the capture goes on after the program's end, for the reply to its last FIN."""


def trace(argv: list[str]) -> tuple[Timeline, int]:
    """Run a program, and return the timeline of its conversations and its exit status.

    ``about["segments"]`` says whether segments were recorded. Raises StraceMissing, LabUnavailable,
    and StrettaError when the program cannot start.
    """
    check_executable(argv[0])
    with contextlib.ExitStack() as stack:
        log = memory_file(stack, "calls")
        command = strace_command(argv, f"/proc/self/fd/{log}")
        capture = PacketCapture()
        stack.callback(capture.close)
        start = time.time_ns()
        # Ctrl-C is for the program, which gets it too
        stack.callback(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, lambda *_: None))
        try:
            process = subprocess.Popen(  # noqa: S603 - what the user asked for
                command, pass_fds=[log], env={**os.environ, "UV_USE_IO_URING": "0"}
            )
        except OSError as error:
            raise os_error("strace", error, what="the program could not start") from error
        while process.poll() is None:
            capture.wait(0.02)
        capture.wait(SETTLE)
        seen, missed = capture.allowed, capture.close()
        text = read_memory_file(log).decode("latin-1")
    local = Host("local", Role.LOCAL, (Interface("any", _own_addresses()),))
    hosts = local, Host("remote", Role.OUTSIDE)
    calls = read_strace(text, local, hosts, start, loopback=True)
    events: list[Event] = [*calls.calls, *calls.processes]
    events += _own_frames(capture.frames, calls.calls, start, hosts)
    about: dict[str, object] = {
        "trace": True,
        "segments": seen,
        "missed": missed,
        "commands": {local.name: " ".join(argv)},
    }
    timeline = build(events, hosts, start=start, about=about)
    return explained(timeline) if seen else timeline, process.returncode


def _own_addresses() -> tuple[str, ...]:
    """Return the addresses of this machine that it uses towards others; nothing is sent."""
    found = []
    for family, somewhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as sock:
                sock.connect((somewhere, 9))
                found.append(sock.getsockname()[0])
        except OSError:
            continue
    return tuple(found)


def _own_frames(
    frames: list[tuple[int, bytes]], calls: list[Call], start: int, hosts: tuple[Host, Host]
) -> list[Frame]:
    """Return the frames of the program's conversations; each is recorded in one place only."""
    local, remote = hosts
    flows = set()
    for flow in (c.flow for c in calls if c.flow):
        own, peer = flow.end_of(local.name), flow.peer_of(local.name)
        flows.add((flow.protocol, (own.address, own.port), (peer.address, peer.port)))
    # strace never shows the local port of a refused socket
    asked = {(c.protocol, c.peer) for c in calls if c.peer and c.flow is None}
    kept: list[Frame] = []
    for at, data in frames:
        packet = decode(data)
        if at < start:
            continue
        carried = packet.inner or packet
        here, there = (carried.source, carried.source_port), (carried.target, carried.target_port)
        kind = carried.protocol
        leaves = (kind, here, there) in flows or (kind, there) in asked
        comes = (kind, there, here) in flows or (kind, here) in asked
        if not leaves and not comes:
            continue
        sent = leaves != (packet.inner is not None)
        sender, receiver = (local, remote) if sent else (remote, local)
        shown: Packet = replace(packet, payload=packet.payload[:SHOWN])
        kept.append(
            Frame(
                len(kept),
                at - start,
                sender.name,
                to=receiver.name,
                packet=shown,
                arrivals=(Arrival(at - start),),
            )
        )
    return kept
