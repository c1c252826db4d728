"""Parser of the fault syntax: percentages, times, rates, and frames by kind (docs/lab.md). Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from dataclasses import dataclass

from stretta.errors import UsageError
from stretta.escape import escape_line
from stretta.options.units import TIMES

__all__ = [
    "KINDS",
    "TWO_WAYS",
    "Direction",
    "FrameSelector",
    "parse_frame_selector",
    "parse_interval",
    "parse_percentage",
    "parse_rate",
    "parse_time",
    "split_direction",
]

KINDS = {
    "any": "every frame",
    "tcp": "every TCP segment",
    "syn": "a SYN without ACK",
    "syn-ack": "a SYN with ACK",
    "ack": "a segment that only acknowledges",
    "data": "a segment with payload",
    "fin": "a segment with FIN",
    "rst": "a segment with RST",
    "udp": "a UDP datagram (its first fragment, if it has several)",
    "fragment": "one fragment of an IP datagram",
    "icmp": "an ICMP or ICMPv6 message",
}
"""The kinds of frames, by name."""

Direction = tuple[str, str]
"""The names of the sending and of the receiving host."""

TWO_WAYS: tuple[Direction, ...] = (("client", "server"), ("server", "client"))
"""The directions of the default topology."""

TIME_UNITS = {"": 10**9, **{unit: round(seconds * 1e9) for unit, seconds in TIMES.items()}}
RATE_UNITS = {
    "": 1, "bit": 1, "kbit": 10**3, "mbit": 10**6, "Mbit": 10**6, "gbit": 10**9, "Gbit": 10**9,
}  # fmt: skip

LARGEST = 10**18
"""Largest number of nanoseconds (31 years), bits a second, or ordinal that is accepted."""


@dataclass(frozen=True, slots=True)
class FrameSelector:
    """Selects frames: the nth ones of a kind, in one direction or in all (None).

    ``ranges`` hold ordinals from 1, both ends included; an end of None means "and all after".
    """

    kind: str
    direction: Direction | None = None
    ranges: tuple[tuple[int, int | None], ...] = ((1, None),)

    def matches(self, ordinal: int) -> bool:
        """Return whether the frame with this ordinal (from 1) is selected."""
        return any(a <= ordinal and (b is None or ordinal <= b) for a, b in self.ranges)


def syntax_error(option: str, text: str, start: int, end: int, why: str) -> UsageError:
    """Return the error for ``text[start:end]``, with a caret under that part as its notes."""
    before, part, after = map(escape_line, (text[:start], text[start:end], text[end:]))
    error = UsageError(f"cannot understand --{option} {text!r}", why)
    error.add_note(f"  {before}{part}{after}")
    error.add_note(f"  {' ' * len(before)}{'^' * max(1, len(part))}")
    return error


def split_direction(
    option: str, text: str, directions: Collection[Direction] = TWO_WAYS
) -> tuple[Direction | None, int]:
    """Return the direction that the text begins with (None: all) and where the rest starts.

    Raises UsageError for a direction that is not one of ``directions``.
    """
    found = re.match(r"\s*([^\s>]*)\s*>\s*([^\s:]*)[\s:]*", text)
    if found is None:
        return None, len(text) - len(text.lstrip())
    direction = found[1], found[2]
    if direction not in directions:
        known = [f"{sender}>{receiver}" for sender, receiver in directions]
        listed = " or ".join((", ".join(known[:-1]), known[-1]) if known[1:] else known)
        raise syntax_error(
            option, text, found.start(1), found.end(2), f"a direction is {listed}"
        )  # fmt: skip
    return direction, found.end()


def _number(option: str, text: str, start: int, units: dict[str, int], example: str) -> int:
    rest = text[start:].rstrip()
    found = re.match(r"[0-9]+(?:\.[0-9]+)?", rest)
    if found is None:
        raise syntax_error(
            option, text, start, len(text), f"a number is missing here, as in {example}"
        )
    at = start + found.end()
    unit = rest[found.end() :].strip()
    if unit not in units:
        known = ", ".join(filter(None, units))
        raise syntax_error(
            option, text, at, len(text), f"the unit is one of {known}, as in {example}"
        )
    value = float(found[0]) * units[unit]
    if value > LARGEST:
        raise syntax_error(option, text, start, at, "this number is too large")
    return round(value)


def parse_time(option: str, text: str, start: int = 0) -> int:
    """Return the nanoseconds of a time such as ``50ms``, ``2s``, ``300us``. Raises UsageError.

    A number without a unit is seconds.

    >>> parse_time("delay", "50ms")
    50000000
    """
    return _number(option, text, start, TIME_UNITS, "50ms")


def parse_rate(option: str, text: str, start: int = 0) -> int:
    """Return the bits a second of a rate such as ``1mbit``. Raises UsageError.

    A number without a unit is bits a second.

    >>> parse_rate("rate", "1.5mbit")
    1500000
    """
    rate = _number(option, text, start, RATE_UNITS, "1mbit")
    if rate < 1:
        raise syntax_error(
            option, text, start, len(text), "a wire that carries nothing is --cut 0s"
        )
    return rate


def parse_percentage(option: str, text: str, start: int = 0) -> float:
    """Return the probability, from 0 to 1, of a percentage such as ``10%``. Raises UsageError.

    >>> parse_percentage("loss", "2.5%")
    0.025
    """
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*%", text[start:].strip())
    if found is None or float(found[1]) > 100:
        raise syntax_error(
            option, text, start, len(text), "a percentage is from 0% to 100%, as in 10%"
        )
    return float(found[1]) / 100


def parse_interval(option: str, text: str, start: int = 0) -> tuple[int, int | None]:
    """Return the begin and the end of an interval, in nanoseconds; no end is None.

    Raises UsageError.

    >>> parse_interval("cut", "1s-2.5s"), parse_interval("cut", "3s")
    ((1000000000, 2500000000), (3000000000, None))
    """
    first, dash, _ = text[start:].partition("-")
    begin = parse_time(option, text[: start + len(first)], start)
    if not dash:
        return begin, None
    at = start + len(first) + 1
    end = parse_time(option, text, at)
    if end <= begin:
        raise syntax_error(option, text, at, len(text), "the interval ends before it begins")
    return begin, end


def parse_frame_selector(
    option: str, text: str, start: int = 0, direction: Direction | None = None
) -> FrameSelector:
    """Return the selector for ``syn-ack:1``, ``data:2-4,7`` or ``udp`` (every UDP datagram).

    Raises UsageError.

    >>> parse_frame_selector("drop", "data:2-4,7").ranges
    ((2, 4), (7, 7))
    """
    kind, colon, ordinals = text[start:].partition(":")
    name = kind.strip().lower()
    if name not in KINDS:
        close = difflib.get_close_matches(name, KINDS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(KINDS)}"
        raise syntax_error(
            option, text, start, start + len(kind), f"there is no frame called {name!r}; {hint}"
        )
    if not colon:
        return FrameSelector(name, direction)
    ranges = []
    at = start + len(kind) + 1
    for part in ordinals.split(","):
        found = re.fullmatch(r"\s*([0-9]{1,18})\s*(?:(-)\s*([0-9]{0,18})\s*)?", part)
        if found is None or int(found[1]) < 1:
            raise syntax_error(
                option, text, at, at + len(part),
                "the ordinals after the colon count from 1, as in 3, 2-4, or 5- (5 and all after)",
            )  # fmt: skip
        first = int(found[1])
        last = first if not found[2] else int(found[3]) if found[3] else None
        if last is not None and last < first:
            raise syntax_error(option, text, at, at + len(part), "the range ends before it begins")
        ranges.append((first, last))
        at += len(part) + 1
    return FrameSelector(name, direction, tuple(ranges))
