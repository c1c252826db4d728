"""How an exchange looks: the lecture's lines and the body for a person, the bytes for a program."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator

from stretta.cli.ui.console import Console, stdout_is_terminal, write_stdout
from stretta.cli.ui.terminal import is_terminal, paint, wants_colour
from stretta.escape import TerminalText, escape
from stretta.http.client.blocking import ResponseStream
from stretta.http.client.exchange import Phases
from stretta.http.client.reports import Awaiting, Interim, Requesting, Responding
from stretta.http.client.response_parser import Head
from stretta.reports import LookedUp, NotReached, Report

__all__ = ["Show"]

ENOUGH = 1024
"""Bytes of a body that tell whether it is text."""

LONGEST_BOM = 3
"""Bytes that tell whether a text begins with a byte order mark."""

PATIENCE = 1.0
"""Seconds for which a body of unknown length is gathered to be laid out."""

COLOURS = {2: "green", 3: "yellow", 4: "red", 5: "red"}
"""Of a status line, by the first digit of its status."""


class Show:
    """Watches exchanges, one after the other, and shows them.

    ``verbose`` is 0 for the lecture's lines, 1 for each line with its time and direction, 2 for
    each read and write too.
    """

    def __init__(
        self, console: Console, *, verbose: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.console = console
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
        if self.console.as_json or self.console.quiet:
            return
        if isinstance(report, LookedUp):
            self._choice = len(report.addresses) > 1
        elif isinstance(report, NotReached) and not self._choice:
            return  # the error will say so
        if self.verbose:
            self._show_verbose(report)
        elif isinstance(report, Awaiting):
            self._awaiting = True
            self.console.print_message(f"{report} ", end="")
        elif isinstance(report, Requesting):
            self.console.print_message(escape(str(report)), end="")
            if report.body != 0:
                self.console.print_message(f"({_size(report.body)} of body)\n")
        elif isinstance(report, Interim | Responding):
            if self._awaiting:
                self.console.print_message("received\nResponse:")
            self._awaiting = isinstance(report, Interim)
            self.console.print_message("\n".join(_coloured(report.head)))
        else:
            self.console.print_message(escape(str(report)))

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
        self.console.print_message(f"{stamp} {mark} {text}".rstrip())

    def broken_off(self) -> None:
        """End the line that was waiting for the response."""
        if self._awaiting:
            self._awaiting = False
            self.console.print_message("")

    def times(self, phases: Phases) -> None:
        """Show the bar of the phases to a person."""
        if is_terminal(sys.stderr) and not (self.console.quiet or self.console.as_json):
            import shutil  # noqa: PLC0415

            from stretta.cli.http.timing_bar import timing_bar  # noqa: PLC0415 - a pipe shows none

            columns = shutil.get_terminal_size().columns
            for row in timing_bar(phases, columns, lambda text, c: paint(text, c, sys.stderr)):
                self.console.print_message(row)

    # the body

    def body(self, stream: ResponseStream) -> None:
        """Show a body as it comes: text to a person, all of its bytes to a program."""
        pieces = self._told(stream)
        if stdout_is_terminal():
            self._to_person(stream, pieces)
        else:
            self._to_program(stream, pieces)

    def _to_program(self, stream: ResponseStream, pieces: Iterator[bytes | memoryview]) -> None:
        progress = None
        if is_terminal(sys.stderr) and not (self.console.quiet or self.verbose):
            from stretta.cli.ui.progress import Progress  # noqa: PLC0415 - a script needs none

            progress = Progress(stream.exchange.reader.expected)
        try:
            for piece in pieces:
                write_stdout(piece)
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
        from stretta.cli.ui import pretty  # noqa: PLC0415 - a pipe needs none of it
        from stretta.http.message.charset import charset_of, is_plain, is_text, media_type  # noqa: PLC0415

        kind = stream.head.headers.get("content-type")
        name = media_type(kind)
        # what says of itself that it is text is shown from its first bytes on: it may never end
        least = LONGEST_BOM if is_plain(kind) else ENOUGH
        beginning, ended = _gather(b"", pieces, lambda data: len(data) >= least)
        if not beginning:
            return
        if not is_text(kind, beginning[:ENOUGH]):
            self._pass_over(stream, name, pieces)
            return
        text = TerminalText(charset_of(kind, beginning))
        laid_out = pretty.can_lay_out(name)
        if laid_out and not ended:
            beginning, ended = _gather(beginning, pieces, self._document_is_there(stream, name))
        shown = text.feed(beginning).removeprefix("\ufeff")
        if laid_out and len(beginning) < pretty.MOST and (ended or pretty.is_json(name, beginning)):
            shown = pretty.lay_out(name, shown)
            if wants_colour(sys.stdout):
                shown = pretty.colour_text(name, shown)
        write_stdout(shown)
        for piece in pieces:
            part = text.feed(piece)
            write_stdout(part)
            shown = part or shown
        rest = text.finish()
        write_stdout(rest if (rest or shown).endswith("\n") else rest + "\n")

    def _document_is_there(
        self, stream: ResponseStream, name: str
    ) -> Callable[[bytes | bytearray], bool]:
        """Return what tells that a body need not be waited for any longer to be laid out."""
        from stretta.cli.ui import pretty  # noqa: PLC0415 - a pipe needs none of it

        if stream.exchange.reader.framing == "length":
            return lambda data: len(data) >= pretty.MOST
        until = self._clock() + PATIENCE  # a body of unknown length may never end

        def enough(data: bytes | bytearray) -> bool:
            late = self._clock() >= until
            return late or len(data) >= pretty.MOST or pretty.is_json(name, data)

        return enough

    def _pass_over(
        self, stream: ResponseStream, name: str, pieces: Iterator[bytes | memoryview]
    ) -> None:
        """Name a body that is no text, and let it pass: whether it is whole is still to be told."""
        from stretta.cli.ui.progress import Progress, human_size  # noqa: PLC0415 - text needs none

        exchange = stream.exchange
        size = None if exchange.is_decoding else exchange.reader.expected
        more = f" or {human_size(size)}" if size is not None and size >= 1000 else ""
        told = "" if size is None else f", {size} bytes{more}"
        kind = escape(name) or "unknown type"
        self.console.print_message(f"(binary, not shown: {kind}{told}; to save it: -o FILE)")
        progress = Progress(exchange.reader.expected, quiet=self.console.quiet or self.verbose > 0)
        try:
            for _ in pieces:
                progress.show(exchange.received)
        finally:
            progress.end()
        if size is None:
            self.console.print_message(f"({exchange.decoded} bytes have come)")


def _gather(
    data: bytes, pieces: Iterator[bytes | memoryview], enough: Callable[[bytearray], bool]
) -> tuple[bytes, bool]:
    """Return the data and what follows until there is enough, and whether that was the end."""
    gathered = bytearray(data)
    while not enough(gathered):
        piece = next(pieces, b"")
        if not piece:
            return bytes(gathered), True
        gathered += piece
    return bytes(gathered), False


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
