"""What a command says: talk on stderr, data on stdout, or both as JSON lines on stdout."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import Any

from stretta.cli.ui.terminal import is_terminal, paint
from stretta.errors import OutputError, StrettaError
from stretta.escape import escape
from stretta.reports import Report, Watch

__all__ = ["Talk", "complain", "person_reads", "write_out"]


class Talk:
    """The voice of one command; an instance is called with each report."""

    def __init__(self, *, quiet: bool, as_json: bool) -> None:
        self.quiet, self.as_json = quiet, as_json
        self._deaf = False

    def __call__(self, report: Report) -> None:
        """Say a report: its line, or its object; a conversation goes on when nobody listens."""
        if not self.as_json:
            self.say(str(report))
        else:
            self.pour(_line(report.as_json()))

    def pour(self, lines: str) -> None:
        """Write a log to stdout; where that cannot be, say so once and go on without it."""
        if not self._deaf:
            try:
                write_out(lines)
            except (OSError, OutputError) as error:
                self._deaf = True
                why = getattr(error, "why", "") or "its reader has gone"
                complain(
                    OutputError("standard output takes nothing more", why, "Going on without.")
                )

    @property
    def watch(self) -> Watch | None:
        """Return what to give a library function as ``watch``: None when nothing would be said."""
        return self if self.as_json or not self.quiet else None

    def say(self, line: str, end: str = "\n") -> None:
        """Print one line of talk, or with another ``end`` the beginning of one."""
        if self.quiet or self.as_json:
            return
        try:
            # in one piece: other processes may be writing there too
            print(f"{line}{end}", end="", file=sys.stderr, flush=True)  # noqa: T201 - the voice
        except OSError:  # nobody listens any more; the conversation goes on
            self.quiet = True

    def data(self, fields: dict[str, Any]) -> None:
        """Print one JSON object on stdout. Raises OutputError."""
        write_out(_line(fields))

    def piece(self, data: bytes | memoryview) -> None:
        """Print one piece of a reply as a JSON object: ``text``, or ``base64`` if it is none."""
        data = bytes(data)
        fields: dict[str, Any] = {"event": "reply", "bytes": len(data)}
        try:
            fields["text"] = data.decode()
        except UnicodeDecodeError:
            import base64  # noqa: PLC0415

            fields["base64"] = base64.b64encode(data).decode()
        self.data(fields)


def _line(fields: dict[str, Any]) -> str:
    import json  # noqa: PLC0415 - a client that prints text starts without it

    return json.dumps(fields, ensure_ascii=False) + "\n"


def complain(error: StrettaError) -> None:
    """Print an error after which the command goes on."""
    if "--debug" in sys.argv:
        import traceback  # noqa: PLC0415

        traceback.print_exception(error)
    with contextlib.suppress(OSError):  # nobody listens
        line = f"{paint('stretta:', 'red', sys.stderr)} {escape(str(error))}"
        print(line, file=sys.stderr)  # noqa: T201


def person_reads() -> bool:
    """Return whether stdout is a terminal: a person, not a program, gets the data."""
    return is_terminal(sys.stdout)


def write_out(data: bytes | memoryview | str) -> None:
    """Write all of the data to stdout, in as many calls as it takes (write(2) may take a part).

    Raises BrokenPipeError when the reader has gone, OutputError for any other reason.
    """
    rest = memoryview(data.encode("utf-8", "backslashreplace") if isinstance(data, str) else data)
    try:
        while rest:
            rest = rest[os.write(1, rest) :]
    except BrokenPipeError:
        raise
    except OSError as error:
        closed = error.errno == errno.EBADF
        raise OutputError(
            "cannot write the reply to standard output",
            "it is closed" if closed else os.strerror(error.errno or 0).lower(),
            "Part of the reply may have been written; ask again with more room for it.",
        ) from error
