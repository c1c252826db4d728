"""Times and sizes as people write them: ``50ms``, ``1m30s``, ``64k``, ``10MB``, ``1GiB``. Pure.

Sizes follow the SI and IEC 80000-13: k, M, G and T are powers of 1000, Ki, Mi, Gi and Ti are powers
of 1024. A lower-case m, g or t, and a lower-case b (bits), are refused as ambiguous.
"""

from __future__ import annotations

import re

__all__ = ["SIZE_FORMS", "TIME_FORMS", "parse_size", "parse_time", "size_text", "time_text"]

TIME_FORMS = "seconds, or a number with ms, s, m, h or d: 5, 50ms, 2m, 1h30m"
"""The forms that ``parse_time`` accepts, for messages."""

SIZE_FORMS = (
    "bytes, or a number with k, M, G, T (powers of 1000) or Ki, Mi, Gi, Ti (powers of 1024),"
    " and B if you like: 5000, 64k, 10MB, 1GiB"
)
"""The forms that ``parse_size`` accepts, for messages."""

TIMES = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}
"""Seconds in each unit of time, the longest first."""

ALIASES = {"min": "m", "sec": "s", "μs": "µs"}  # the micro sign and the Greek letter look alike

SIZES = {
    "": 1, "k": 1000, "K": 1000, "M": 1000**2, "G": 1000**3, "T": 1000**4,
    "ki": 1024, "Ki": 1024, "Mi": 1024**2, "Gi": 1024**3, "Ti": 1024**4,
}  # fmt: skip
"""Bytes in each unit of size, without its B."""

# patterns, compiled when they are needed: a client's start needs none
_PLAIN = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?(?:inf(?:inity)?|nan)"
_PART = r"(\d+(?:\.\d+)?) ?([^\d\s.]+)"
_SIZE = r"(-?)(\d{1,30})(?:\.(\d{1,30}))? ?([a-zA-Z]*)"


def parse_time(text: str) -> float:
    """Return the seconds that ``text`` means. Raises ValueError, with the reason.

    A plain number is seconds; its range is not checked.

    >>> parse_time("5"), parse_time("50ms"), parse_time("1m30s"), parse_time("0.5h")
    (5.0, 0.05, 90.0, 1800.0)
    """
    text = text.strip()
    if re.fullmatch(_PLAIN, text, re.ASCII):
        return float(text)
    sign, parts = text[:1] == "-", text.removeprefix("-")
    total, at, units = 0.0, 0, list(TIMES)
    while found := re.match(_PART, parts[at:], re.ASCII):
        unit = ALIASES.get(found[2], found[2])
        if unit not in TIMES:
            raise ValueError(f"{found[2]!r} is not a unit of time")
        if unit not in units:
            raise ValueError("its units do not go from the longest to the shortest")
        units = units[units.index(unit) + 1 :]
        total += float(found[1]) * TIMES[unit]
        at += found.end()
    if not at or at < len(parts):
        raise ValueError("it is not a time")
    return -total if sign else total


def parse_size(text: str) -> int:
    """Return the bytes that ``text`` means. Raises ValueError, with the reason.

    A plain number is bytes; its range is not checked.

    >>> parse_size("64k"), parse_size("10MB"), parse_size("1GiB"), parse_size("1.5Ki")
    (64000, 10000000, 1073741824, 1536)
    """
    found = re.fullmatch(_SIZE, text.strip(), re.ASCII)
    if found is None:
        raise ValueError("it is not a size")
    sign, whole, fraction, unit = found[1], found[2], found[3] or "", found[4]
    if unit.endswith("b"):
        raise ValueError(f"the b of {unit!r} is a bit; a byte is B")
    factor = SIZES.get(unit.removesuffix("B"))
    if factor is None:
        raise ValueError(f"{unit!r} is not a unit of size")
    size, rest = divmod(int(whole + fraction) * factor, int("1" + "0" * len(fraction)))
    if rest:
        raise ValueError("it is not a whole number of bytes")
    return -size if sign else size


def time_text(seconds: float) -> str:
    """Return a time as people write it; ``parse_time`` reads it back.

    >>> time_text(0.05), time_text(10.0), time_text(300), time_text(90)
    ('50ms', '10s', '5m', '90s')
    """
    if 0 < seconds < 1 and (seconds * 1000).is_integer():
        return f"{seconds * 1000:.0f}ms"
    for unit in ("d", "h", "m"):
        if seconds and seconds % TIMES[unit] == 0:
            return f"{seconds / TIMES[unit]:.0f}{unit}"
    text = f"{seconds:.6f}".rstrip("0").rstrip(".")
    return f"{text}s" if float(text) == seconds else repr(seconds)


def size_text(size: int) -> str:
    """Return a size in the shortest exact form; ``parse_size`` reads it back.

    >>> size_text(500), size_text(65_536), size_text(1_048_576), size_text(10_000_000)
    ('500', '64KiB', '1MiB', '10MB')
    """
    for prefix in ("T", "G", "M"):
        if size and size % SIZES[prefix] == 0:
            return f"{size // SIZES[prefix]}{prefix}B"
    for prefix in ("Ti", "Gi", "Mi", "Ki"):
        if size and size % SIZES[prefix] == 0:
            return f"{size // SIZES[prefix]}{prefix}B"
    return str(size)
