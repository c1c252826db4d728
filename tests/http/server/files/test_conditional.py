"""Conditional requests: the order of RFC 9110 section 13.2.2, and dates that are ignored."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stretta.http.server.files.conditional import evaluate_preconditions, range_applies

AT, NOW = 1_000_000_000, 1_700_000_000.0
DATE = "Sun, 09 Sep 2001 01:46:40 GMT"
BEFORE = "Sun, 09 Sep 2001 01:46:39 GMT"
AFTER = "Sunday, 09-Sep-01 01:46:41 GMT"  # RFC 850's form


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"if-match": '"now"'}, 200),
        ({"if-match": '"old", "now"'}, 200),
        ({"if-match": "*"}, 200),
        ({"if-match": '"old"'}, 412),
        ({"if-match": 'W/"now"'}, 412),  # strong comparison
        ({"if-match": ""}, 412),
        ({"if-unmodified-since": DATE}, 200),
        ({"if-unmodified-since": BEFORE}, 412),
        ({"if-unmodified-since": "yesterday"}, 200),
        ({"if-match": '"now"', "if-unmodified-since": BEFORE}, 200),  # the tag decides
        ({"if-none-match": '"now"'}, 304),
        ({"if-none-match": 'W/"now"'}, 304),  # weak comparison
        ({"if-none-match": "*"}, 304),
        ({"if-none-match": '"old"'}, 200),
        ({"if-none-match": '"old"', "if-modified-since": AFTER}, 200),  # the tag decides
        ({"if-modified-since": DATE}, 304),
        ({"if-modified-since": AFTER}, 304),
        ({"if-modified-since": BEFORE}, 200),
        ({"if-modified-since": "0"}, 200),
        ({"if-match": '"old"', "if-none-match": '"now"'}, 412),
        ({"if-match": '"now"', "if-none-match": '"now"'}, 304),
    ],
)
def test_the_status_that_conditions_lead_to(headers, status):
    assert evaluate_preconditions(headers, "now", AT, NOW) == status


@pytest.mark.parametrize(
    ("if_range", "applies"),
    [
        (None, True),
        ('"now"', True),
        ('"old"', False),
        ('W/"now"', False),
        ("now", False),
        (DATE, True),
        (BEFORE, False),
        (AFTER, False),
        ("", False),
    ],
)
def test_if_range(if_range, applies):
    headers = {} if if_range is None else {"if-range": if_range}
    assert range_applies(headers, "now", AT, AT + 1) is applies


def test_a_date_proves_nothing_before_its_second_is_over():
    assert not range_applies({"if-range": DATE}, "now", AT, AT + 0.9)
    assert range_applies({"if-range": '"now"'}, "now", AT, AT + 0.9)


FIELDS = ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range"]
PARTS = ['"now"', "W/", '"', "*", ",", " ", "now", DATE, BEFORE, "GMT", "é"]


@given(st.dictionaries(st.sampled_from(FIELDS), st.lists(st.sampled_from(PARTS)).map("".join)))
def test_any_condition_has_a_status(headers):
    assert evaluate_preconditions(headers, "now", AT, NOW) in (200, 304, 412)
    assert range_applies(headers, "now", AT, NOW) in (True, False)


@pytest.mark.parametrize(
    ("field", "listed"),
    [
        ('"now"', True), ('W/"now"', False), ('W/"now", "now"', True), ('"a","now"', True),
        ('"now1", "now"', True), ('"now1"', False), ("now", False), ('"no', False), (" * ", True),
        ('"*"', False), ('*, "x"', False), ('w/"now"', True), ("", False), ('"now"x', True),
    ],
)  # fmt: skip
def test_if_match_compares_strongly(field, listed):
    assert evaluate_preconditions({"if-match": field}, "now", AT, NOW) == (200 if listed else 412)


def test_a_representation_without_a_time_has_no_conditional_dates():
    for name in ("if-modified-since", "if-unmodified-since"):
        for date in (DATE, BEFORE, AFTER):
            assert evaluate_preconditions({name: date}, "now", None, NOW) == 200
