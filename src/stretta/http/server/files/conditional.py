"""Conditional requests (RFC 9110 section 13). Pure.

The client's validators are compared with the entity tag and the modification time of the selected
representation. A condition that does not follow the grammar counts as absent.
"""

from __future__ import annotations

from collections.abc import Mapping

from stretta.http.server.files.http_date import parse_http_date

__all__ = ["evaluate_preconditions", "range_applies"]


def evaluate_preconditions(
    headers: Mapping[str, str], etag: str, modified: int | None, now: float
) -> int:
    """Return the status that the conditions of a GET or HEAD lead to: 200, 304 or 412.

    ``etag`` is the strong entity tag without its quotes. ``modified`` is the modification time and
    ``now`` the time of the request, in seconds since 1970; ``modified`` is None for a
    representation without one. The order is that of RFC 9110 section 13.2.2.
    """
    if_match = headers.get("if-match")
    if if_match is not None:
        if not _lists(if_match, etag, weakly=False):
            return 412
    elif _is_newer(modified, headers.get("if-unmodified-since"), now):
        return 412
    if_none_match = headers.get("if-none-match")
    if if_none_match is not None:
        return 304 if _lists(if_none_match, etag, weakly=True) else 200
    return 304 if _is_newer(modified, headers.get("if-modified-since"), now) is False else 200


def range_applies(headers: Mapping[str, str], etag: str, modified: int, now: float) -> bool:
    """Return whether the If-Range field, if any, lets the Range field apply (section 13.1.5).

    A weak entity tag never matches. A date matches only exactly, and only when its second is over:
    before that, the file can change and keep the date (section 8.8.2.2).
    """
    if_range = headers.get("if-range")
    if if_range is None:
        return True
    if if_range.startswith('"'):
        return if_range == f'"{etag}"'
    return parse_http_date(if_range, now) == modified < int(now)


def _lists(field: str, etag: str, *, weakly: bool) -> bool:
    """Return whether a field is ``*`` or lists an entity tag.

    The weak comparison accepts the tag with ``W/`` in front (section 8.8.3.2). An opaque tag holds
    no quotation mark, so a search for the quoted tag is enough.
    """
    if field.strip(" \t") == "*":
        return True
    quoted = f'"{etag}"'
    at = field.find(quoted)
    while at >= 0:
        if weakly or not field.endswith("W/", 0, at):
            return True
        at = field.find(quoted, at + 1)
    return False


def _is_newer(modified: int | None, since: str | None, now: float) -> bool | None:
    """Return whether the file changed after a date; None when either time is unknown."""
    if modified is None or since is None:
        return None
    date = parse_http_date(since, now)
    return None if date is None else modified > date
