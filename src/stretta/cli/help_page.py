"""The help of a command as text, at the terminal's width."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Sequence

__all__ = ["NARROWEST", "WIDEST", "Section", "description", "section"]

NARROWEST, WIDEST = 40, 120
"""The columns that the help adapts to."""

TWO_COLUMNS = 60
"""The width from which explanations stand to the right of the options."""

FIRST_COLUMN = 32

Section = tuple[str, Sequence[tuple[str, str]]]


def description(text: str, width: int) -> str:
    r"""Return paragraphs filled to a width; one that begins with ``\b`` keeps its lines."""
    parts = []
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        lines = paragraph.strip().split("\n")
        if lines[0].strip() == "\b":
            parts.append("\n".join(one for line in lines[1:] for one in _example(line, width)))
        else:
            parts.append("\n".join(_fill(" ".join(line.strip() for line in lines), width)))
    return "\n\n".join(parts)


def section(title: str, rows: Sequence[tuple[str, str]], width: int) -> str:
    """Return a title and its rows: each an option, or a command, and what it is."""
    lines = [f"{title}:"]
    first = min(max(len(left) for left, _ in rows) + 4, FIRST_COLUMN)
    for left, right in rows:
        if width < TWO_COLUMNS:
            lines += [f"  {line}" for line in _fill(left, width - 2)]
            lines += [f"      {line}" for line in _fill(right, width - 6)]
            continue
        explained = _fill(right, width - first)
        if len(left) + 4 <= first:
            lines.append(f"  {left}".ljust(first) + explained.pop(0))
        else:
            lines.append(f"  {left}")
        lines += [" " * first + line for line in explained]
    return "\n".join(line.rstrip() for line in lines)


def _fill(text: str, width: int) -> list[str]:
    """Return the lines of a text; what stands in brackets stays on one line where it fits."""
    kept = re.sub(r"\[[^]]*\]", lambda found: found[0].replace(" ", "\xa0"), text)
    if max(map(len, kept.split(" "))) > width:
        kept = text
    lines = textwrap.wrap(kept, width, break_on_hyphens=False) or [""]
    return [line.replace("\xa0", " ") for line in lines]


def _example(line: str, width: int) -> list[str]:
    """Return a command of an example, continued with a backslash where it is too wide."""
    if len(line) <= width:
        return [line]
    indent = " " * (len(line) - len(line.lstrip()))
    lines, now = [], indent
    for word in _shell_words(line.strip()):
        if now.strip() and len(now) + len(word) + 3 > width:
            lines.append(f"{now} \\")
            now = f"{indent}  "
        now += word if not now.strip() else f" {word}"
    return [*lines, now]


def _shell_words(text: str) -> list[str]:
    """Return the words of a command, quoted ones in one piece with their quotes."""
    words: list[str] = []
    for word in text.split(" "):
        if words and words[-1].count("'") % 2:
            words[-1] += f" {word}"
        else:
            words.append(word)
    return words
