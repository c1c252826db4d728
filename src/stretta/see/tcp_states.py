"""The states that both ends of a TCP connection went through, inferred (RFC 9293 section 3.3.2).

A kernel does not report its states; the segments that left and arrived, in order, decide them.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, auto

from stretta.see.correlate.conversation import Side, TcpConversation
from stretta.see.events import Frame, State, TcpState
from stretta.see.packets import ACK, FIN, RST, SYN

__all__ = ["infer_states"]


class Sign(Enum):
    """What a segment means for the state of an end."""

    SYN = auto()
    SYN_ACK = auto()
    ACK = auto()
    FIN = auto()
    FIN_ACKED = auto()
    """It acknowledges the FIN of the end where it arrives."""
    RST = auto()


SENT = {
    (TcpState.CLOSED, Sign.SYN): TcpState.SYN_SENT,
    (TcpState.LISTEN, Sign.SYN_ACK): TcpState.SYN_RECEIVED,
    (TcpState.SYN_SENT, Sign.SYN_ACK): TcpState.SYN_RECEIVED,  # both opened at once
    (TcpState.SYN_RECEIVED, Sign.FIN): TcpState.FIN_WAIT_1,
    (TcpState.ESTABLISHED, Sign.FIN): TcpState.FIN_WAIT_1,
    (TcpState.CLOSE_WAIT, Sign.FIN): TcpState.LAST_ACK,
}
ARRIVED = {
    (TcpState.SYN_SENT, Sign.SYN_ACK): TcpState.ESTABLISHED,
    (TcpState.SYN_RECEIVED, Sign.ACK): TcpState.ESTABLISHED,
    (TcpState.SYN_RECEIVED, Sign.FIN): TcpState.CLOSE_WAIT,
    (TcpState.ESTABLISHED, Sign.FIN): TcpState.CLOSE_WAIT,
    (TcpState.FIN_WAIT_1, Sign.FIN): TcpState.CLOSING,
    (TcpState.FIN_WAIT_1, Sign.FIN_ACKED): TcpState.FIN_WAIT_2,
    (TcpState.FIN_WAIT_2, Sign.FIN): TcpState.TIME_WAIT,
    (TcpState.CLOSING, Sign.FIN_ACKED): TcpState.TIME_WAIT,
    (TcpState.LAST_ACK, Sign.FIN_ACKED): TcpState.CLOSED,
}


def infer_states(conversation: TcpConversation) -> list[State]:
    """Return the changes of state of both ends, in order; the responder begins in LISTEN."""
    changes = [change for side in conversation.sides for change in _of(conversation, side)]
    changes.sort(key=lambda s: (s.at, s.cause))
    return changes


def _of(conversation: TcpConversation, side: Side) -> Iterator[State]:
    """Return the changes of state of one end."""
    peer = conversation.peer(side)
    state = TcpState.CLOSED
    if side is conversation.responder and any(f.packet.flags & SYN for f in side.frames):
        state = TcpState.LISTEN
    fin_end = next((f.seq + f.packet.span for f in side.fins), None)
    # of what happens at one time, arrivals come first
    passages = [(f.at, True, f) for f in side.frames]
    passages += [(f.arrived, False, f) for f in peer.frames if f.arrived is not None]
    for at, left, frame in sorted(passages, key=lambda p: (p[0], p[1], p[2].id)):
        for sign in _signs(frame, fin_end, left=left):
            after = (SENT if left else ARRIVED).get((state, sign), state)
            if sign is Sign.RST and state is not TcpState.LISTEN:
                after = TcpState.CLOSED
            if after is not state:
                yield State(
                    -1,
                    at,
                    side.host,
                    flow=conversation.flow,
                    before=state,
                    state=after,
                    cause=frame.id,
                )
                state = after


def _signs(frame: Frame, fin_end: int | None, *, left: bool) -> list[Sign]:
    """Return what a segment means for the state, in the order in which it is looked at."""
    flags = frame.packet.flags
    if flags & RST:
        return [] if frame.forged and left else [Sign.RST]
    if flags & SYN:
        return [Sign.SYN_ACK if flags & ACK else Sign.SYN]
    signs = []
    if not left and flags & ACK:
        signs.append(Sign.ACK)
        if fin_end is not None and frame.ack >= fin_end:
            signs.append(Sign.FIN_ACKED)
    if flags & FIN:
        signs.append(Sign.FIN)
    return signs
