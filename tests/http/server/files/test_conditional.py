"""Conditional requests: the order of RFC 9110 section 13.2.2, and dates that are ignored."""

import pytest

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
