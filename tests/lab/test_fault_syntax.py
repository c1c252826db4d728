import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stretta.errors import UsageError
from stretta.lab.fault_syntax import (
    KINDS,
    parse_frame_selector,
    parse_interval,
    parse_percentage,
    parse_rate,
    parse_time,
    split_direction,
)


@pytest.mark.parametrize(
    ("text", "direction", "rest"),
    [
        ("10%", None, "10%"),
        ("client>server 10%", ("client", "server"), "10%"),
        ("server > client data:2", ("server", "client"), "data:2"),
        ("server>client:data:2", ("server", "client"), "data:2"),
    ],
)
def test_direction(text, direction, rest):
    found, at = split_direction("loss", text)
    assert (found, text[at:]) == (direction, rest)


def test_frames():
    frames = parse_frame_selector("drop", "data:2-4,7,9-")
    assert [n for n in range(1, 12) if frames.matches(n)] == [2, 3, 4, 7, 9, 10, 11]
    assert parse_frame_selector("drop", "fin").matches(1_000_000)


@pytest.mark.parametrize(
    ("parse", "text", "under", "says"),
    [
        (parse_frame_selector, "syn-akc:1", "syn-akc", "did you mean syn-ack?"),
        (parse_frame_selector, "data:x", "x", "count from 1"),
        (parse_frame_selector, "data:0", "0", "count from 1"),
        (parse_frame_selector, "data:1,4-2", "4-2", "ends before it begins"),
        (parse_time, "50M", "M", "the unit is one of"),
        (parse_time, "fast", "fast", "a number is missing"),
        (parse_time, "99999999999s", "99999999999", "too large"),
        (parse_time, "٣ms", "٣ms", "a number is missing"),
        (parse_rate, "9" * 400 + "mbit", "9" * 400, "too large"),
        (parse_frame_selector, "data:" + "9" * 19, "9" * 19, "count from 1"),
        (parse_time, "5 minutes", " minutes", "the unit is one of"),
        (parse_percentage, "110%", "110%", "from 0% to 100%"),
        (parse_percentage, "0.1", "0.1", "from 0% to 100%"),
        (parse_rate, "0mbit", "0mbit", "carries nothing"),
        (parse_interval, "3s-1s", "1s", "ends before it begins"),
        (split_direction, "server>cleint data:1", "server>cleint", "a direction is"),
    ],
)
def test_mistake_has_a_caret_below_it(parse, text, under, says):
    with pytest.raises(UsageError, match=r"cannot understand --drop") as caught:
        parse("drop", text)
    assert says in str(caught.value)
    shown, carets = caught.value.__notes__
    assert shown == f"  {text}"
    at = carets.index("^")
    assert shown[at : at + carets.count("^")] == under or (not under and at == len(shown))


@given(st.text(max_size=20))
@settings(deadline=None)
def test_any_text_is_understood_or_refused(text):
    for parse in (
        parse_frame_selector,
        parse_time,
        parse_percentage,
        parse_rate,
        parse_interval,
        split_direction,
    ):
        try:
            parse("drop", text)
        except UsageError as error:
            assert len(error.__notes__) == 2


@given(st.sampled_from(sorted(KINDS)), st.integers(1, 99), st.integers(0, 99))
@settings(deadline=None)
def test_every_kind_and_range(kind, first, more):
    frames = parse_frame_selector("drop", f"{kind}:{first}-{first + more}")
    assert frames.matches(first)
    assert frames.matches(first + more)
    assert not frames.matches(first + more + 1)
    assert not frames.matches(first - 1)
