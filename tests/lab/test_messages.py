import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stretta.lab.messages import (
    COMMANDS,
    EVENTS,
    Ended,
    Failed,
    Finished,
    MessageError,
    NotListening,
    Plan,
    Printed,
    Program,
    Signal,
    Stage,
    Started,
    Stop,
    Unshared,
    from_line,
    to_line,
)
from stretta.lab.topology import in_a_row
from stretta.options import WireOptions
from stretta.see.hosts import Role

PLAN = Plan(
    topology=in_a_row(("a", Role.CLIENT), ("b", Role.PROXY), ("c", Role.SERVER)),
    programs=(
        Program(host="a", argv=("x", "file \udcff"), environment=(("A", "ü"),), stdin=True),
        Program(host="c", argv=("y",), descriptors=(200,), captured=False),
    ),
    wire=WireOptions(delay=("5ms",), drop=("a>b data:1",), seed=3),
    seed=3, log=9, ready_timeout=1.5, until=("a",), limit=None, settle=0.3, linger=5.0,
    files=(("/etc/hosts", "/tmp/x"),),
)  # fmt: skip


@pytest.mark.parametrize("command", [PLAN, Signal(2), Stop()], ids=lambda c: type(c).__name__)
def test_a_command_survives_its_journey(command):
    line = to_line(command)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert from_line(line, COMMANDS) == command


@given(st.binary(max_size=99), st.integers(0, 2**63), st.sampled_from(Stage), st.text(max_size=9))
@settings(deadline=None)
def test_an_event_survives_its_journey(data, number, stage, text):
    for event in (
        Unshared(), Started(number), Printed(text, number, data), Ended(text, number, -9),
        NotListening(text, 0.5), Finished(number), Failed(stage, 5, text),
    ):  # fmt: skip
        assert from_line(to_line(event), EVENTS) == event


def changed(path, value):
    """Return the plan's line with another value at a path of keys."""
    document = json.loads(to_line(PLAN))
    *before, last = path
    place = document
    for key in before:
        place = place[key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "type: expected one of Plan, Signal, Stop"),
        (b'{"type": ["Plan"]}', "type: expected"),
        (to_line(Started(1)), "type: expected"),
        (b'{"type": "Signal"}', "Signal: missing one of number"),
        (b'{"type": "Signal", "number": "2"}', r"Signal\.number: expected int, got str"),
        (b'{"type": "Signal", "number": true}', r"Signal\.number: expected int, got bool"),
        (b'{"type": "Stop", "now": 1}', "Stop: unknown field 'now'"),
        (changed(["until"], "a"), r"Plan\.until: expected a list, got str"),
        (changed(["until"], ["a", 1]), r"Plan\.until\[1\]: expected str, got int"),
        (changed(["files"], [["a"]]), r"Plan\.files\[0\]: expected 2 elements, got 1"),
        (changed(["programs", 1, "stdin"], 0), r"Plan\.programs\[1\]\.stdin: expected bool"),
        (changed(["programs", 0, "argv"], None), r"Plan\.programs\[0\]: missing one of .*argv"),
        (changed(["topology", "hosts", 0, "role"], "king"), r"role: 'king' is not a Role"),
        (changed(["topology", "hosts", 0, "name"], "b"), "topology: two hosts have the same name"),
        (changed(["wire"], []), r"Plan\.wire: expected an object, got list"),
    ],
)
def test_a_line_that_is_not_a_message_is_refused_with_its_place(line, says):
    with pytest.raises(MessageError, match=says):
        from_line(line, COMMANDS)


def test_base64_is_checked():
    line = to_line(Printed("client", 1, b"abc")).replace(b"YWJj", b"YW Jj")
    with pytest.raises(MessageError, match=r"Printed\.data: not base64"):
        from_line(line, EVENTS)


@given(st.binary(max_size=60))
@settings(deadline=None)
def test_any_bytes_are_a_message_or_refused(data):
    for line in (data, to_line(PLAN)[: len(data) * 9] + data):
        try:
            from_line(line, COMMANDS)
        except MessageError:
            continue
