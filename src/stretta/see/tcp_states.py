"""The states that both ends of a TCP connection went through, inferred (RFC 9293 section 3.3.2).

A kernel does not tell its states; what left and what arrived, and when, decides them.
"""

from __future__ import annotations

from stretta.see.correlate.tcp import Side, TcpConversation, other
from stretta.see.events import Call, Frame, State
from stretta.see.packets import ACK, FIN, RST, SYN

__all__ = ["infer_states"]

SENT = {
    ("CLOSED", "syn"): "SYN_SENT",
    ("LISTEN", "syn-ack"): "SYN_RECEIVED",
    ("SYN_SENT", "syn-ack"): "SYN_RECEIVED",  # both opened at once
    ("SYN_RECEIVED", "fin"): "FIN_WAIT_1",
    ("ESTABLISHED", "fin"): "FIN_WAIT_1",
    ("CLOSE_WAIT", "fin"): "LAST_ACK",
}
ARRIVED = {
    ("SYN_SENT", "syn-ack"): "ESTABLISHED",
    ("SYN_RECEIVED", "ack"): "ESTABLISHED",
    ("SYN_RECEIVED", "fin"): "CLOSE_WAIT",
    ("ESTABLISHED", "fin"): "CLOSE_WAIT",
    ("FIN_WAIT_1", "fin"): "CLOSING",
    ("FIN_WAIT_1", "fin-acked"): "FIN_WAIT_2",
    ("FIN_WAIT_2", "fin"): "TIME_WAIT",
    ("CLOSING", "fin-acked"): "TIME_WAIT",
    ("LAST_ACK", "fin-acked"): "CLOSED",
}


def infer_states(conversation: TcpConversation) -> list[State]:
    """Return the changes of state of both ends, in order; the responder begins in LISTEN."""
    changes: list[State] = []
    for side in (conversation.client, conversation.server):
        changes += _of(conversation, side)
    changes.sort(key=lambda s: (s.at, s.cause))
    return changes


def _of(conversation: TcpConversation, side: Side) -> list[State]:
    peer = conversation.side(other(side.host))
    if not side.frames and not peer.frames:
        return []
    opened = conversation.initiator == side.host
    steps: list[tuple[int, int, str, Frame | Call]] = [(f.at, 1, "out", f) for f in side.frames]
    steps += [(f.arrived, 0, "in", f) for f in peer.frames if f.arrived is not None]
    listens = any(f.packet.flags & SYN for f in side.frames)
    state = "CLOSED" if opened or not listens else "LISTEN"
    fin_end = next((f.seq + f.packet.span for f in side.fins), None)
    changes: list[State] = []
    for at, _, way, frame in sorted(steps, key=lambda m: (m[0], m[1], m[3].id)):
        assert isinstance(frame, Frame)  # noqa: S101 - for the type checker
        for word in _words(frame, way, fin_end):
            if word == "rst":
                after = "CLOSED" if state != "LISTEN" else state
            else:
                after = (SENT if way == "out" else ARRIVED).get((state, word), state)
            if after != state:
                changes.append(
                    State(
                        -1,
                        at,
                        side.host,
                        flow=conversation.flow,
                        before=state,
                        state=after,
                        cause=frame.id,
                    )
                )
                state = after
    return changes


def _words(frame: Frame, way: str, fin_end: int | None) -> list[str]:
    """Return what a segment means for the state, in the order in which it is looked at."""
    flags = frame.packet.flags
    if flags & RST:
        return ["rst"] if not frame.forged or way == "in" else []
    if flags & SYN:
        return ["syn-ack" if flags & ACK else "syn"]
    words = []
    if way == "in" and flags & ACK:
        words.append("ack")
        if fin_end is not None and frame.ack >= fin_end:
            words.append("fin-acked")
    if flags & FIN:
        words.append("fin")
    return words
