"""The lifecycle of an accepted connection, as a pure state machine: time limits, drain, linger.

A connection is in one State. Every tick (about a second) the adapter reports what it has observed
since the last one: whether bytes moved, how many bytes of output are queued here and how many the
peer has not acknowledged, and whether a request is being answered. That makes one Activity. The
table RULES has one Rule for each state and activity: the time limit that applies, and the Decision
when it is reached. The clock runs as long as the rule stays the same, and starts again with another
rule or, in the states that serve, with any byte that moves.

    HANDSHAKING --secure--> OPEN --drain--> DRAINING or EXPECTING
                              |                |
                              +----linger------+--> LINGERING        any of them --end--> CLOSED

Two rules are less obvious than they look:

- A peer that reads slowly is not stalled. Its output is stalled only when the bytes that it has
  not acknowledged, in our queue and in the kernel's together, have not become fewer since the last
  tick. A kernel takes more from us only in large steps, so our queue alone does not show progress.
- On the first tick without data the decision is PROBE: the adapter asks the kernel whether the
  connection still exists, because a reset behind data may be reported to nobody.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import NamedTuple

__all__ = ["Action", "Activity", "Cause", "Decision", "Event", "Lifecycle", "State", "TimeLimits"]

LINGER = 2.0
"""Seconds that a refused client gets to read the reason. Closing at once would answer the bytes
that it still sends with a reset, which destroys the reply (RFC 9112 section 9.6)."""


EXPECT = 1.0
"""Seconds that a client of a stopping server gets for its first byte: it may have waited in the
listen queue, and closing would answer its request with a reset."""


class State(IntEnum):
    """The phases of a connection."""

    HANDSHAKING = 0  # the TLS handshake is under way
    OPEN = 1
    DRAINING = 2  # the server stops: the connection closes when it is at rest
    EXPECTING = 3  # the server stops, and the first byte of the client has not come yet
    LINGERING = 4  # our output has ended; input is discarded
    CLOSED = 5


class Event(Enum):
    """The events that change the state."""

    SECURE = "the TLS handshake has succeeded"
    DRAIN = "the server stops"
    DRAIN_NEW = "the server stops, and the client has sent nothing yet"
    LINGER = "our output has ended"
    END = "the connection is closed"


class Activity(IntEnum):
    """The observation of one tick."""

    MOVING = 0  # bytes came, or the kernel took queued output
    SENDING = 1  # output is queued, and the peer acknowledges some
    STALLED = 2  # output is queued, and the peer acknowledges none
    WORKING = 3  # a request is being received or answered
    RESTING = 4


class Action(Enum):
    """The adapter's next step."""

    NOTHING = 0
    PROBE = 1  # ask the kernel whether the connection still exists; abort it if not
    CLOSE = 2  # send the queue, then FIN
    RESET = 3  # send RST
    ABORT = 4  # close the socket at once


class Cause(Enum):
    """The reason for an action."""

    NONE = ""
    IDLE = "idle"
    STALLED = "stalled"
    HANDSHAKE = "handshake"
    DRAIN = "drain"
    LINGER = "linger"


class Decision(NamedTuple):
    """An action and its cause."""

    action: Action
    cause: Cause = Cause.NONE


NOTHING = Decision(Action.NOTHING)
PROBE = Decision(Action.PROBE)


class TimeLimits(NamedTuple):
    """The limits in seconds, in the order of the indexes below."""

    idle: float
    stall: float
    handshake: float = 10.0
    linger: float = LINGER
    drain: float = 0.0  # at rest a draining connection closes at once
    expect: float = EXPECT


@dataclass(frozen=True, slots=True)
class Rule:
    """A limit, as an index into TimeLimits, and the decision when it is reached."""

    limit: int | None = None
    decision: Decision = NOTHING


FREE = Rule()
STALL = Rule(1, Decision(Action.RESET, Cause.STALLED))
IDLE = Rule(0, Decision(Action.CLOSE, Cause.IDLE))
HANDSHAKE = Rule(2, Decision(Action.ABORT, Cause.HANDSHAKE))
LINGERING = Rule(3, Decision(Action.ABORT, Cause.LINGER))
DRAIN = Rule(4, Decision(Action.CLOSE, Cause.DRAIN))
EXPECTING = Rule(5, Decision(Action.CLOSE, Cause.DRAIN))

RULES: tuple[tuple[Rule, ...], ...] = (
    # MOVING,   SENDING,   STALLED,   WORKING,   RESTING
    (HANDSHAKE, HANDSHAKE, HANDSHAKE, HANDSHAKE, HANDSHAKE),
    (FREE, FREE, STALL, FREE, IDLE),
    (FREE, FREE, STALL, FREE, DRAIN),
    (FREE, FREE, STALL, FREE, EXPECTING),
    (LINGERING, FREE, STALL, LINGERING, LINGERING),
    (FREE, FREE, FREE, FREE, FREE),
)
"""By State, then by Activity."""

TRANSITIONS = {
    (State.HANDSHAKING, Event.SECURE): State.OPEN,
    (State.HANDSHAKING, Event.DRAIN): State.DRAINING,
    (State.OPEN, Event.DRAIN): State.DRAINING,
    (State.HANDSHAKING, Event.DRAIN_NEW): State.EXPECTING,
    (State.OPEN, Event.DRAIN_NEW): State.EXPECTING,
    (State.OPEN, Event.LINGER): State.LINGERING,
    (State.EXPECTING, Event.LINGER): State.LINGERING,
    (State.DRAINING, Event.LINGER): State.LINGERING,
    **{(state, Event.END): State.CLOSED for state in State},
}
"""Events that are not listed for a state change nothing in it."""


class Lifecycle:
    """One connection's state, activity and clock.

    ``clock`` is the time in seconds since the present rule began to apply, or since bytes last
    moved, to a tick's precision.
    """

    __slots__ = ("_backlog", "activity", "clock", "state")

    def __init__(self, state: State = State.OPEN) -> None:
        self.state = state
        self.activity = Activity.MOVING
        self.clock = 0.0
        self._backlog = 0  # unacknowledged bytes at the last tick

    def change(self, event: Event) -> None:
        """Follow an event into the next state."""
        state = TRANSITIONS.get((self.state, event), self.state)
        if state is not self.state:
            self.state, self.clock = state, 0.0

    def observe(
        self,
        elapsed: float,
        limits: TimeLimits,
        *,
        moved: bool = False,
        queued: int = 0,
        unacknowledged: int = 0,
        working: bool = False,
    ) -> Decision:
        """Return the decision for what was observed in the last ``elapsed`` seconds.

        ``moved`` tells whether bytes came or the kernel took queued output, ``working`` whether a
        request is being received or answered. ``queued`` is output in this process,
        ``unacknowledged`` output in the kernel, both in bytes.
        """
        before, backlog = self.activity, queued and queued + unacknowledged
        if moved:
            now = Activity.MOVING
        elif backlog:
            now = Activity.STALLED if backlog >= self._backlog else Activity.SENDING
        else:
            now = Activity.WORKING if working else Activity.RESTING
        self.activity, self._backlog = now, backlog
        rules = RULES[self.state]
        rule = rules[now]
        if rule is not rules[before]:
            self.clock = 0.0
        self.clock += elapsed
        if rule is FREE and moved:
            self.clock = 0.0
        if rule.limit is not None and self.clock >= limits[rule.limit]:
            return rule.decision
        if before is Activity.MOVING and not moved:
            return PROBE
        return NOTHING
