import pytest
from hypothesis import given
from hypothesis import strategies as st

from stretta.http.server.files.ranges import RangeNotSatisfiable, parse_ranges


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", [range(1)]),
        ("bytes=0-", [range(10)]),
        ("bytes=-3", [range(7, 10)]),
        ("bytes=-99", [range(10)]),
        ("bytes=5-999", [range(5, 10)]),
        ("Bytes = 1-2 ,\t4-5", [range(1, 3), range(4, 6)]),
        ("bytes=8-9,0-1", [range(8, 10), range(2)]),
        ("bytes=0-1,50-60", [range(2)]),
        ("bytes=50-,0-1", [range(2)]),
        ("bytes=,0-1,", [range(2)]),
        (f"bytes=0-{'9' * 5000}", [range(10)]),
        ("bytes=0-5,0-5", None),  # more than the whole
        ("bytes=" + "0-0," * 17, None),
        ("lines=0-1", None),
        ("nonsense", None),
    ],
)
def test_ranges(header, expected):
    assert parse_ranges(header, 10) == expected


@pytest.mark.parametrize(
    "header",
    [
        "bytes=-0", "bytes=10-", "bytes=5-2", f"bytes={10**30}-", "bytes=", "bytes=a-b", "bytes=-",
        "bytes=1_0-", "bytes=+1-", "bytes=0-1;x", "bytes=0--1", "bytes=٣-", "bytes=0-1 2-3",
    ],
)  # fmt: skip
def test_unsatisfiable_and_malformed_ranges(header):
    with pytest.raises(RangeNotSatisfiable):
        parse_ranges(header, 10)


def test_an_empty_file_has_no_ranges():
    for header in ("bytes=0-", "bytes=-5", "bytes=0-0"):
        with pytest.raises(RangeNotSatisfiable):
            parse_ranges(header, 0)


@given(st.text(alphabet="0123456789-, bytes=", max_size=40), st.integers(0, 2**59))
def test_every_range_lies_within_the_file(text, size):
    try:
        found = parse_ranges("bytes=" + text, size)
    except RangeNotSatisfiable:
        return
    for one in found or []:
        assert 0 <= one.start < one.stop <= size
