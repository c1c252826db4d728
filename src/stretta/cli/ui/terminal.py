"""What a terminal is, and when it gets colour."""

from __future__ import annotations

import os
import sys
from typing import TextIO

__all__ = ["is_terminal", "paint", "wants_colour"]

CODES = {
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "cyan": "36",
    "dim": "2",
    "bold": "1",
}


def is_terminal(stream: TextIO) -> bool:
    """Return whether a person watches this stream."""
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def wants_colour(stream: TextIO) -> bool:
    """Return whether this stream gets colour (NO_COLOR, FORCE_COLOR, TERM=dumb, --color)."""
    choice = next(
        (a.removeprefix("--color=") for a in sys.argv if a.startswith("--color=")), "auto"
    )
    if choice != "auto":
        return choice == "always"
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return is_terminal(stream) and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: str, stream: TextIO) -> str:
    """Return the text in a colour where the stream gets any."""
    return f"\x1b[{CODES[colour]}m{text}\x1b[0m" if wants_colour(stream) else text
