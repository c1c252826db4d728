import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stretta import casing
from stretta.casing import simple_upper, upper, upper_ascii

LONG = 600  # bytes: beyond what is short
TEXT = st.text().map(lambda text: text.encode("utf-8", "ignore"))
ANY = (
    st.binary()
    | TEXT
    | st.lists(st.sampled_from([b"\xc3", b"\xa9", b"a", b"\xe2\x82"])).map(b"".join)
)


def by_decoding(data):
    return data.decode("utf-8", "surrogateescape").upper().encode("utf-8", "surrogateescape")


@given(ANY, st.integers(0, LONG))
@example(b"\xc3", LONG)
def test_upper_is_what_decoding_gives_for_short_and_long_data(data, padding):
    for padded in (data + b"a" * padding, b"a" * padding + data):
        assert upper(padded) == by_decoding(padded)


@given(ANY, ANY, st.integers(0, LONG))
@example(b"\xc3", b"\xa9", LONG)
@example(b"a\xc3b", b"\xa9", LONG)
def test_a_simple_upper_does_not_depend_on_what_follows(data, more, padding):
    data = b"a" * padding + data
    reply = simple_upper(data)
    if reply is None:
        assert not data.isascii()
    else:
        assert reply + upper(more) == by_decoding(data + more)


@given(ANY, st.integers(0, LONG))
def test_upper_ascii_is_what_bytes_upper_gives(data, padding):
    assert upper_ascii(b"a" * padding + data) == (b"a" * padding + data).upper()


@pytest.mark.parametrize("size", [0, 1, 256, 257, LONG, 100_000])
def test_every_byte_has_its_upper_case_at_every_length(size):
    data = (bytes(range(256)) * (size // 256 + 1))[:size]
    assert upper_ascii(data) == data.upper()
    assert simple_upper(b"a" * size) == b"A" * size


def test_without_the_extra_the_results_are_the_same(monkeypatch):
    monkeypatch.setattr(casing, "SHORT", sys.maxsize)
    for data in (b"a" * LONG, "é".encode() * LONG, b"a" * LONG + b"\xc3"):
        assert upper(data) == by_decoding(data)
    assert upper_ascii(b"a" * LONG) == b"A" * LONG
