"""The gate to the terminal: everything that the command prints passes through here.

Text is escaped: no control character of a peer, a file, a program or an argument reaches the
terminal. The colours that Stretta sets pass as marks that no peer can know.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Callable
from typing import NamedTuple, TextIO

from stretta.errors import OutputError
from stretta.escape import TerminalText, escape

__all__ = [
    "COLOURS", "Loggers", "colour_mark", "finish_output", "gate", "is_terminal", "keep_colours",
    "redraw_line", "use_loggers", "write_log", "write_stderr", "write_stdout",
]  # fmt: skip

COLOURS = {
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
    "dim": "2",
    "bold": "1",
}
"""The codes of the colours (ECMA-48, SGR)."""

_MARK = f"\ufdd0{os.urandom(8).hex()}:"  # random: text from outside cannot contain it


def colour_mark(text: str, colour: str) -> str:
    """Return the text between marks that ``gate`` turns into colour."""
    return f"{_MARK}{COLOURS[colour]}m{text}{_MARK}0m"


def keep_colours(text: str) -> str:
    """Return text with its colour sequences as marks; its other parts must be escaped already."""
    return re.sub(r"\x1b\[([\d;]*)m", lambda found: f"{_MARK}{found[1]}m", text)


def gate(text: str) -> str:
    """Return text that a terminal can be given: controls spelled out, Stretta's colours set."""
    if text.replace("\n", "").isprintable():
        return text
    if _MARK not in text:
        return escape(text)
    first, *rest = text.split(_MARK)
    parts = [escape(first)]
    for part in rest:
        code, _, shown = part.partition("m")
        parts.append(f"\x1b[{code}m{escape(shown)}")
    return "".join(parts)


class Loggers(NamedTuple):
    """Functions that write without blocking, and may raise OSError; ``finish`` writes the rest."""

    stdout: Callable[[str], object]
    stderr: Callable[[str], object]
    finish: Callable[[], object]


_loggers: list[Loggers] = []


def use_loggers(loggers: Loggers) -> None:
    """Write the messages and logs of a server through functions that do not block."""
    _loggers[:] = [loggers]


def finish_output() -> None:
    """Write the rest of a server's messages and logs, as far as somebody reads them in time."""
    for loggers in _loggers:
        loggers.finish()


def write_stderr(text: str) -> None:
    """Write text to stderr, in one piece: other processes may write to the same terminal.

    Raises OSError.
    """
    if _loggers:
        _loggers[0].stderr(gate(text))
    else:
        print(gate(text), end="", file=sys.stderr, flush=True)  # noqa: T201


def write_log(text: str) -> None:
    """Write lines of a log to stdout. Raises OSError or OutputError."""
    if not _loggers:
        write_stdout(text)
        return
    try:
        _loggers[0].stdout(gate(text))
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _output_error(error) from error


def redraw_line(text: str) -> None:
    """Write a line over the last one on stderr. Raises OSError."""
    print(f"\r{gate(text)}\x1b[K", end="", file=sys.stderr, flush=True)  # noqa: T201


_bytes_for_terminal = TerminalText()


def write_stdout(data: bytes | memoryview | str) -> None:
    """Write all of the data to stdout; repeats write(2) when it takes only a part.

    In a pipe or a file, bytes stay as they are; on a terminal, they are escaped as text is. Raises
    BrokenPipeError when the reader has closed the pipe, OutputError for any other reason.
    """
    if isinstance(data, str):
        data = gate(data).encode("utf-8", "backslashreplace")
    elif is_terminal(sys.stdout):
        data = _bytes_for_terminal.feed(data).encode()
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[os.write(1, rest) :]
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _output_error(error) from error


def _output_error(error: OSError) -> OutputError:
    closed = error.errno == errno.EBADF
    return OutputError(
        "cannot write the reply to standard output",
        "it is closed" if closed else os.strerror(error.errno or 0).lower(),
        "Part of the reply may have been written; make room, then run the command again.",
    )


def is_terminal(stream: TextIO) -> bool:
    """Return whether a stream is a terminal; a closed one is not."""
    try:
        return stream.isatty()
    except ValueError:  # it is closed
        return False
