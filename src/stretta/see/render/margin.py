"""Where the explanations of a terminal's picture stand: at its margin, or below it."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence

__all__ = ["below", "with_margin", "with_references"]

References = Mapping[int, Sequence[int]]
"""The numbers of explanations, from 1, by rows."""


def with_references(texts: list[str], references: References, columns: int) -> list[str]:
    """Put the explanations' numbers beside their rows, one a row."""
    waiting: list[int] = []
    lines: list[str] = []
    for number, text in enumerate(texts):
        waiting += references.get(number, ())
        mark = f" [{waiting.pop(0)}]" if waiting else ""
        lines.append(f"{_padded(text, columns)}{mark}".rstrip())
    return lines + [f"{' ' * columns} [{rest}]" for rest in waiting]


def below(notes: list[str], width: int) -> list[str]:
    """Return the explanations in lines, for below the picture."""
    lines: list[str] = []
    for note in notes:
        indent = " " * (note.index("]") + 2)
        lines += textwrap.wrap(note, width, subsequent_indent=indent, break_on_hyphens=False)
    return lines


def with_margin(
    texts: list[str], references: References, notes: list[str], columns: int, width: int
) -> list[str]:
    """Put each explanation beside its row, or as soon below as there is room."""
    waiting: list[str] = []
    lines: list[str] = []
    for number, text in enumerate(texts):
        for ref in references.get(number, ()):
            waiting += textwrap.wrap(
                notes[ref - 1],
                width - columns - 3,
                subsequent_indent="    ",
                break_on_hyphens=False,
            )
        margin = waiting.pop(0) if waiting else ""
        lines.append(f"{_padded(text, columns)}   {margin}".rstrip())
    return lines + [f"{' ' * columns}   {rest}" for rest in waiting]


def _padded(text: str, width: int) -> str:
    return text + " " * (width - len(re.sub(r"\x1b\[\d*m", "", text)))
