"""Shows exchanges: the lecture's lines and text for a person, the body's bytes for a program."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from stretta.cli.ui.console import Console, stdout_is_terminal, write_stdout
from stretta.cli.ui.gate import keep_colours
from stretta.cli.ui.terminal import is_terminal, paint, wants_colour
from stretta.escape import TerminalText, escape
from stretta.http.client.blocking import ResponseStream
from stretta.http.client.exchange_state import Phases
from stretta.http.client.reports import Awaiting, Interim, Requesting, Responding
from stretta.http.client.response_parser import Head
from stretta.http.message.redaction import HIDDEN, redact_head
from stretta.reports import LookedUp, NotReached, Report

if TYPE_CHECKING:
    from stretta.net.client.channel.observed import Moved

__all__ = ["Show"]

SNIFF_SIZE = 1024
"""Bytes of a body that show whether it is text."""

MAX_BOM = 3
"""Bytes of the longest byte order mark."""

MAX_COLOURED = 8 * 1024
"""Characters of markup that are coloured: its lexers take quadratic time for hostile text."""

LAYOUT_WAIT = 1.0
"""Seconds to wait for the end of a body of unknown length that is to be laid out."""

COLOURS = {2: "green", 3: "yellow", 4: "red", 5: "red"}
"""The colour of a status line, by the first digit of its status."""


class Show:
    """Shows the reports of exchanges, one exchange after the other.

    ``verbose`` is 0 for the lecture's lines, 1 for lines with time and direction, 2 for each read
    and write too. ``show_secrets``: with the credentials in the request.
    """

    def __init__(
        self,
        console: Console,
        *,
        verbose: int = 0,
        show_secrets: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.console = console
        self.verbose = verbose
        self.show_secrets = show_secrets
        self._hides = False  # credentials in the current request
        self._clock = clock
        self._began = clock()
        self._awaiting = False
        self._several_addresses = False

    def begin(self) -> None:
        """Begin another exchange: times count from now."""
        self._began = self._clock()
        self._several_addresses = False

    def __call__(self, report: Report) -> None:
        """Show a report."""
        if self.console.as_json or self.console.quiet:
            return
        if isinstance(report, LookedUp):
            self._several_addresses = len(report.addresses) > 1
        elif isinstance(report, NotReached) and not self._several_addresses:
            return  # the error says it
        if self.verbose:
            self._show_verbose(report)
        elif isinstance(report, Awaiting):
            self._awaiting = True
            self.console.print_message(f"{report} ", end="")
        elif isinstance(report, Requesting):
            self.console.print_message(self._request(report), end="")
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
            for line in self._request(report).split("\n")[:-1]:
                self.line(">", line)
            self.line(">", f"({len(report.head)} bytes of head, {_size(report.body)} of body)")
        elif isinstance(report, Interim | Responding):
            for line in _coloured(report.head):
                self.line("<", line)
            self.line("<", f"({len(report.head.raw)} bytes of head)")
        elif report.event == "moved" and self._hides and getattr(report, "outwards", False):
            hidden = replace(cast("Moved", report), begins=HIDDEN.encode(), ends=b"")
            self.line("*", escape(str(hidden)))
        elif not isinstance(report, Awaiting):
            for line in str(report).split("\n"):
                self.line("*", escape(line))

    def _request(self, report: Requesting) -> str:
        """Return the head of a request, escaped, without its credentials unless they are shown."""
        shown = report.head if self.show_secrets else redact_head(report.head)
        self._hides = shown != report.head
        return escape(shown.decode("latin-1").replace("\r\n", "\n"))

    def line(self, mark: str, text: str) -> None:
        """Print one line with the time since the exchange began."""
        ms = (self._clock() - self._began) * 1000
        stamp = paint(f"{ms:9.3f} ms", "dim", sys.stderr)
        self.console.print_message(f"{stamp} {mark} {text}".rstrip())

    def failed(self) -> None:
        """End the line that waits for the response, after a failure."""
        if self._awaiting:
            self._awaiting = False
            self.console.print_message("")

    def times(self, phases: Phases) -> None:
        """Show the phases as a bar, on a terminal."""
        if is_terminal(sys.stderr) and not (self.console.quiet or self.console.as_json):
            import shutil  # noqa: PLC0415

            from stretta.cli.http.timing_bar import timing_bar  # noqa: PLC0415 - on a terminal only

            columns = shutil.get_terminal_size().columns
            for row in timing_bar(phases, columns, lambda text, c: paint(text, c, sys.stderr)):
                self.console.print_message(row)

    # the body

    def body(self, stream: ResponseStream) -> None:
        """Show a body while it arrives: text to a person, all bytes to a program."""
        chunks = self._reported(stream)
        if stdout_is_terminal():
            self._to_person(stream, chunks)
        else:
            self._to_program(stream, chunks)

    def _to_program(self, stream: ResponseStream, chunks: Iterator[bytes | memoryview]) -> None:
        progress = None
        if is_terminal(sys.stderr) and not (self.console.quiet or self.verbose):
            from stretta.cli.ui.progress import Progress  # noqa: PLC0415 - on a terminal only

            progress = Progress(stream.exchange.parser.expected)
        try:
            for chunk in chunks:
                write_stdout(chunk)
                if progress is not None:
                    progress.show(stream.exchange.received)
        finally:
            if progress is not None:
                progress.end()

    def _reported(self, stream: ResponseStream) -> Iterator[bytes | memoryview]:
        """Yield the chunks of a body; with -v, print a line for each."""
        for chunk in stream:
            if self.verbose:
                exchange = stream.exchange
                so_far = f"({len(chunk)} bytes of body, {exchange.decoded} so far)"
                self.line("<", so_far)
            yield chunk
        if self.verbose:
            for name, value in stream.exchange.parser.trailers:
                self.line("<", escape(f"{name}: {value}"))

    def _to_person(self, stream: ResponseStream, chunks: Iterator[bytes | memoryview]) -> None:
        from stretta.cli.ui import pretty  # noqa: PLC0415 - on a terminal only
        from stretta.http.message.charset import charset_of, is_plain, is_text, media_type  # noqa: PLC0415

        kind = stream.head.headers.get("content-type")
        name = media_type(kind)
        # a body whose type is certain is shown from its first bytes on: it may never end
        least = MAX_BOM if is_plain(kind) else SNIFF_SIZE
        beginning, ended = _gather(b"", chunks, lambda data: len(data) >= least)
        if not beginning:
            return
        if not is_text(kind, beginning[:SNIFF_SIZE]):
            self._skip(stream, name, chunks)
            return
        text = TerminalText(charset_of(kind, beginning))
        has_layout = pretty.can_lay_out(name)
        if has_layout and not ended:
            beginning, ended = _gather(beginning, chunks, self._document_complete(stream, name))
        shown = text.feed(beginning).removeprefix("\ufeff")
        if (
            has_layout
            and len(beginning) < pretty.MOST
            and (ended or pretty.is_json(name, beginning))
        ):
            shown = pretty.lay_out(name, shown)
            linear = name.endswith("json") or len(shown) <= MAX_COLOURED
            if linear and wants_colour(sys.stdout):
                shown = keep_colours(pretty.colour_text(name, shown))
        write_stdout(shown)
        for chunk in chunks:
            part = text.feed(chunk)
            write_stdout(part)
            shown = part or shown
        last = text.finish()
        write_stdout(last if (last or shown).endswith("\n") else last + "\n")

    def _document_complete(
        self, stream: ResponseStream, name: str
    ) -> Callable[[bytes | bytearray], bool]:
        """Return a function that says whether enough of a body arrived to lay it out."""
        from stretta.cli.ui import pretty  # noqa: PLC0415 - on a terminal only

        if stream.exchange.parser.framing == "length":
            return lambda data: len(data) >= pretty.MOST
        until = self._clock() + LAYOUT_WAIT  # a body of unknown length may never end

        def enough(data: bytes | bytearray) -> bool:
            late = self._clock() >= until
            return late or len(data) >= pretty.MOST or pretty.is_json(name, data)

        return enough

    def _skip(
        self, stream: ResponseStream, name: str, chunks: Iterator[bytes | memoryview]
    ) -> None:
        """Name a body that is not text, and read it to its end, to check that it is complete."""
        from stretta.cli.ui.progress import Progress, human_size  # noqa: PLC0415 - text does not need it

        exchange = stream.exchange
        size = None if exchange.is_decoding else exchange.parser.expected
        more = f" or {human_size(size)}" if size is not None and size >= 1000 else ""
        shown_size = "" if size is None else f", {size} bytes{more}"
        kind = escape(name) or "unknown type"
        self.console.print_message(f"(binary, not shown: {kind}{shown_size}; to save it: -o FILE)")
        progress = Progress(exchange.parser.expected, quiet=self.console.quiet or self.verbose > 0)
        try:
            for _ in chunks:
                progress.show(exchange.received)
        finally:
            progress.end()
        if size is None:
            self.console.print_message(f"({exchange.decoded} bytes arrived)")


def _gather(
    data: bytes, chunks: Iterator[bytes | memoryview], enough: Callable[[bytearray], bool]
) -> tuple[bytes, bool]:
    """Return the data with following chunks until it is enough, and whether the body ended."""
    gathered = bytearray(data)
    while not enough(gathered):
        chunk = next(chunks, b"")
        if not chunk:
            return bytes(gathered), True
        gathered += chunk
    return bytes(gathered), False


def _coloured(head: Head) -> list[str]:
    """Return the lines of a head, escaped, and coloured if stderr takes colours."""
    text = head.raw.decode("utf-8", "backslashreplace").replace("\r\n", "\n")
    first, *fields = escape(text).removesuffix("\n").split("\n")
    lines = [paint(first, COLOURS.get(head.status // 100, "cyan"), sys.stderr)]
    for field in fields:
        name, colon, value = field.partition(":")
        lines.append(f"{paint(name, 'cyan', sys.stderr)}{colon}{value}" if colon else field)
    return lines


def _size(size: int | None) -> str:
    return "unknown size" if size is None else "1 byte" if size == 1 else f"{size} bytes"
