"""Fetching one URL for the command: what is sent, where the body goes, what is kept of it all."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from stretta.cli.http.show import Show
from stretta.cli.ui.console import print_error, write_stdout
from stretta.errors import HttpStatus, OutputError, StrettaError, UsageError
from stretta.http.client.blocking import Client, ResponseStream
from stretta.http.client.exchange import MOST_DECODED
from stretta.http.client.reports import Redirected, Requesting, Securing
from stretta.http.client.request import ClientRequest
from stretta.http.client.request_body import Body
from stretta.http.client.response_parser import Piece
from stretta.http.client.status_error import status_error
from stretta.http.message.url import Url, parse_url, without_password
from stretta.reports import LookedUp, Report

if TYPE_CHECKING:
    from stretta.http.client.download import Saving
    from stretta.http.client.har import Record

__all__ = ["Fetcher", "Interrupted", "Wanted", "check_har", "save_har"]

MOST_LOGGED = 64 << 20
"""Bytes of a body that a HAR file gets; of a larger one it says that it is left out."""


class Wanted(NamedTuple):
    """What every URL of one command is asked with, and where its body goes.

    ``data`` is the text of ``-d``; ``output`` the file of ``-o``, "-" for standard output;
    ``records`` tells that the exchanges are to be written down.
    """

    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    data: str | None = None
    output: str | None = None
    remote_name: bool = False
    resume: bool = False
    records: bool = False

    def content_type(self) -> list[tuple[str, str]]:
        """Return the Content-Type field that the data needs, unless one is given."""
        if self.data is None or any(name.lower() == "content-type" for name, _ in self.headers):
            return []
        return [("Content-Type", data_type(self.data))]


class Fetcher:
    """Fetches URLs one after the other; ``records`` holds what came of each, if that is wanted."""

    client: Client

    def __init__(self, wanted: Wanted, show: Show) -> None:
        self.wanted, self.show = wanted, show
        self.records: list[Record] = []
        self._notes: list[Report] = []
        self._request: ClientRequest | None = None

    def watch(self, report: Report) -> None:
        """Take what is told of an exchange."""
        if isinstance(report, LookedUp | Securing | Requesting | Redirected):
            self._notes.append(report)
        self.show(report)

    def fetch(self, text: str) -> int:
        """Fetch one URL and show the exchange; return the exit status that it deserves."""
        self.show.begin()
        self._notes.clear()
        self._request = None
        started = _now()
        stream: KeptStream | None = None
        saving: Saving | None = None
        error: StrettaError | None = None
        try:
            url = parse_url(text)
            saving = self._saving(url)
            with ExitStack() as stack:
                stream = self._ask(url, saving, stack)
                error = self._receive(stream, saving)
            self.show.times(stream.exchange.phases)
        except StrettaError as failure:
            self.show.broken_off()
            error = failure
        except KeyboardInterrupt:
            self.show.broken_off()
            error = Interrupted("interrupted", hint=saving.how_to_go_on() if saving else "")
        except BrokenPipeError:  # who reads standard output has gone
            self._note(started, text, stream, saving, None)
            raise
        if error is not None:
            print_error(error)
        self._note(started, text, stream, saving, error)
        return error.status if error is not None else 0

    def _saving(self, url: Url) -> Saving | None:
        wanted, quiet = self.wanted, self.show.console.quiet
        if wanted.output in {None, "-"} and not wanted.remote_name:
            return None
        from functools import partial  # noqa: PLC0415 - few exchanges are saved
        from pathlib import Path  # noqa: PLC0415

        from stretta.cli.ui.progress import Progress  # noqa: PLC0415
        from stretta.http.client.download import Saving  # noqa: PLC0415

        path = None if wanted.remote_name else Path(str(wanted.output))
        progress = partial(Progress, quiet=quiet)
        return Saving(path, url=url, resume=wanted.resume, progress=progress)

    def _ask(self, url: Url, saving: Saving | None, stack: ExitStack) -> KeptStream:
        """Send the request; ``stack`` closes what was opened for it."""
        fields = [*self.wanted.headers, *self.wanted.content_type()]
        body: Body = b"" if self.wanted.data is None else open_data(self.wanted.data, stack)
        if saving is not None:
            fields += saving.fields()
        self._request = self.client.make_request(self.wanted.method, url, fields, body)
        stream = self.client.send(self._request)
        keep = self.wanted.records and saving is None
        kept = KeptStream(stream, most=self._most() if keep else None)
        return stack.enter_context(kept)

    def _most(self) -> int:
        """Return how many bytes of a body are kept: for a log beside it, not all that may come."""
        if not self.show.console.as_json:
            return MOST_LOGGED
        return self.client.limits.max_size or MOST_DECODED

    def _receive(self, stream: KeptStream, saving: Saving | None) -> StrettaError | None:
        """Bring the body where it belongs; return the error that its status is."""
        head, console = stream.head, self.show.console
        error = status_error(head, str(stream.exchange.request.url))
        if saving is not None and saving.complete_if_whole(stream):
            console.print_message(f"{saving.path} is there whole already: {saving.done} bytes.")
            return None
        if saving is not None and error is None:
            saving.take(stream)
            console.print_message(
                f"Saved {saving.done} bytes in {saving.path} {saving.note}".rstrip()
            )
        elif saving is not None and error is not None:
            console.print_message("(nothing was saved)")
            if head.status == 416 and saving.fields():
                why = "the part that is there does not begin the object"
                error = HttpStatus(416, error.what, why, "Begin again, without -c.")
        elif console.as_json:
            for _ in stream:  # it is kept, and told at the end
                stream.exchange.check_size(MOST_DECODED)
        elif self.wanted.output == "-":
            for piece in stream:
                write_stdout(piece)
        else:
            self.show.body(stream)
        return error

    def _note(
        self,
        started: str,
        text: str,
        stream: KeptStream | None,
        saving: Saving | None,
        error: StrettaError | None,
    ) -> None:
        """Write down what is known of an exchange, if that is wanted."""
        if not self.wanted.records:
            return
        from stretta.http.client.exchange import Phases  # noqa: PLC0415
        from stretta.http.client.har import Record, facts_of  # noqa: PLC0415

        notes = self._notes
        sent = [note.head for note in notes if isinstance(note, Requesting)]
        moved = [note for note in notes if isinstance(note, Redirected)]
        facts: dict[str, Any] = {"request_head": sent[-1] if sent else b"", "phases": Phases()}
        if stream is not None:
            facts = facts_of(stream.exchange)
            facts["body"] = None if stream.kept is None else bytes(stream.kept)
            facts["left_out"] = stream.left_out
            facts["file"] = None if saving is None or saving.path is None else str(saving.path)
        url = str(self._request.url) if self._request is not None else without_password(text)
        tls = next((note.as_json() for note in notes if isinstance(note, Securing)), {})
        self.records.append(
            Record(
                started=started,
                url=moved[-1].url if moved else url,
                asked=self._request,
                addresses=[a for n in notes if isinstance(n, LookedUp) for a in n.addresses],
                tls={name: value for name, value in tls.items() if name != "event"} or None,
                redirects=[(note.status, note.url) for note in moved],
                earlier=() if stream is None else stream.exchange.history,
                error=error,
                **facts,
            )
        )


class Interrupted(StrettaError):
    """Ctrl-C has ended an exchange."""

    status = 130


class KeptStream(ResponseStream):
    """A response whose body is kept as it passes, up to ``most`` bytes, not at all if it is None.

    ``kept`` is None where there is none, ``left_out`` tells that there was too much of it.
    """

    def __init__(self, stream: ResponseStream, *, most: int | None) -> None:
        super().__init__(stream.exchange)
        self.kept: bytearray | None = bytearray() if most is not None else None
        self.left_out = False
        self._most = most or 0

    def __iter__(self) -> Iterator[Piece]:
        for piece in super().__iter__():
            if self.kept is not None:
                self.kept += piece
                if len(self.kept) > self._most:
                    self.kept, self.left_out = None, True
            yield piece


def open_data(data: str, stack: ExitStack) -> Body:
    """Return what ``-d`` names: a file (@FILE), standard input (-), or its own text."""
    if data == "-":
        stdin: BinaryIO = sys.stdin.buffer
        return stdin
    if not data.startswith("@"):
        return data.encode(errors="surrogateescape")
    try:
        return stack.enter_context(open(data[1:], "rb"))
    except OSError as error:
        raise UsageError(
            f"cannot read {data[1:]}", (error.strerror or "").lower(), "Give a file: -d @FILE"
        ) from None


def data_type(data: str) -> str:
    """Return the media type of what ``-d`` names, as far as its name tells."""
    if data.startswith("@"):
        from mimetypes import guess_type  # noqa: PLC0415

        return guess_type(data[1:])[0] or "application/octet-stream"
    return "application/octet-stream" if data == "-" else "application/x-www-form-urlencoded"


def check_har(path: str) -> None:
    """Raise OutputError where a HAR file cannot be written: better now than after the transfer."""
    try:
        with open(path, "ab"):
            pass
    except OSError as error:
        raise _no_har(path, error) from error


def save_har(path: str, records: list[Record]) -> None:
    """Write the exchanges as a HAR file. Raises OutputError."""
    import json  # noqa: PLC0415
    from pathlib import Path  # noqa: PLC0415

    from stretta.http.client.har import har  # noqa: PLC0415

    try:
        text = json.dumps(har(records), indent=1, ensure_ascii=False) + "\n"
        # what is no text in what was typed is spelled out, as JSON itself would
        Path(path).write_bytes(text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise _no_har(path, error) from error


def _no_har(path: str, error: OSError) -> OutputError:
    why = (error.strerror or "").lower()
    return OutputError(f"cannot write {path}", why, "Choose another: --har FILE")


def _now() -> str:
    from datetime import UTC, datetime  # noqa: PLC0415

    return datetime.now(UTC).isoformat(timespec="milliseconds")
