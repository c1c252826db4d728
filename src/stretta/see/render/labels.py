"""The words of a picture: on a frame's arrow, at a call's return, in a fold. Each is one safe line.

Whatever a peer, a program or a file has put in is escaped here (``safe``), whichever renderer it
is for.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto

from stretta.escape import escape
from stretta.see.events import Call, Frame, Process
from stretta.see.explain.wording import duration
from stretta.see.hosts import Host
from stretta.see.packets import ACK, FIN, FLAGS, PSH, RST, SYN, describe_payload
from stretta.see.render.layout import Fold

__all__ = ["FoldPart", "fold_parts", "frame_label", "outcome", "process_end", "safe"]

LONG_NAME = 12
"""Characters of a label from which on "again" comes before it, as its end may be cut off."""

SPACES = str.maketrans("\n\t", "  ")


def safe(text: str) -> str:
    """Return text in one line, with what would move a cursor or hide other text spelled out."""
    whole = text.encode("utf-8", "backslashreplace").decode()  # halves of surrogate pairs
    return escape(whole).translate(SPACES)


def frame_label(frame: Frame) -> str:
    """Return the few words that stand on a frame's arrow."""
    packet = frame.packet
    if packet.protocol == "tcp":
        return safe(_segment(frame))
    if packet.protocol == "udp":
        more = ", fragment" if packet.more else ""
        return f"{packet.length:,} byte{'s' * (packet.length != 1)}{more}"
    if packet.protocol == "fragment":
        return "fragment" if packet.more else "last fragment"
    if packet.protocol in ("icmp", "icmp6"):
        return safe(f"ICMP {packet.words}")
    return safe(f"{packet.protocol.upper()} {packet.words}")


def _segment(frame: Frame) -> str:
    packet = frame.packet
    flags, size = packet.flags, packet.length
    closed = bool(packet.window == 0 and flags & ACK and not flags & (SYN | RST))
    words = [name for bit, name in FLAGS if flags & bit and bit not in (ACK, PSH, RST)]
    acknowledges = bool(flags & ACK and flags & (SYN | FIN))
    if flags & FIN and size:
        acknowledges = False
    if acknowledges and not closed:
        words.insert(1, "ACK")
    if size:
        words.append(describe_payload(packet.payload) or f"{size:,} byte{'s' * (size != 1)}")
    if not words and not closed:
        words.append(f"ACK {frame.ack - 1:,}" if frame.ack > 1 else "ACK")
    if flags & RST:
        words = ["RST"]
    if frame.forged:
        words.append("(forged)")
    if frame.retransmission_of is not None:
        words.insert(len(words) if len(" ".join(words)) < LONG_NAME else 0, "again")
    if closed:
        words.append("ACK, window 0")
    return " ".join(words)


def outcome(call: Call) -> str:
    """Return what a call returned."""
    if call.result is None:
        return ""
    return f"= -1 {safe(call.error)}" if call.error else f"= {call.result}"


def process_end(process: Process) -> str:
    """Return how a program ended."""
    status = process.status or 0
    how = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
    return f"{safe(process.program) or 'program'}: {how}"


class FoldPart(Enum):
    """What a part of a fold's words is about, in the order in which parts can be left out."""

    ACKS = auto()
    CALLS = auto()
    DATA = auto()
    DURATION = auto()


def fold_parts(fold: Fold, hosts: Sequence[Host]) -> list[tuple[FoldPart, str]]:
    """Return the words for a fold, part by part; the first one names the conversations."""
    places = {host.name: place for place, host in enumerate(hosts)}
    parts: list[tuple[FoldPart, str]] = []
    for run in fold.runs:
        arrow = "→" if places.get(run.to, len(places)) > places.get(run.host, 0) else "←"
        if len(hosts) > 2:
            ends = [safe(run.host), safe(run.to)]
            arrow = f" {arrow} ".join(ends if arrow == "→" else reversed(ends))
        if run.data:
            parts.append((FoldPart.DATA, f"{run.data:,} × data {arrow} ({run.size:,} B)"))
        if run.acks:
            parts.append((FoldPart.ACKS, f"{run.acks:,} × ACK {arrow}"))
    if fold.calls:
        parts.append((FoldPart.CALLS, f"{fold.calls:,} call{'s' * (fold.calls > 1)}"))
    parts.append((FoldPart.DURATION, duration(fold.duration)))
    if fold.names:
        kind, words = parts[0]
        parts[0] = kind, f"{' '.join(fold.names)}: {words}"
    return parts
