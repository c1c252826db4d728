"""The progress of a long transfer: one line on stderr that is rewritten."""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from collections.abc import Callable

from stretta.cli.ui.gate import is_terminal, redraw_line

__all__ = ["Progress", "human_size", "progress_line"]

AFTER = 0.7
"""Seconds before the line appears: a short transfer shows none."""

EVERY = 0.1
"""Seconds between two updates."""


def human_size(size: float) -> str:
    """Return a number of bytes as people read it.

    >>> human_size(999), human_size(4096), human_size(3 << 30)
    ('999 B', '4.0 KiB', '3.0 GiB')
    """
    if size < 1000:
        return f"{size:.0f} B"
    units = ["GiB", "MiB", "KiB"]
    size, unit = size / 1024, units.pop()
    while size >= 1000 and units:
        size, unit = size / 1024, units.pop()
    return f"{size:.1f} {unit}" if size < 100 else f"{size:.0f} {unit}"


def progress_line(done: int, total: int | None, rate: float, columns: int) -> str:
    """Return the line for ``done`` of ``total`` bytes at ``rate`` bytes a second.

    >>> progress_line(512 << 20, 1 << 30, 64 << 20, 80)
    ' 50%  512 MiB of 1.0 GiB  64.0 MiB/s  0:08 left'
    """
    line = f"{human_size(done)}  {human_size(rate)}/s"
    if total:
        left = int((total - done) / rate + 0.5) if rate > 0 else 0
        line = (
            f"{done * 100 // total:3d}%  {human_size(done)} of {human_size(total)}"
            f"  {human_size(rate)}/s  {left // 60}:{left % 60:02d} left"
        )
    return line[: max(0, columns - 1)]


class Progress:
    """The progress line of one transfer, shown only where stderr is a terminal.

    ``done`` bytes were there before, of ``total`` (None if unknown).
    """

    def __init__(
        self,
        total: int | None,
        done: int = 0,
        *,
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total = total
        self._first = done
        self._clock = clock
        self._began = clock()
        self._next = self._began + AFTER
        self._shown = is_terminal(sys.stderr) and not quiet
        self._drawn = False

    def show(self, done: int) -> None:
        """Show that ``done`` bytes have arrived."""
        if not self._shown:
            return
        now = self._clock()
        if now >= self._next:
            self._next = now + EVERY
            rate = (done - self._first) / (now - self._began)
            self._write(progress_line(done, self.total, rate, shutil.get_terminal_size().columns))
            self._drawn = True

    def end(self) -> None:
        """Erase the line."""
        if self._drawn:
            self._write("")

    def _write(self, line: str) -> None:
        with contextlib.suppress(OSError):
            redraw_line(line)
