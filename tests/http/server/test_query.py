from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stretta.http.server.query import (
    BAD_ESCAPE,
    MAX_BYTES,
    MAX_FIELDS,
    percent_decode,
    query_fields,
)


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("", {}),
        ("a=1&b=2", {"a": "1", "b": "2"}),
        ("a=1&a=2", {"a": "1"}),
        ("a=b=c", {"a": "b=c"}),
        ("q=a+b%2Bc%20%C3%A9", {"q": "a b+c é"}),
        ("q=%ff", {"q": "\ufffd"}),
        ("%61=1", {"a": "1"}),
        ("a&b=&=c", {"b": "", "": "c"}),
        ("a=%", {}),
        ("a=%4", {}),
        ("a=1&b=%zz", {}),
    ],
)
def test_fields(query, fields):
    assert query_fields(query) == fields


def test_a_long_query_has_no_fields():
    assert query_fields("a=" + "b" * (MAX_BYTES - 2)) == {"a": "b" * (MAX_BYTES - 2)}
    assert query_fields("a=" + "b" * (MAX_BYTES - 1)) == {}
    assert len(query_fields("&".join(f"{n}=" for n in range(MAX_FIELDS)))) == MAX_FIELDS
    assert query_fields("&".join(f"{n}=" for n in range(MAX_FIELDS + 1))) == {}


PARTS = [b"%41", b"%0a", b"%3D", b"%25", b"=", b"a", b"\n", b" ", b"_", b"\xff"]


@given(st.lists(st.sampled_from(PARTS)))
def test_decoding_agrees_with_the_standard_library(parts):
    raw = b"".join(parts)
    assert percent_decode(raw) == unquote_to_bytes(raw)


@given(st.text(alphabet="%aF0g", max_size=12))
def test_a_malformed_escape_is_found(text):
    valid = all(is_hex(part[:2]) for part in text.split("%")[1:])
    assert bool(BAD_ESCAPE.search(text.encode())) is not valid


def is_hex(pair):
    return len(pair) == 2 and all(digit in "0123456789abcdefABCDEF" for digit in pair)
