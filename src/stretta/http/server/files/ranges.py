"""Ranges: which bytes of a file a request wants (RFC 9110 section 14). Pure."""

from __future__ import annotations

import re

__all__ = ["RangeNotSatisfiable", "parse_ranges"]

MOST_RANGES = 16
"""More in one request are a mistake or an attack: the whole file costs less."""

BYTES = re.compile(r"bytes\s*=(.*)", re.IGNORECASE | re.DOTALL)

# Libraries' parsers turn away ranges that are not in ascending order, which the grammar allows
SPEC = re.compile(r"[ \t]*(?:([0-9]+)-([0-9]*)|-([0-9]+))[ \t]*", re.ASCII)


class RangeNotSatisfiable(ValueError):
    """None of the ranges lies in the file, or what was sent is no range at all."""


def parse_ranges(header: str, size: int) -> list[range] | None:
    """Return the stretches of a file of ``size`` bytes that a Range header asks for, in its order.

    None means the whole file: the unit is not known, or so much is asked for that the whole is
    cheaper. Raises RangeNotSatisfiable.

    >>> parse_ranges("bytes=0-3, -2", 10)
    [range(0, 4), range(8, 10)]
    >>> parse_ranges("lines=1-2", 10) is None
    True
    """
    unit = BYTES.fullmatch(header)
    if unit is None:
        return None
    specs = [spec for spec in unit[1].split(",") if spec.strip(" \t")]
    if not specs:
        raise RangeNotSatisfiable(header)
    if len(specs) > MOST_RANGES:
        return None
    found = []
    for spec in specs:
        one = _parse_one(spec, size)
        if one:
            found.append(one)
    if not found:
        raise RangeNotSatisfiable(header)
    if sum(map(len, found)) > size:
        return None
    return found


def _parse_one(spec: str, size: int) -> range:
    found = SPEC.fullmatch(spec)
    if found is None:
        raise RangeNotSatisfiable(spec)
    first, last, suffix = found.groups()
    # int() takes quadratic time for endless digits; beyond 18 they are past the end of any file
    if suffix is not None:
        return range(size - min(_number(suffix), size), size)
    start = _number(first)
    end = _number(last) if last else size
    if last and end < start:
        raise RangeNotSatisfiable(spec)
    return range(min(start, size), min(end + 1, size))


def _number(digits: str) -> int:
    return int(digits) if len(digits) <= 18 else 10**18
