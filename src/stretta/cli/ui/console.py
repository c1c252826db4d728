"""The console of a command: messages on stderr, data on stdout, or both as JSON lines on stdout."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

from stretta.cli.ui.gate import write_log, write_stderr, write_stdout
from stretta.cli.ui.settings import SETTINGS
from stretta.cli.ui.terminal import is_terminal, paint
from stretta.errors import OutputError
from stretta.escape import escape_json, escape_line
from stretta.reports import Observer, Report

__all__ = ["Console", "print_error", "print_traceback", "stdout_is_terminal", "write_stdout"]


class Console:
    """Prints what one command reports; an instance is called with each report."""

    def __init__(self, *, quiet: bool, as_json: bool) -> None:
        self.quiet, self.as_json = quiet, as_json
        self._log_closed = False

    def __call__(self, report: Report) -> None:
        """Print a report as its line, or as a JSON object; an unwritable log raises nothing."""
        if not self.as_json:
            self.print_message(str(report))
        else:
            self.write_log(_line(report.as_json()))

    def write_log(self, lines: str) -> None:
        """Write log lines to stdout; the first failure is printed, later lines are dropped."""
        if not self._log_closed:
            try:
                write_log(lines)
            except (OSError, OutputError) as error:
                self._log_closed = True
                why = getattr(error, "why", "") or "its reader has closed it"
                print_error(
                    OutputError("cannot write to standard output", why, "Continuing without it.")
                )

    @property
    def watch(self) -> Observer | None:
        """Return the ``watch`` argument of a library call: None when nothing would be printed."""
        return self if self.as_json or not self.quiet else None

    def print_message(self, line: str, end: str = "\n") -> None:
        """Print one message on stderr, or with another ``end`` the beginning of one."""
        if self.quiet or self.as_json:
            return
        try:
            write_stderr(f"{line}{end}")
        except OSError:  # stderr is closed; the conversation continues
            self.quiet = True

    def write_json(self, fields: dict[str, Any]) -> None:
        """Write one JSON object to stdout. Raises OutputError."""
        write_stdout(_line(fields))

    def write_reply(self, data: bytes | memoryview) -> None:
        """Write a part of a reply as a JSON object: ``text``, or ``base64`` if it is not UTF-8."""
        data = bytes(data)
        fields: dict[str, Any] = {"event": "reply", "bytes": len(data)}
        try:
            fields["text"] = data.decode()
        except UnicodeDecodeError:
            import base64  # noqa: PLC0415

            fields["base64"] = base64.b64encode(data).decode()
        self.write_json(fields)


def _line(fields: dict[str, Any]) -> str:
    import json  # noqa: PLC0415 - a client that prints text starts without it

    return escape_json(json.dumps(fields, ensure_ascii=False)) + "\n"


def print_error(error: BaseException | str, *notes: str) -> None:
    """Print an error in one line, and notes below it; with ``--debug`` its traceback too."""
    if isinstance(error, BaseException):
        print_traceback(error)
    lines = [f"{paint('stretta:', 'red', sys.stderr)} {escape_line(str(error))}", *notes]
    with contextlib.suppress(OSError):  # stderr is closed
        write_stderr("".join(f"{line}\n" for line in lines))


def print_traceback(error: BaseException) -> None:
    """Print where an error was raised, if ``--debug`` is given."""
    if SETTINGS.debug:
        import traceback  # noqa: PLC0415

        with contextlib.suppress(OSError):
            write_stderr("".join(traceback.format_exception(error)))


def stdout_is_terminal() -> bool:
    """Return whether stdout is a terminal: a person, not a program, reads the data."""
    return is_terminal(sys.stdout)
