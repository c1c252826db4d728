"""JSON layout, colours, the bar of times, the progress line."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stretta.cli.http.timing_bar import NAMES, durations, timing_bar
from stretta.cli.ui.pretty import can_lay_out, colour_text, indent_json, lay_out
from stretta.cli.ui.progress import Progress, human_size, progress_line
from stretta.http.client.exchange_state import Phases

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON, st.sampled_from([None, 0, 3]), st.booleans())
def test_layout_keeps_the_value(value, indent, ascii_only):
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    assert json.loads(indent_json(text)) == value


def test_layout_is_that_of_json_dumps():
    value = {"a": [1, 2.5, {"b": None}], "c": {}, "d": [], "e": 'x", "y'}
    assert indent_json(json.dumps(value)) == json.dumps(value, indent=2)


def test_layout_keeps_every_token():
    assert lay_out("application/json", '{"a":1.10,"a":1e400}') == '{\n  "a": 1.10,\n  "a": 1e400\n}'


@pytest.mark.parametrize("text", ["", "{", "nonsense", "[" * 100_000, '{"a":1}}'])
def test_invalid_json_is_not_changed(text):
    assert lay_out("application/json", text) == text


@pytest.mark.parametrize(
    ("kind", "can"),
    [
        ("application/json", True), ("application/problem+json", True), ("text/html", True),
        ("image/svg+xml", True), ("text/plain", False), ("image/png", False), ("", False),
    ],
)  # fmt: skip
def test_media_types_that_can_be_laid_out(kind, can):
    assert can_lay_out(kind) is can


@pytest.mark.parametrize("kind", ["text/html", "application/hal+json", "text/css"])
def test_colouring_keeps_the_text(kind):
    import re  # noqa: PLC0415

    text = '<p class="a">b</p>\n\n{"a": 1}\n'
    coloured = colour_text(kind, text)
    assert coloured != text
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == text
    assert colour_text("text/x-nobody-knows", text) == text


TIMES = st.lists(st.floats(0, 100), min_size=6, max_size=6).map(sorted)


@given(TIMES, st.sets(st.integers(0, 5)), st.integers(20, 250))
def test_the_bar_fits_and_adds_up(times, missing, columns):
    marks = {name: None if i in missing else times[i] for i, name in enumerate(NAMES)}
    phases = Phases(**marks)
    took = durations(phases)
    assert set(took) == {name for name, end in marks.items() if end is not None}
    known = [end for end in marks.values() if end is not None]
    assert sum(took.values()) == pytest.approx(max(known, default=0), abs=1e-6)
    lines = timing_bar(phases, columns)
    assert all(len(line) < max(columns, 26) for line in lines)
    if sum(took.values()) > 0 and columns > 21:
        assert len(lines[0]) == columns - 1
    assert lines[-1].split("total ")[1].endswith("s")


def test_sizes_for_people():
    sizes = [0, 999, 1000, 1 << 20, 10**9, 10**13]
    assert [human_size(n) for n in sizes] == [
        "0 B", "999 B", "1.0 KiB", "1.0 MiB", "954 MiB", "9313 GiB",
    ]  # fmt: skip


def test_the_progress_line_fits_the_terminal():
    line = progress_line(1 << 29, 1 << 30, 1 << 20, 200)
    assert line == " 50%  512 MiB of 1.0 GiB  1.0 MiB/s  8:32 left"
    assert len(progress_line(1 << 29, 1 << 30, 1 << 20, 20)) == 19
    assert progress_line(5, None, 0.0, 80) == "5 B  0 B/s"


def test_progress_is_shown_on_a_terminal_for_a_long_transfer(capsys, monkeypatch):
    now = [0.0]
    Progress(100, clock=lambda: now[0]).show(50)
    monkeypatch.setattr("stretta.cli.ui.progress.is_terminal", lambda _: True)
    progress = Progress(100, clock=lambda: now[0])
    progress.show(10)
    assert capsys.readouterr().err == ""
    now[0] = 1.0
    progress.show(50)
    assert capsys.readouterr().err == "\r 50%  50 B of 100 B  50 B/s  0:01 left\x1b[K"
    progress.end()
    assert capsys.readouterr().err == "\r\x1b[K"
