"""Terminals and colours."""

from __future__ import annotations

import os
from typing import TextIO

from stretta.cli.ui.gate import colour_mark, is_terminal
from stretta.cli.ui.settings import SETTINGS

__all__ = ["is_terminal", "paint", "wants_colour"]


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
    return colour_mark(text, colour) if wants_colour(stream) else text
