"""Times and sizes as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stretta.options.units import SIZES, TIMES, parse_size, parse_time, size_text, time_text

NUMBERS = st.integers(0, 10**9)


@given(NUMBERS, st.sampled_from(sorted(TIMES)), st.sampled_from(["", " "]))
def test_a_number_with_a_unit_of_time_is_that_many_seconds(number, unit, space):
    assert parse_time(f"{number}{space}{unit}") == number * TIMES[unit]


@given(st.floats(0, 1e9))
def test_a_plain_number_is_seconds(number):
    assert parse_time(repr(number)) == number


@given(st.floats(1e-3, 1e6) | st.integers(1, 10**6))
def test_a_written_time_is_read_back(seconds):
    assert parse_time(time_text(seconds)) == pytest.approx(seconds, rel=1e-12)


def test_units_of_time_are_combined_from_the_longest_to_the_shortest():
    assert parse_time("1d2h3m4s5ms") == 86_400 + 7200 + 180 + 4 + 0.005
    for text in ("4s3m", "1m1m", "1h30"):
        with pytest.raises(ValueError, match=r"unit|time|size|byte"):
            parse_time(text)


@given(NUMBERS, st.sampled_from(sorted(SIZES)), st.sampled_from(["", "B"]))
def test_a_number_with_a_unit_of_size_is_that_many_bytes(number, unit, byte):
    assert parse_size(f"{number}{unit}{byte}") == number * SIZES[unit]


@given(st.integers(0, 2**63))
def test_a_written_size_is_read_back(size):
    assert parse_size(size_text(size)) == size


def test_a_size_in_bits_is_refused_as_such():
    with pytest.raises(ValueError, match="the b of 'Mb' is a bit; a byte is B"):
        parse_size("10Mb")


def test_powers_of_1000_and_of_1024():
    assert [parse_size(f"1{unit}") for unit in ("k", "kB", "MB", "G", "TB")] == [
        10**3, 10**3, 10**6, 10**9, 10**12,
    ]  # fmt: skip
    assert [parse_size(f"1{unit}") for unit in ("Ki", "KiB", "MiB", "Gi", "TiB")] == [
        2**10, 2**10, 2**20, 2**30, 2**40,
    ]  # fmt: skip
    assert parse_size("1.5k") == 1500


@given(st.text(max_size=12) | st.from_regex(r"[-+0-9.eEdhmsuµkKMGTiBb _]{1,10}"))
def test_any_text_is_read_or_refused_with_a_reason(text):
    for parse in (parse_time, parse_size):
        try:
            parse(text)
        except ValueError as error:
            assert str(error)


@pytest.mark.parametrize(
    "text", ["", " ", "s", "5x", "5M", "5 S", "1_000", "٣", "5s5", "0x10", "--5", "5 5", "1,5s"]
)
def test_what_is_not_a_time_is_refused(text):
    with pytest.raises(ValueError, match=r"unit|time|size|byte"):
        parse_time(text)


@pytest.mark.parametrize(
    "text",
    ["", "B", "10m", "10g", "10mb", "10Mb", "64kb", "1gib", "1.5", "1.0001k", "1e6", "1_000", "٣"],
)
def test_an_ambiguous_or_wrong_size_is_refused(text):
    with pytest.raises(ValueError, match=r"unit|time|size|byte"):
        parse_size(text)
