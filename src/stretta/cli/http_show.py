"""How an exchange looks: the lecture's lines and the body for a person, the bytes for a program."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator

from stretta.cli.talk import Talk, person_reads, write_out
from stretta.cli.terminal import is_terminal, paint, wants_colour
from stretta.escape import TerminalText, escape
from stretta.http.client import ResponseStream
from stretta.http.exchange import Phases
from stretta.http.reader import Head
from stretta.http.reports import Awaiting, Interim, Requesting, Responding
from stretta.reports import LookedUp, NotReached, Report

__all__ = ["Show"]

ENOUGH = 1024
"""Bytes of a body that tell whether it is text."""

COLOURS = {2: "green", 3: "yellow", 4: "red", 5: "red"}
"""Of a status line, by the first digit of its status."""


class Show:
    """Watches exchanges, one after the other, and shows them.

    ``verbose`` is 0 for the lecture's lines, 1 for each line with its time and direction, 2 for
    each read and write too.
    """

    def __init__(
        self, talk: Talk, *, verbose: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.talk = talk
        self.verbose = verbose
        self._clock = clock
        self._began = clock()
        self._awaiting = False
        self._choice = False  # there is more than one address

    # what is going on

    def begin(self) -> None:
        """Begin another exchange: times count from here."""
        self._began = self._clock()
        self._choice = False

    def __call__(self, report: Report) -> None:
        """Show what is going on."""
        if self.talk.as_json or self.talk.quiet:
            return
        if isinstance(report, LookedUp):
            self._choice = len(report.addresses) > 1
        elif isinstance(report, NotReached) and not self._choice:
            return  # the error will say so
        if self.verbose:
            self._show_verbose(report)
        elif isinstance(report, Awaiting):
            self._awaiting = True
            self.talk.say(f"{report} ", end="")
        elif isinstance(report, Requesting):
            self.talk.say(escape(str(report)), end="")
            if report.body != 0:
                self.talk.say(f"({_size(report.body)} of body)\n")
        elif isinstance(report, Interim | Responding):
            if self._awaiting:
                self.talk.say("received\nResponse:")
            self._awaiting = isinstance(report, Interim)
            self.talk.say("\n".join(_coloured(report.head)))
        else:
            self.talk.say(escape(str(report)))

    def _show_verbose(self, report: Report) -> None:
        if isinstance(report, Requesting):
            for line in str(report).split("\n")[:-1]:
                self.line(">", escape(line))
            self.line(">", f"({len(report.head)} bytes of head, {_size(report.body)} of body)")
        elif isinstance(report, Interim | Responding):
            for line in _coloured(report.head):
                self.line("<", line)
            self.line("<", f"({len(report.head.raw)} bytes of head)")
        elif not isinstance(report, Awaiting):
            for line in str(report).split("\n"):
                self.line("*", escape(line))

    def line(self, mark: str, text: str) -> None:
        """Say one line with the time since the exchange began."""
        ms = (self._clock() - self._began) * 1000
        stamp = paint(f"{ms:9.3f} ms", "dim", sys.stderr)
        self.talk.say(f"{stamp} {mark} {text}".rstrip())

    def broken_off(self) -> None:
        """End the line that was waiting for the response."""
        if self._awaiting:
            self._awaiting = False
            self.talk.say("")

    def times(self, phases: Phases) -> None:
        """Show the bar of the phases to a person."""
        if is_terminal(sys.stderr) and not (self.talk.quiet or self.talk.as_json):
            import shutil  # noqa: PLC0415

            from stretta.cli.timing_bar import timing_bar  # noqa: PLC0415 - a pipe shows none

            columns = shutil.get_terminal_size().columns
            for row in timing_bar(phases, columns, lambda text, c: paint(text, c, sys.stderr)):
                self.talk.say(row)

    # the body

    def body(self, stream: ResponseStream) -> None:
        """Show a body as it comes: text to a person, all of its bytes to a program."""
        pieces = self._told(stream)
        if person_reads():
            self._to_person(stream, pieces)
        else:
            self._to_program(stream, pieces)

    def _to_program(self, stream: ResponseStream, pieces: Iterator[bytes | memoryview]) -> None:
        progress = None
        if is_terminal(sys.stderr) and not (self.talk.quiet or self.verbose):
            from stretta.cli.progress import Progress  # noqa: PLC0415 - a script needs none

            progress = Progress(stream.exchange.reader.expected)
        try:
            for piece in pieces:
                write_out(piece)
                if progress is not None:
                    progress.show(stream.exchange.received)
        finally:
            if progress is not None:
                progress.end()

    def _told(self, stream: ResponseStream) -> Iterator[bytes | memoryview]:
        """Give the pieces of a body, and tell of each where that is wanted."""
        for piece in stream:
            if self.verbose:
                exchange = stream.exchange
                so_far = f"({len(piece)} bytes of body, {exchange.decoded} so far)"
                self.line("<", so_far)
            yield piece
        if self.verbose:
            for name, value in stream.exchange.reader.trailers:
                self.line("<", escape(f"{name}: {value}"))

    def _to_person(self, stream: ResponseStream, pieces: Iterator[bytes | memoryview]) -> None:
        from stretta.cli import pretty  # noqa: PLC0415 - a pipe needs none of it
        from stretta.http.media import charset_of, is_text, media_type  # noqa: PLC0415

        beginning = _gather(b"", pieces, ENOUGH)
        kind = stream.head.headers.get("content-type")
        if not beginning:
            return
        if not is_text(kind, beginning[:ENOUGH]):
            self._name_and_count(media_type(kind), len(beginning) + sum(map(len, pieces)))
            return
        text = TerminalText(charset_of(kind, beginning))
        # a body of unknown length may never end: it is shown as it comes
        if pretty.can_lay_out(media_type(kind)) and stream.exchange.reader.framing == "length":
            beginning = _gather(beginning, pieces, pretty.MOST)
            if len(beginning) < pretty.MOST:
                whole = (text.feed(beginning) + text.finish()).removeprefix("\ufeff")
                whole = pretty.lay_out(media_type(kind), whole)
                if wants_colour(sys.stdout):
                    whole = pretty.colour_text(media_type(kind), whole)
                write_out(whole if whole.endswith("\n") else whole + "\n")
                return
        shown = text.feed(beginning).removeprefix("\ufeff")
        write_out(shown)
        for piece in pieces:
            part = text.feed(piece)
            write_out(part)
            shown = part or shown
        rest = text.finish()
        write_out(rest if (rest or shown).endswith("\n") else rest + "\n")

    def _name_and_count(self, kind: str, size: int) -> None:
        from stretta.cli.progress import human_size  # noqa: PLC0415 - text needs none

        more = f" or {human_size(size)}" if size >= 1000 else ""
        name = escape(kind) or "unknown type"
        self.talk.say(f"(binary, not shown: {name}, {size} bytes{more}; to save it: -o FILE)")


def _gather(data: bytes, pieces: Iterator[bytes | memoryview], enough: int) -> bytes:
    """Return the data and what follows it, up to where there is enough of it."""
    gathered = bytearray(data)
    while len(gathered) < enough and (piece := next(pieces, b"")):
        gathered += piece
    return bytes(gathered)


def _coloured(head: Head) -> list[str]:
    """Return the lines of a head, escaped, with colours where stderr gets any."""
    text = head.raw.decode("utf-8", "backslashreplace").replace("\r\n", "\n")
    first, *fields = escape(text).removesuffix("\n").split("\n")
    lines = [paint(first, COLOURS.get(head.status // 100, "cyan"), sys.stderr)]
    for field in fields:
        name, colon, value = field.partition(":")
        lines.append(f"{paint(name, 'cyan', sys.stderr)}{colon}{value}" if colon else field)
    return lines


def _size(size: int | None) -> str:
    return "unknown size" if size is None else "1 byte" if size == 1 else f"{size} bytes"
