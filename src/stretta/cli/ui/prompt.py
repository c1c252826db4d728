"""Prompts for a line."""

from __future__ import annotations

import sys

from stretta.cli.ui.gate import gate, is_terminal, write_stderr, write_stdout

__all__ = ["SENTENCE", "ask_line"]

SENTENCE = "Input lowercase sentence: "
"""The lecture's prompt."""


def ask_line(prompt: str, *, quiet: bool = False) -> str | None:
    """Return the line that was typed, without its end, or None at the end of the input (Ctrl-D).

    The prompt goes to stderr, or through readline, which gives editing and history, where stdin and
    stdout are terminals. ``quiet`` leaves it out.
    """
    if quiet:
        prompt = ""
    if sys.stdin.errors != "surrogateescape":  # cannot be changed after the first read
        sys.stdin.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]
    if is_terminal(sys.stdin) and is_terminal(sys.stdout):
        import readline  # noqa: F401, PLC0415 - input() edits lines once it is imported

        try:
            return input(gate(prompt))
        except EOFError:
            write_stdout("\n")  # the shell's prompt gets a line of its own
            return None
    write_stderr(prompt)
    line = sys.stdin.readline()
    return line.rstrip("\n") if line else None
