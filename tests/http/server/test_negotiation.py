"""Preferences in Accept and Accept-Encoding."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stretta.http.server.negotiation import (
    MAX_BYTES,
    MAX_ELEMENTS,
    best_media_type,
    parse_qualities,
)

OFFERED = ("text/html", "application/json", "text/plain")


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (None, {}),
        ("", {}),
        ("gzip", {"gzip": 1.0}),
        ("GZIP ; Q=0.25 ,\tbr", {"gzip": 0.25, "br": 1.0}),
        (
            "a;q=0, b;q=1, c;q=0.999, d;q=1.000, e;q=0.",
            {"a": 0, "b": 1, "c": 0.999, "d": 1, "e": 0},
        ),
        ("a;q=2, b;q=-1, c;q=1.001, d;q=0.1234, e;q=, f;q=x, g", {"g": 1.0}),
        ("a;q=\u0660", {}),
        ("a;level=1;q=0.5", {"a": 0.5}),
        ("a;q=0.5;q=0.7", {"a": 0.7}),
        (",,a,,", {"a": 1.0}),
        ("a;q=0.1, a;q=0.9", {"a": 0.1}),
        ("a, b", {"a": 1.0, "b": 1.0}),
        (";q=1", {}),
    ],
)
def test_qualities(field, expected):
    assert parse_qualities(field) == expected
    assert list(parse_qualities(field)) == list(expected)


def test_a_long_field_is_ignored():
    assert parse_qualities("a" * MAX_BYTES) == {"a" * MAX_BYTES: 1.0}
    assert parse_qualities("a" * (MAX_BYTES + 1)) == {}
    assert len(parse_qualities(",".join(map(str, range(MAX_ELEMENTS))))) == MAX_ELEMENTS
    assert parse_qualities(",".join(map(str, range(MAX_ELEMENTS + 1)))) == {}


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, "text/html"),
        ("", "text/html"),
        ("*/*", "text/html"),
        ("text/plain", "text/plain"),
        ("TEXT/Plain", "text/plain"),
        ("application/json", "application/json"),
        ("text/*", "text/html"),
        ("application/*", "application/json"),
        ("text/plain, */*", "text/plain"),  # named precisely
        ("text/*, application/json", "application/json"),
        ("text/html, application/json", "text/html"),  # offered first
        ("application/json, text/html", "text/html"),
        ("text/html;q=0.5, application/json;q=0.6", "application/json"),
        ("text/html;q=0, */*", "application/json"),
        ("*/*;q=0.1, text/plain;q=0.2", "text/plain"),
        ("text/plain;q=0.1, */*;q=0.2", "text/html"),  # the specific range decides
        ("image/png", "text/html"),
        ("text/html;q=0", "text/html"),
        ("text", "text/html"),
        ("*", "text/html"),
    ],
)
def test_the_best_media_type(accept, expected):
    assert best_media_type(accept, *OFFERED) == expected


@given(st.text(max_size=200))
def test_every_field_selects_an_offered_type(accept):
    assert best_media_type(accept, *OFFERED) in OFFERED
