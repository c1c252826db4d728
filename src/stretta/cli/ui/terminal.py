"""Terminals and colours."""

from __future__ import annotations

import os
from typing import TextIO

from stretta.cli.ui.settings import SETTINGS

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
    """Return whether a stream is a terminal; a closed one is not."""
    try:
        return stream.isatty()
    except ValueError:  # it is closed
        return False


def wants_colour(stream: TextIO) -> bool:
    """Return whether output to a stream is coloured (--color, NO_COLOR, FORCE_COLOR, TERM)."""
    if SETTINGS.color in {"always", "never"}:
        return SETTINGS.color == "always"
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return is_terminal(stream) and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: str, stream: TextIO) -> str:
    """Return the text in a colour, where output to the stream is coloured."""
    return f"\x1b[{CODES[colour]}m{text}\x1b[0m" if wants_colour(stream) else text
