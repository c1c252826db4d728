"""HTTP dates: the three forms of RFC 9110 section 5.6.7, and nothing else."""

from datetime import UTC, datetime
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stretta.http.server.files.http_date import parse_http_date

NOW = datetime(2026, 11, 25, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    "text",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Mon, 06 Nov 1994 08:49:37 GMT",  # the name of the day is not compared
    ],
)
def test_the_three_forms(text):
    assert parse_http_date(text, NOW) == 784111777


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Sun Nov 16 08:49:37 1994", (1994, 11, 16, 8, 49, 37)),
        ("Thu, 29 Feb 2024 23:59:59 GMT", (2024, 2, 29, 23, 59, 59)),
        ("Thu, 01 Jan 1970 00:00:00 GMT", (1970, 1, 1)),
        ("Fri, 31 Dec 9999 23:59:59 GMT", (9999, 12, 31, 23, 59, 59)),
        ("Sat, 01 Jan 0001 00:00:00 GMT", (1, 1, 1)),
        ("Sat, 31 Dec 2016 23:59:60 GMT", (2017, 1, 1)),  # a leap second
    ],
)
def test_dates_of_the_calendar(text, expected):
    assert parse_http_date(text, NOW) == datetime(*expected, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("year", "expected"), [("76", 2076), ("77", 1977), ("26", 2026), ("99", 1999), ("00", 2000)]
)
def test_two_digits_are_a_year_at_most_fifty_years_ahead(year, expected):
    found = parse_http_date(f"Monday, 01-Jan-{year} 00:00:00 GMT", NOW)
    assert found == datetime(expected, 1, 1, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    "text",
    [
        "", "0", "yesterday", "784111777",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 CET",
        "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT\n",
        " Sun, 06 Nov 1994 08:49:37 GMT",
        "sun, 06 nov 1994 08:49:37 gmt",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 94 08:49:37 GMT",
        "Sun, 06 Nov 19994 08:49:37 GMT",
        "Sun, 32 Nov 1994 08:49:37 GMT",
        "Sun, 31 Nov 1994 08:49:37 GMT",
        "Thu, 29 Feb 2023 00:00:00 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:37 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT",
        "Sun, ٠٦ Nov 1994 08:49:37 GMT",
        "Sonntag, 06-Nov-94 08:49:37 GMT",
        "Sun Nov 06 08:49:37 94",
        "Sun, 06 Nov " + "9" * 5000 + " 08:49:37 GMT",
    ],
)  # fmt: skip
def test_everything_else_is_not_a_date(text):
    assert parse_http_date(text, NOW) is None


@given(st.integers(0, 253_402_300_799))
def test_every_date_that_the_server_writes_is_read(seconds):
    assert parse_http_date(formatdate(seconds, usegmt=True), NOW) == seconds


@given(st.text(max_size=60))
def test_no_text_raises(text):
    parse_http_date(text, NOW)
