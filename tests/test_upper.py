import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import stretta.upper as casing
from stretta.upper import in_python, simple_upper, upper, upper_ascii

LONG = 600  # bytes: beyond what is short
TEXT = st.text().map(lambda text: text.encode("utf-8", "ignore"))
ANY = (
    st.binary()
    | TEXT
    | st.lists(st.sampled_from([b"\xc3", b"\xa9", b"a", b"\xe2\x82"])).map(b"".join)
)
# what is compiled, if it is here, and what stands in for it
EITHER = pytest.mark.parametrize(
    ("simple_upper", "upper_ascii"),
    list(dict.fromkeys([(simple_upper, upper_ascii), in_python])),
    ids=lambda function: function.__module__,
)


def by_decoding(data):
    return data.decode("utf-8", "surrogateescape").upper().encode("utf-8", "surrogateescape")


@given(ANY, st.integers(0, LONG))
@example(b"\xc3", LONG)
def test_upper_is_what_decoding_gives_for_short_and_long_data(data, padding):
    for padded in (data + b"a" * padding, b"a" * padding + data):
        assert upper(padded) == by_decoding(padded)


@EITHER
@given(data=ANY, more=ANY, padding=st.integers(0, LONG))
@example(data=b"\xc3", more=b"\xa9", padding=LONG)
@example(data=b"a\xc3b", more=b"\xa9", padding=LONG)
def test_a_simple_upper_does_not_depend_on_what_follows(
    simple_upper, upper_ascii, data, more, padding
):
    data = b"a" * padding + data
    reply = simple_upper(data)
    if reply is None:
        assert not data.isascii()
    else:
        assert reply + upper(more) == by_decoding(data + more)


@EITHER
@given(data=ANY, padding=st.integers(0, LONG))
def test_upper_ascii_is_what_bytes_upper_gives(simple_upper, upper_ascii, data, padding):
    padded = b"a" * padding + data
    assert upper_ascii(padded) == upper_ascii(memoryview(padded)) == padded.upper()
    assert simple_upper(memoryview(padded)) == simple_upper(padded)


@EITHER
@pytest.mark.parametrize("size", [0, 1, 256, 257, LONG, 100_000])
def test_every_byte_has_its_upper_case_at_every_length(simple_upper, upper_ascii, size):
    data = (bytes(range(256)) * (size // 256 + 1))[:size]
    assert upper_ascii(data) == data.upper()
    assert simple_upper(b"a" * size) == b"A" * size


def test_without_the_extra_the_results_are_the_same(monkeypatch):
    monkeypatch.setattr(casing, "SHORT", sys.maxsize)
    simple, of_ascii = in_python
    assert simple(b"a" * LONG) == of_ascii(b"a" * LONG) == b"A" * LONG
    for data in ("é".encode() * LONG, b"a" * LONG + b"\xc3"):
        assert simple(data) is None
        assert of_ascii(data) == data.upper()
