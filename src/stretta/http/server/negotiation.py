"""Fields that list preferences: Accept and Accept-Encoding (RFC 9110 section 12.5). Pure."""

from __future__ import annotations

import re

__all__ = ["best_media_type", "parse_qualities"]

MAX_BYTES, MAX_ELEMENTS = 2048, 64
"""A longer field is ignored: browsers send less than 200 bytes, and parsing costs time."""

QUALITY = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?", re.ASCII)


def parse_qualities(field: str | None) -> dict[str, float]:
    """Return the quality (0 to 1) of each element of a field, in the field's order.

    Names are in lower case and without parameters. Elements that do not follow the grammar are left
    out; a field that is missing or too long gives an empty dictionary.

    >>> parse_qualities("text/html;level=1, */*;q=0.1, br;q=high")
    {'text/html': 1.0, '*/*': 0.1}
    """
    if not field or len(field) > MAX_BYTES or field.count(",") >= MAX_ELEMENTS:
        return {}
    qualities: dict[str, float] = {}
    for element in field.lower().split(","):
        name, *parameters = element.split(";", 3)
        quality = "1"
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip(" \t") == "q":
                quality = value.strip(" \t")
        name = name.strip(" \t")
        if name and QUALITY.fullmatch(quality):
            qualities.setdefault(name, float(quality))
    return qualities


def best_media_type(accept: str | None, *offered: str) -> str:
    """Return the offered media type that an Accept field prefers, the first one by default.

    The most specific range decides about a type (RFC 9110 section 12.5.1). Of equally preferred
    types the one that is named more precisely wins, then the one offered first.

    >>> best_media_type("application/json, */*;q=0.1", "text/html", "application/json")
    'application/json'
    >>> best_media_type("image/png", "text/html", "text/plain")
    'text/html'
    """
    if not accept or accept == "*/*":
        return offered[0]
    qualities = parse_qualities(accept)
    best, best_rank = offered[0], (0.0, 0)
    for media_type in offered:
        ranges = ("*/*", media_type.partition("/")[0] + "/*", media_type)
        named = [precision for precision, name in enumerate(ranges) if name in qualities]
        if named:
            rank = qualities[ranges[named[-1]]], named[-1]
            if rank[0] and rank > best_rank:
                best, best_rank = media_type, rank
    return best
