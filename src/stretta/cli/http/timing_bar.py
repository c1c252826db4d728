"""The phases of an exchange as a bar, as wide as the terminal. Pure."""

from __future__ import annotations

from collections.abc import Callable

from stretta.http.client.exchange_state import Phases

__all__ = ["NAMES", "durations", "timing_bar"]

NAMES = {
    "looked_up": ("name", "▁", "dim"),
    "connected": ("connect", "▒", "cyan"),
    "secured": ("TLS", "▓", "blue"),
    "sent": ("sent", "▏", "dim"),
    "first_byte": ("first byte", "░", "yellow"),
    "ended": ("transfer", "█", "green"),
}
"""The label, the glyph and the colour of each phase."""

MIN_WIDTH = 20
"""Columns below which no bar is drawn."""


def durations(phases: Phases) -> dict[str, float]:
    """Return the duration of each phase that took place, in seconds.

    >>> durations(Phases(connected=0.5, sent=0.5, first_byte=1.25, ended=1.5))
    {'connected': 0.5, 'sent': 0.0, 'first_byte': 0.75, 'ended': 0.25}
    """
    found, before = {}, 0.0
    for name in NAMES:
        end = getattr(phases, name)
        if end is not None:
            found[name] = max(0.0, end - before)
            before = max(before, end)
    return found


def timing_bar(
    phases: Phases, columns: int, paint: Callable[[str, str], str] = lambda text, _: text
) -> list[str]:
    """Return the lines of the bar: the phases in proportion, then their legend.

    ``paint`` colours a text.

    >>> phases = Phases(connected=0.001, sent=0.001, first_byte=0.009, ended=0.010)
    >>> print(*timing_bar(phases, 64), sep="\\n")
    ▒▒▒▒▒▒░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░██████
    ▒ connect 1.00 ms  ▏ sent 0.00 ms  ░ first byte 8.00 ms
    █ transfer 1.00 ms  total 10.0 ms
    """
    took = durations(phases)
    total = sum(took.values())
    width = columns - 1
    lines, line, used = [], "", 0
    if total > 0 and width >= MIN_WIDTH:
        lines.append(_bar(took, total, width, paint))
    legend = [(NAMES[name][1], f" {NAMES[name][0]} {_ms(time)}", NAMES[name][2])
              for name, time in took.items()]  # fmt: skip
    for glyph, words, colour in [*legend, ("", f"total {_ms(total)}", "bold")]:
        size = len(glyph) + len(words)
        if line and used + 2 + size > width:
            lines.append(line)
            line, used = "", 0
        line += ("  " if line else "") + (paint(glyph, colour) if glyph else "") + words
        used += size + (2 if used else 0)
    return [*lines, line]


def _bar(took: dict[str, float], total: float, width: int, paint: Callable[[str, str], str]) -> str:
    bar, before, drawn = "", 0.0, 0
    for name, time in took.items():
        before += time
        end = round(before / total * width)
        bar += paint(NAMES[name][1] * (end - drawn), NAMES[name][2]) if end > drawn else ""
        drawn = end
    return bar


def _ms(seconds: float) -> str:
    """Return a time with three significant digits: 0.12 ms, 12.3 ms, 1.23 s."""
    if seconds >= 1:
        return f"{seconds:.2f} s"
    ms = seconds * 1000
    return f"{ms:.2f} ms" if ms < 10 else f"{ms:.1f} ms" if ms < 100 else f"{ms:.0f} ms"
