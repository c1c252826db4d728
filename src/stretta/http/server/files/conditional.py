"""Conditional requests (RFC 9110 section 13): is what the client has still right? Pure.

Werkzeug reads the grammar of entity tags and dates.
"""

from __future__ import annotations

from collections.abc import Mapping

from werkzeug.http import parse_date, parse_etags, parse_if_range_header

__all__ = ["evaluate_preconditions", "range_applies"]


def evaluate_preconditions(headers: Mapping[str, str], etag: str, modified: float | None) -> int:
    """Return the status that the conditions of a GET or HEAD give: 200, 304 or 412.

    ``etag`` is the current representation's, strong and without its quotes; ``modified`` its time
    in seconds, None if it has none. The order is that of RFC 9110 section 13.2.2.
    """
    if_match = headers.get("if-match")
    if if_match is not None:
        tags = parse_etags(if_match)
        if not (tags.star_tag or tags.is_strong(etag)):
            return 412
    elif _is_newer(modified, headers.get("if-unmodified-since")):
        return 412
    if_none_match = headers.get("if-none-match")
    if if_none_match is not None:
        tags = parse_etags(if_none_match)
        return 304 if tags.star_tag or tags.contains_weak(etag) else 200
    return 304 if _is_newer(modified, headers.get("if-modified-since")) is False else 200


def range_applies(headers: Mapping[str, str], etag: str, modified: float, now: float) -> bool:
    """Return whether a Range header is to be obeyed (RFC 9110 section 13.1.5).

    A weak tag never matches; a date matches only exactly, and only once its second is over: until
    then the file can change and keep it (section 8.8.2.2).
    """
    if_range = headers.get("if-range")
    if if_range is None:
        return True
    if if_range.startswith(("W/", "w/")):
        return False
    found = parse_if_range_header(if_range)
    if found.date is not None:
        return found.date.timestamp() == int(modified) < int(now)
    return found.etag == etag and if_range.startswith('"')


def _is_newer(modified: float | None, since: str | None) -> bool | None:
    """Return whether something has changed since a date, None when either is not known."""
    date = parse_date(since)
    return None if date is None or modified is None else int(modified) > date.timestamp()
