"""Asking a person for a line."""

from __future__ import annotations

import sys

from stretta.cli.ui.terminal import is_terminal

__all__ = ["SENTENCE", "ask_line"]

SENTENCE = "Input lowercase sentence: "
"""The lecture's prompt."""


def ask_line(prompt: str, *, quiet: bool = False) -> str | None:
    """Return the line that was typed, without its end, or None at the end of the input (Ctrl-D).

    The prompt is talk: it goes to stderr unless stdout is the same terminal, where readline, which
    gives editing and history, puts it. ``quiet`` asks without it.
    """
    if quiet:
        prompt = ""
    if sys.stdin.errors != "surrogateescape":  # it cannot be changed after the first read
        sys.stdin.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]
    if is_terminal(sys.stdin) and is_terminal(sys.stdout):
        import readline  # noqa: F401, PLC0415 - input() edits lines once it is imported

        try:
            return input(prompt)
        except EOFError:
            print()  # noqa: T201 - the shell's prompt gets a line of its own
            return None
    print(prompt, end="", file=sys.stderr, flush=True)  # noqa: T201
    line = sys.stdin.readline()
    return line.rstrip("\n") if line else None
