"""The small language of faults: shares, times, rates, and frames by name (docs/lab.md)."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from stretta.errors import UsageError

__all__ = [
    "KINDS",
    "Frames",
    "parse_frames",
    "parse_rate",
    "parse_share",
    "parse_span",
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
"""The kinds of frames that have a name."""

DIRECTIONS = {"client>server": 0, "server>client": 1}
TIME_UNITS = {"us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
RATE_UNITS = {"bit": 1, "kbit": 1_000, "mbit": 1_000_000, "gbit": 1_000_000_000}


@dataclass(frozen=True, slots=True)
class Frames:
    """The frames that a fault is for: the nth of a kind, in one direction (0, 1) or both (None).

    ``ranges`` are of ordinals from 1, the last one included; None as an end is "and all after".
    """

    kind: str
    direction: int | None = None
    ranges: tuple[tuple[int, int | None], ...] = ((1, None),)

    def has(self, ordinal: int) -> bool:
        """Return whether the fault is for the frame of this ordinal (from 1)."""
        return any(a <= ordinal and (b is None or ordinal <= b) for a, b in self.ranges)


def mistake(option: str, text: str, start: int, end: int, why: str) -> UsageError:
    """Return the error for a part of what an option was given, with a caret under that part."""
    error = UsageError(f"cannot understand --{option} {text!r}", why)
    error.add_note(f"  {text}")
    error.add_note(f"  {' ' * start}{'^' * max(1, end - start)}")
    return error


def split_direction(option: str, text: str) -> tuple[int | None, int]:
    """Return the direction that the text begins with (None: both) and where the rest starts."""
    found = re.match(r"\s*([^\s>]*)\s*>\s*([^\s:]*)[\s:]*", text)
    if found is None:
        return None, len(text) - len(text.lstrip())
    name = f"{found[1]}>{found[2]}"
    if name not in DIRECTIONS:
        raise mistake(
            option, text, found.start(1), found.end(2),
            "a direction is client>server or server>client",
        )  # fmt: skip
    return DIRECTIONS[name], found.end()


def _number(option: str, text: str, start: int, units: dict[str, int], example: str) -> int:
    rest = text[start:].rstrip()
    found = re.match(r"\d+(?:\.\d+)?", rest)
    if found is None:
        raise mistake(option, text, start, len(text), f"a number is missing here, as in {example}")
    unit = rest[found.end() :].strip().lower()
    if unit not in units:
        known = ", ".join(units)
        at = start + found.end()
        raise mistake(option, text, at, len(text), f"the unit is one of {known}, as in {example}")
    return round(float(found[0]) * units[unit])


def parse_time(option: str, text: str, start: int = 0) -> int:
    """Return the nanoseconds that ``50ms``, ``2s`` or ``300us`` are. Raises UsageError.

    >>> parse_time("delay", "50ms")
    50000000
    """
    return _number(option, text, start, TIME_UNITS, "50ms")


def parse_rate(option: str, text: str, start: int = 0) -> int:
    """Return the bits a second that ``1mbit`` is. Raises UsageError.

    >>> parse_rate("rate", "1.5mbit")
    1500000
    """
    rate = _number(option, text, start, RATE_UNITS, "1mbit")
    if rate < 1:
        raise mistake(option, text, start, len(text), "a wire that carries nothing is --cut 0s")
    return rate


def parse_share(option: str, text: str, start: int = 0) -> float:
    """Return the share, from 0 to 1, that ``10%`` is. Raises UsageError.

    >>> parse_share("loss", "2.5%")
    0.025
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", text[start:].strip())
    if found is None or float(found[1]) > 100:
        raise mistake(option, text, start, len(text), "a share is from 0% to 100%, as in 10%")
    return float(found[1]) / 100


def parse_span(option: str, text: str, start: int = 0) -> tuple[int, int | None]:
    """Return when something begins and ends, in nanoseconds; None is never. Raises UsageError.

    >>> parse_span("cut", "1s-2.5s"), parse_span("cut", "3s")
    ((1000000000, 2500000000), (3000000000, None))
    """
    first, dash, _ = text[start:].partition("-")
    begin = parse_time(option, text[: start + len(first)], start)
    if not dash:
        return begin, None
    at = start + len(first) + 1
    end = parse_time(option, text, at)
    if end <= begin:
        raise mistake(option, text, at, len(text), "it ends before it begins")
    return begin, end


def parse_frames(option: str, text: str, start: int = 0, direction: int | None = None) -> Frames:
    """Return the frames that ``syn-ack:1``, ``data:2-4,7`` or ``udp`` (all of them) name.

    Raises UsageError, with a caret under the mistake.

    >>> parse_frames("drop", "data:2-4,7").ranges
    ((2, 4), (7, 7))
    """
    kind, colon, ordinals = text[start:].partition(":")
    name = kind.strip().lower()
    if name not in KINDS:
        close = difflib.get_close_matches(name, KINDS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(KINDS)}"
        raise mistake(
            option, text, start, start + len(kind), f"there is no frame called {name!r}; {hint}"
        )
    if not colon:
        return Frames(name, direction)
    ranges = []
    at = start + len(kind) + 1
    for part in ordinals.split(","):
        found = re.fullmatch(r"\s*(\d+)\s*(?:(-)\s*(\d*)\s*)?", part)
        if found is None or int(found[1]) < 1:
            raise mistake(
                option, text, at, at + len(part),
                "after the colon comes which one, counted from 1: 3, or 2-4, or 5- and all after",
            )  # fmt: skip
        first = int(found[1])
        last = first if not found[2] else int(found[3]) if found[3] else None
        if last is not None and last < first:
            raise mistake(option, text, at, at + len(part), "it ends before it begins")
        ranges.append((first, last))
        at += len(part) + 1
    return Frames(name, direction, tuple(ranges))
