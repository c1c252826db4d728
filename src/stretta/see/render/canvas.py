"""A row of cells with colours, and how rows become text."""

from __future__ import annotations

from enum import StrEnum

from stretta.see.render.labels import safe

__all__ = ["ASCII", "HARD", "Row", "Slope"]

CODES = {
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "cyan": "36",
    "dim": "2",
    "bold": "1",
}

ASCII = str.maketrans(
    {
        "│": "|", "┊": ":", "┌": "+", "└": "+", "─": "-", "╲": "\\", "╱": "/", "╳": "X",
        "▶": ">", "◀": "<", "×": "x", "…": "~", "⋮": ":", "→": ">", "←": "<", "·": ".",
    }
)  # fmt: skip
"""For terminals that have no more than ASCII; each sign for one sign."""


HARD = "\0"
"""A space that is part of some words: nothing is drawn through it."""


class Slope(StrEnum):
    """A piece of a slanted arrow."""

    DOWN = "╲"
    UP = "╱"
    BOTH = "╳"
    """Two arrows cross."""


class Row:
    """One line of the picture; the text that is written first stays."""

    def __init__(self, width: int) -> None:
        self.cells = [" "] * width
        self.colours = [""] * width
        self._slopes: dict[int, Slope] = {}

    def free(self, at: int, size: int) -> bool:
        """Return whether nothing is written there."""
        return all(cell == " " for cell in self.cells[max(0, at) : at + size])

    def write(self, at: int, text: str, colour: str = "", *, over: bool = False) -> None:
        """Write text from a column on; text that does not fit is left out.

        No control character gets into a cell: HARD is the only one that is understood.
        """
        safe_text = HARD.join(safe(part) for part in text.split(HARD))
        for place, cell in enumerate(safe_text, at):
            if 0 <= place < len(self.cells) and (over or self.cells[place] == " "):
                self.cells[place] = cell
                self.colours[place] = colour

    def slant(self, at: int, slope: Slope, colour: str) -> None:
        """Write a piece of a slanted arrow; where another one is, they cross."""
        before = self._slopes.get(at)
        if before is None and self.free(at, 1):
            self.write(at, slope, colour)
        elif before is not None and before is not slope:
            slope = Slope.BOTH
            self.write(at, slope, colour, over=True)
        else:
            return
        if 0 <= at < len(self.cells):
            self._slopes[at] = slope

    def text(self, *, colour: bool) -> str:
        """Return the row as text, without spaces at its end."""
        plain = "".join(self.cells).rstrip().replace(HARD, " ")
        if not colour:
            return plain
        parts: list[str] = []
        now = ""
        for cell, wanted in zip(plain, self.colours, strict=False):
            if wanted != now:
                if now:
                    parts.append("\x1b[0m")
                if wanted:
                    parts.append(f"\x1b[{CODES[wanted]}m")
                now = wanted
            parts.append(cell)
        return "".join(parts) + ("\x1b[0m" if now else "")
