"""Check the options of a site and turn them into the values that the handlers use."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from stretta.errors import UsageError
from stretta.http.server.request import Refused
from stretta.http.server.request_target import parse_target
from stretta.options import SiteOptions

__all__ = ["extra_headers", "parse_base_path", "parse_index"]

HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e\xa0-\xff\t]*)")
"""A header line (RFC 9110 sections 5.1 and 5.5)."""

FRAMING_HEADERS = {"connection", "content-length", "date", "transfer-encoding"}
"""Headers that the server writes itself; another value would break the framing of the response."""


def parse_base_path(path: str) -> tuple[bytes, ...]:
    """Return the segments of the path under which the folder appears. Raises UsageError."""
    why = ""
    if not path.startswith("/"):
        why = "it does not begin with /"
    elif "?" in path:
        why = "a question mark ends a path"
    else:
        try:
            return parse_target(os.fsencode(path)).names
        except Refused as refused:
            why = refused.why.rstrip(".")
    raise UsageError(f"cannot serve under {path!r}", why, "As in: --base-path /files/")


def parse_index(names: Iterable[str]) -> list[bytes]:
    """Return the names that a folder's index file may have. Raises UsageError."""
    for name in names:
        if "/" in name or name in ("", ".", ".."):
            raise UsageError(
                f"{name!r} cannot stand for a folder",
                "it is not a file name",
                "As in: --index index.html",
            )
    return [os.fsencode(name) for name in names]


def extra_headers(options: SiteOptions) -> list[tuple[str, str]]:
    """Return the headers that every response carries. Raises UsageError for an invalid one.

    A header given with ``--header`` replaces the server's own of the same name.
    """
    defaults = [("X-Content-Type-Options", "nosniff")]
    if options.cors:
        defaults.append(("Access-Control-Allow-Origin", "*"))
        defaults.append(("Access-Control-Expose-Headers", "*"))
    given = []
    for line in options.header:
        found = HEADER.fullmatch(line)
        if found is None or found[1].lower() in FRAMING_HEADERS:
            why = (
                "the server writes that header itself"
                if found
                else "it does not have the form Name: value"
            )
            raise UsageError(
                f"cannot add the header {line!r}", why, "As in: --header 'X-Frame-Options: DENY'"
            )
        given.append((found[1], found[2].rstrip()))
    replaced = {name.lower() for name, _ in given}
    return [pair for pair in defaults if pair[0].lower() not in replaced] + given
