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


def test_sixteen_ranges_are_sent_and_more_are_the_whole_file():
    specs = [f"{n}-{n}" for n in range(17)]
    assert parse_ranges("bytes=" + ",".join(specs[:16]), 100) == [
        range(n, n + 1) for n in range(16)
    ]
    assert parse_ranges("bytes=" + ",".join(specs), 100) is None
    # empty elements do not count as ranges, but the field has a limit
    assert parse_ranges("bytes=0-1" + "," * 32, 100) == [range(2)]
    assert parse_ranges("bytes=0-1" + "," * 33, 100) is None
    assert parse_ranges("bytes=0-1" + ", \t" * 32, 100) == [range(2)]


def test_a_malformed_range_among_others_makes_the_field_unsatisfiable():
    for field in ("bytes=0-1,5-2", "bytes=0-1,x", "bytes=a-,0-1"):
        with pytest.raises(RangeNotSatisfiable):
            parse_ranges(field, 10)


def test_numbers_of_more_than_eighteen_digits_are_past_the_end_of_any_file():
    largest = 2**63 - 1
    assert parse_ranges(f"bytes={10**18 - 1}-", largest) == [range(10**18 - 1, largest)]
    assert parse_ranges(f"bytes=-{10**18 - 1}", largest) == [range(largest - 10**18 + 1, largest)]
    assert parse_ranges("bytes=0-" + "9" * 19, 10**18 + 1) == [range(10**18 + 1)]
    assert parse_ranges("bytes=-" + "9" * 19, 10**18) == [range(10**18)]
    assert parse_ranges("bytes=-1" + "0" * 17, largest) == [range(largest - 10**17, largest)]
