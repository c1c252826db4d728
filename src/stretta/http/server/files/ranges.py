"""Byte ranges: which bytes of a file a Range field asks for (RFC 9110 section 14). Pure."""

from __future__ import annotations

import re

__all__ = ["RangeNotSatisfiable", "parse_ranges"]

MAX_RANGES = 16
"""Most ranges of one request. More are a mistake or an attack; the whole file costs less."""

BYTES_UNIT = re.compile(r"bytes\s*=(.*)", re.IGNORECASE | re.DOTALL)

# common libraries reject ranges that are not in ascending order, which the grammar allows
RANGE = re.compile(r"[ \t]*(?:([0-9]+)-([0-9]*)|-([0-9]+))[ \t]*", re.ASCII)

LONGEST_NUMBER = 18
"""Decimal digits; a longer number is past the end of any file, and int() takes quadratic time."""


class RangeNotSatisfiable(ValueError):
    """No range lies within the file, or the field does not follow the grammar."""


def parse_ranges(field: str, size: int) -> list[range] | None:
    """Return the byte ranges that a Range field selects from a file of ``size`` bytes, in order.

    Return None when the whole file is the answer: the unit is not bytes, there are too many ranges,
    or they add up to more than the file. Raises RangeNotSatisfiable.

    >>> parse_ranges("bytes=0-3, -2", 10)
    [range(0, 4), range(8, 10)]
    >>> parse_ranges("lines=1-2", 10) is None
    True
    """
    unit = BYTES_UNIT.fullmatch(field)
    if unit is None or unit[1].count(",") > 2 * MAX_RANGES:
        return None
    specs = [spec for spec in unit[1].split(",") if spec.strip(" \t")]
    if not specs:
        raise RangeNotSatisfiable(field)
    if len(specs) > MAX_RANGES:
        return None
    ranges = [found for spec in specs if (found := _parse_range(spec, size))]
    if not ranges:
        raise RangeNotSatisfiable(field)
    if sum(map(len, ranges)) > size:
        return None
    return ranges


def _parse_range(spec: str, size: int) -> range:
    """Return one range, clipped to the file. Raises RangeNotSatisfiable."""
    found = RANGE.fullmatch(spec)
    if found is None:
        raise RangeNotSatisfiable(spec)
    first, last, suffix = found.groups()
    if suffix is not None:
        return range(size - min(_number(suffix), size), size)
    start = _number(first)
    end = _number(last) if last else size
    if last and end < start:
        raise RangeNotSatisfiable(spec)
    return range(min(start, size), min(end + 1, size))


def _number(digits: str) -> int:
    return int(digits) if len(digits) <= LONGEST_NUMBER else 10**LONGEST_NUMBER
