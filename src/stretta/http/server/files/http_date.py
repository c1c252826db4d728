"""Dates as HTTP writes them (RFC 9110 section 5.6.7). Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime

__all__ = ["parse_http_date"]

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

DAY, LONG_DAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)", "(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
MONTH, TIME = f"(?P<month>{'|'.join(MONTHS)})", r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"

DATE = re.compile(rf"{DAY}, (?P<day>\d\d) {MONTH} (?P<year>\d{{4}}) {TIME} GMT", re.ASCII)
RFC850_DATE = re.compile(rf"{LONG_DAY}, (?P<day>\d\d)-{MONTH}-(?P<year>\d\d) {TIME} GMT", re.ASCII)
ASCTIME_DATE = re.compile(rf"{DAY} {MONTH} (?P<day>[ \d]\d) {TIME} (?P<year>\d{{4}})", re.ASCII)


def parse_http_date(text: str, now: float) -> int | None:
    """Return the seconds since 1970 that a date means, None when ``text`` is not an HTTP date.

    ``now``, in seconds since 1970, decides the century of a year with two digits: such a date is
    at most 50 years in the future. The name of the day is not compared with the date.

    >>> parse_http_date("Sun, 09 Sep 2001 01:46:40 GMT", now=0)
    1000000000
    """
    found = DATE.fullmatch(text) or RFC850_DATE.fullmatch(text) or ASCTIME_DATE.fullmatch(text)
    if found is None:
        return None
    year, month = int(found["year"]), MONTHS.index(found["month"]) + 1
    second = int(found["second"])
    if len(found["year"]) == 2:
        this_year = datetime.fromtimestamp(now, UTC).year
        year += this_year - this_year % 100
        if year > this_year + 50:
            year -= 100
    leap = second == 60
    try:
        date = datetime(
            year, month, int(found["day"]), int(found["hour"]), int(found["minute"]),
            second - leap, tzinfo=UTC,
        )  # fmt: skip
    except ValueError:
        return None
    return int(date.timestamp()) + leap
