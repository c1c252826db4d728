"""The lifecycle of a connection as sequence diagrams: observations in, decisions out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stretta.net.server.lifecycle import (
    RULES,
    TRANSITIONS,
    Action,
    Activity,
    Cause,
    Decision,
    Event,
    Lifecycle,
    State,
    TimeLimits,
)

LIMITS = TimeLimits(idle=5, stall=3, handshake=4, linger=2)

NOTHING = Decision(Action.NOTHING)
PROBE = Decision(Action.PROBE)
IDLE = Decision(Action.CLOSE, Cause.IDLE)
DRAINED = Decision(Action.CLOSE, Cause.DRAIN)
STALLED = Decision(Action.RESET, Cause.STALLED)
LATE_HANDSHAKE = Decision(Action.ABORT, Cause.HANDSHAKE)
LINGERED = Decision(Action.ABORT, Cause.LINGER)


class Playbook:
    """``>>`` feeds an event or the observations of a tick; ``<<`` states what has to follow."""

    def __init__(self, state=State.OPEN):
        self.machine = Lifecycle(state)
        self.decision = None
        self.steps = 0

    def __rshift__(self, step):
        self.steps += 1
        if isinstance(step, Event):
            self.machine.change(step)
        else:
            seconds, seen = step
            self.decision = self.machine.observe(seconds, LIMITS, **seen)
        return self

    def __lshift__(self, expected):
        got = self.machine.state if isinstance(expected, State) else self.decision
        assert got == expected, f"step {self.steps}: {got} instead of {expected}"
        return self


def tick(seconds=1, **seen):
    return seconds, seen


DATA = tick(moved=True)
SILENCE = tick()
WORK = tick(working=True)


def output(queued, unacknowledged=0, **more):
    return tick(queued=queued, unacknowledged=unacknowledged, **more)


def test_an_idle_connection_is_closed_at_its_limit():
    play = Playbook() >> DATA << NOTHING >> SILENCE << PROBE
    for _ in range(3):
        play = play >> SILENCE << NOTHING
    assert play >> SILENCE << IDLE


def test_data_restarts_the_idle_clock():
    play = Playbook() >> DATA << NOTHING >> SILENCE << PROBE
    for _ in range(10):
        play = play >> SILENCE << NOTHING >> SILENCE << NOTHING
        play = play >> DATA << NOTHING >> SILENCE << PROBE
    assert play.machine.clock == 1


def test_data_that_never_stops_keeps_the_clock_at_zero():
    play = Playbook()
    for _ in range(10):
        play = play >> DATA << NOTHING
        assert play.machine.clock == 0


def test_the_kernel_is_asked_once_after_the_last_data():
    play = Playbook() >> DATA << NOTHING >> SILENCE << PROBE >> SILENCE << NOTHING
    play = play >> DATA << NOTHING >> WORK << PROBE >> WORK << NOTHING
    assert play >> DATA << NOTHING >> output(9) << PROBE >> output(9) << NOTHING


def test_a_request_that_is_answered_for_long_has_no_idle_limit():
    play = Playbook() >> DATA << NOTHING >> WORK << PROBE
    for second in range(2, 20):
        play = play >> WORK << NOTHING
        assert play.machine.clock == second  # the time since data came
    for _ in range(4):
        play = play >> SILENCE << NOTHING  # the idle limit counts from the end of the work
    assert play >> SILENCE << IDLE


def test_a_peer_that_reads_nothing_is_reset():
    play = Playbook() >> DATA << NOTHING >> output(100, 50) << PROBE
    assert play >> output(100, 50) << NOTHING >> output(100, 50) << STALLED


def test_output_that_grows_is_no_progress():
    play = Playbook() >> DATA << NOTHING >> output(100) << PROBE
    assert play >> output(200) << NOTHING >> output(300) << STALLED


def test_a_slow_reader_that_makes_progress_is_not_reset():
    """Our queue stands still for long; the bytes in the kernel become fewer all the time."""
    play = Playbook() >> DATA << NOTHING >> output(100, 50) << PROBE
    for unacknowledged in range(49, 29, -1):
        play = play >> output(100, unacknowledged) << NOTHING
    assert play >> output(100, 30) << NOTHING >> output(100, 30) << NOTHING
    assert play >> output(100, 30) << STALLED


def test_progress_restarts_the_stall_clock():
    play = Playbook() >> DATA << NOTHING >> output(9) << PROBE >> output(9) << NOTHING
    play = play >> output(8) << NOTHING >> output(8) << NOTHING >> output(8) << NOTHING
    assert play >> output(8) << STALLED


def test_data_from_the_peer_restarts_the_stall_clock():
    play = Playbook() >> DATA << NOTHING >> output(9) << PROBE >> output(9) << NOTHING
    play = play >> output(9, moved=True) << NOTHING
    assert play >> output(9) << PROBE >> output(9) << NOTHING >> output(9) << STALLED


def test_bytes_that_only_the_kernel_holds_do_not_stall():
    play = Playbook() >> DATA << NOTHING >> output(0, 50) << PROBE
    for _ in range(3):
        play = play >> output(0, 50) << NOTHING
    assert play >> output(0, 50) << IDLE  # closing sends them all the same


def test_the_handshake_has_one_limit_whatever_moves():
    play = Playbook(State.HANDSHAKING) >> DATA << NOTHING >> SILENCE << PROBE
    assert play >> DATA << NOTHING >> output(9) << LATE_HANDSHAKE


def test_after_the_handshake_the_clock_starts_again():
    play = Playbook(State.HANDSHAKING) >> tick(3, moved=True) << NOTHING
    play = play >> Event.SECURE << State.OPEN >> SILENCE << PROBE
    assert play >> tick(3) << NOTHING >> SILENCE << IDLE


def test_a_drain_closes_a_connection_at_rest_at_once():
    assert Playbook() >> SILENCE << PROBE >> Event.DRAIN << State.DRAINING >> tick(0) << DRAINED


def test_a_drain_lets_requests_be_answered_and_output_be_read():
    play = Playbook() >> DATA << NOTHING >> Event.DRAIN >> DATA << NOTHING
    play = play >> WORK << PROBE >> tick(100, working=True) << NOTHING >> output(9) << NOTHING
    assert play >> output(8) << NOTHING >> tick(0) << DRAINED


def test_a_drain_does_not_wait_for_a_peer_that_reads_nothing():
    play = Playbook() >> DATA << NOTHING >> Event.DRAIN >> output(9) << PROBE
    assert play >> output(9) << NOTHING >> output(9) << STALLED


def test_a_drain_closes_a_handshake_in_which_nothing_moves():
    play = Playbook(State.HANDSHAKING) >> DATA << NOTHING >> Event.DRAIN << State.DRAINING
    assert play >> Event.SECURE << State.DRAINING >> tick(0) << DRAINED


@pytest.mark.parametrize("seen", [{}, {"moved": True}, {"working": True}])
def test_a_lingering_connection_is_aborted_whatever_still_comes(seen):
    play = Playbook() >> DATA << NOTHING >> Event.LINGER << State.LINGERING
    play = play >> tick(1, **seen)
    assert play >> tick(1, **seen) << LINGERED


def test_lingering_begins_when_the_output_has_left():
    play = Playbook() >> DATA << NOTHING >> Event.LINGER >> output(9) << PROBE
    play = play >> output(7) << NOTHING >> output(5) << NOTHING >> output(3) << NOTHING
    assert play >> SILENCE << NOTHING >> SILENCE << LINGERED


def test_a_lingering_peer_that_does_not_read_is_reset():
    play = Playbook() >> DATA << NOTHING >> Event.LINGER >> output(9) << PROBE
    assert play >> output(9) << NOTHING >> output(9) << STALLED


def test_a_drain_waits_a_second_for_the_first_byte_of_a_new_client():
    play = Playbook() >> SILENCE << PROBE >> Event.DRAIN_NEW << State.EXPECTING
    play = play >> tick(0) << NOTHING >> tick(0.75) << NOTHING
    assert play >> tick(0.25) << DRAINED
    play = Playbook() >> Event.DRAIN_NEW >> DATA << NOTHING >> WORK << PROBE >> tick(0) << NOTHING
    assert play >> Event.LINGER << State.LINGERING
    play = Playbook(State.HANDSHAKING) >> Event.DRAIN_NEW << State.EXPECTING
    assert play >> output(9) << PROBE >> output(9) << NOTHING >> output(9) << STALLED


def test_a_draining_connection_may_linger():
    assert Playbook() >> Event.DRAIN >> Event.LINGER << State.LINGERING


def test_a_closed_connection_has_no_limits():
    play = Playbook() >> DATA >> Event.END << State.CLOSED
    play = play >> tick(100) >> tick(100) << NOTHING >> output(9) << NOTHING
    assert play >> output(9) << NOTHING >> tick(100, queued=9) << NOTHING


@pytest.mark.parametrize(
    ("state", "event"),
    [
        (State.OPEN, Event.SECURE), (State.LINGERING, Event.DRAIN), (State.CLOSED, Event.DRAIN),
        (State.CLOSED, Event.LINGER), (State.CLOSED, Event.SECURE),
        (State.HANDSHAKING, Event.LINGER), (State.LINGERING, Event.SECURE),
    ],
)  # fmt: skip
def test_events_without_meaning_in_a_state_change_nothing(state, event):
    play = Playbook(state) >> tick(1, working=True)
    clock = play.machine.clock
    assert play >> event << state
    assert play.machine.clock == clock


def test_every_state_has_a_rule_for_every_activity_and_an_end():
    assert len(RULES) == len(State)
    assert all(len(rules) == len(Activity) for rules in RULES)
    for state in State:
        assert TRANSITIONS[state, Event.END] is State.CLOSED


SEEN = st.fixed_dictionaries(
    {
        "moved": st.booleans(),
        "queued": st.integers(0, 3),
        "unacknowledged": st.integers(0, 3),
        "working": st.booleans(),
    }
)
STEPS = st.lists(
    st.one_of(st.tuples(st.sampled_from([0, 0.25, 1, 2.5]), SEEN), st.sampled_from(Event))
)


@given(st.sampled_from(State), STEPS)
def test_every_decision_has_a_reason(state, steps):
    """No order of observations closes a connection before a limit has passed."""
    machine = Lifecycle(state)
    silent = 0.0
    for step in steps:
        if isinstance(step, Event):
            machine.change(step)
            continue
        seconds, seen = step
        silent = 0.0 if seen["moved"] else silent + seconds
        action, cause = machine.observe(seconds, LIMITS, **seen)
        if cause is Cause.IDLE:
            assert machine.state is State.OPEN
            assert silent >= LIMITS.idle and not (seen["queued"] or seen["working"])
        elif cause is Cause.STALLED:
            assert silent >= LIMITS.stall and seen["queued"]
        elif cause is Cause.DRAIN:
            assert machine.state in (State.DRAINING, State.EXPECTING)
            assert not (seen["queued"] or seen["working"])
        elif action is Action.ABORT:
            assert machine.state in (State.HANDSHAKING, State.LINGERING)


def test_the_clock_of_a_new_connection_and_of_a_new_state_starts_at_zero():
    assert (Lifecycle().clock, Lifecycle().activity) == (0, Activity.MOVING)
    play = Playbook() >> DATA >> SILENCE >> SILENCE >> SILENCE >> Event.LINGER << State.LINGERING
    assert play.machine.clock == 0
    assert play >> SILENCE << NOTHING >> SILENCE << LINGERED


def test_one_byte_that_is_not_read_is_stalled_output():
    assert Playbook() >> output(1) << PROBE >> output(1) << NOTHING >> output(1) << STALLED


def test_the_limits_that_no_option_sets():
    limits = TimeLimits(idle=300, stall=30)
    assert (limits.handshake, limits.linger, limits.drain, limits.expect) == (10, 2, 0, 1)
