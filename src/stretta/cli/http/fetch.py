"""Fetches one URL for the command: sends the request, directs the body, records the exchange."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from stretta.cli.http.show import Show
from stretta.cli.ui.console import print_error, write_stdout
from stretta.errors import HttpStatus, OutputError, StrettaError, UsageError
from stretta.escape import escape, escape_json
from stretta.http.client.blocking import Client, ResponseStream
from stretta.http.client.exchange_state import Phases
from stretta.http.client.reports import Redirected, Requesting, Securing
from stretta.http.client.request import Body, ClientRequest
from stretta.http.client.response_parser import Buffer
from stretta.http.client.status_error import status_error
from stretta.http.message.url import Url, parse_url, without_password
from stretta.private_file import open_private, write_private
from stretta.reports import LookedUp, Report

if TYPE_CHECKING:
    from stretta.http.client.download import Download
    from stretta.http.client.exchange_json import ExchangeRecord

__all__ = ["Fetcher", "Interrupted", "RequestOptions", "check_har", "save_har"]

MAX_RECORDED = 32 << 20
"""Bytes of the bodies in a HAR file together, and of one body in a JSON document."""


class RequestOptions(NamedTuple):
    """The options for all URLs of one command.

    ``data`` is the argument of ``-d``; ``output`` that of ``-o``, "-" for standard output;
    ``records``: the exchanges are recorded.
    """

    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    data: str | None = None
    output: str | None = None
    remote_name: bool = False
    resume: bool = False
    records: bool = False

    def content_type(self) -> list[tuple[str, str]]:
        """Return the Content-Type field for the data, unless one is given."""
        if self.data is None or any(name.lower() == "content-type" for name, _ in self.headers):
            return []
        return [("Content-Type", data_type(self.data))]


class Fetcher:
    """Fetches URLs one after the other; ``records`` holds the exchanges, if they are recorded."""

    client: Client

    def __init__(self, options: RequestOptions, show: Show) -> None:
        self.options, self.show = options, show
        self.records: list[ExchangeRecord] = []
        self._reports: list[Report] = []
        self._request: ClientRequest | None = None

    def watch(self, report: Report) -> None:
        """Take a report of an exchange."""
        if isinstance(report, LookedUp | Securing | Requesting | Redirected):
            self._reports.append(report)
        self.show(report)

    def fetch(self, text: str) -> int:
        """Fetch one URL and show the exchange; return its exit status."""
        self.show.begin()
        self._reports.clear()
        self._request = None
        started = _now()
        stream: RecordedStream | None = None
        download: Download | None = None
        error: StrettaError | None = None
        try:
            url = parse_url(text)
            download = self._download(url)
            with ExitStack() as stack:
                stream = self._send(url, download, stack)
                error = self._receive(stream, download)
            self.show.times(stream.exchange.phases)
        except StrettaError as failure:
            self.show.failed()
            error = failure
        except KeyboardInterrupt:
            self.show.failed()
            error = Interrupted("interrupted", hint=download.resume_hint() if download else "")
        except BrokenPipeError:  # the reader of standard output has gone
            self._record(started, text, stream, download, None)
            raise
        if error is not None:
            print_error(error)
        self._record(started, text, stream, download, error)
        return error.status if error is not None else 0

    def _download(self, url: Url) -> Download | None:
        options, quiet = self.options, self.show.console.quiet
        if options.output in {None, "-"} and not options.remote_name:
            return None
        from functools import partial  # noqa: PLC0415 - few responses are saved
        from pathlib import Path  # noqa: PLC0415

        from stretta.cli.ui.progress import Progress  # noqa: PLC0415
        from stretta.http.client.download import Download  # noqa: PLC0415

        path = None if options.remote_name else Path(str(options.output))
        progress = partial(Progress, quiet=quiet)
        return Download(path, url=url, resume=options.resume, progress=progress)

    def _send(self, url: Url, download: Download | None, stack: ExitStack) -> RecordedStream:
        """Send the request; ``stack`` closes the files that were opened for it."""
        options = self.options
        fields = [*options.headers, *options.content_type()]
        body: Body = b"" if options.data is None else open_data(options.data, stack)
        if download is not None:
            fields += download.fields()
        self._request = self.client.make_request(options.method, url, fields, body)
        stream = self.client.send(self._request)
        keep = options.records and download is None
        recorded = RecordedStream(stream, max_size=self._max_recorded() if keep else None)
        return stack.enter_context(recorded)

    def _max_recorded(self) -> int:
        """Return how many bytes of a body are recorded; memory has to hold several copies."""
        if self.show.console.as_json:
            return self.client.limits.max_size or MAX_RECORDED
        recorded = sum(len(record.body or b"") for record in self.records)
        return max(0, MAX_RECORDED - recorded)

    def _receive(self, stream: RecordedStream, download: Download | None) -> StrettaError | None:
        """Save or show the body; return the error for the status."""
        head, console = stream.head, self.show.console
        error = status_error(head, str(stream.exchange.request.url))
        if download is not None and download.complete_if_whole(head):
            path = escape(str(download.path))
            note = f"{path} is complete: {download.done} bytes. {download.note}"
            console.print_message(note.rstrip())
            return None
        if download is not None and error is None:
            download.save(stream)
            note = f"Saved {download.done} bytes in {escape(str(download.path))} {download.note}"
            console.print_message(note.rstrip())
        elif download is not None and error is not None:
            console.print_message("(nothing was saved)")
            if head.status == 416 and download.fields():
                why = "the saved bytes are not the beginning of the object"
                error = HttpStatus(416, error.what, why, "Start again, without -c.")
        elif console.as_json:
            for _ in stream:  # recorded, and printed at the end
                stream.exchange.state.check_size(MAX_RECORDED)
        elif self.options.output == "-":
            for chunk in stream:
                write_stdout(chunk)
        else:
            self.show.body(stream)
        return error

    def _record(
        self,
        started: str,
        text: str,
        stream: RecordedStream | None,
        download: Download | None,
        error: StrettaError | None,
    ) -> None:
        """Record an exchange, if exchanges are recorded."""
        if not self.options.records:
            return
        from stretta.http.client.exchange_json import ExchangeRecord, exchange_fields  # noqa: PLC0415

        reports = self._reports
        sent = [report.head for report in reports if isinstance(report, Requesting)]
        redirects = [report for report in reports if isinstance(report, Redirected)]
        fields: dict[str, Any] = {"request_head": sent[-1] if sent else b"", "phases": Phases()}
        if stream is not None:
            path = None if download is None else download.path
            fields = exchange_fields(stream.exchange.state, stream.exchange.server)
            fields["body"] = None if stream.body is None else bytes(stream.body)
            fields["body_omitted"] = stream.omitted
            fields["file"] = None if path is None else str(path)
        url = str(self._request.url) if self._request is not None else without_password(text)
        tls = next((report.as_json() for report in reports if isinstance(report, Securing)), {})
        self.records.append(
            ExchangeRecord(
                started=started,
                url=redirects[-1].url if redirects else url,
                first_request=self._request,
                addresses=[a for r in reports if isinstance(r, LookedUp) for a in r.addresses],
                tls={name: value for name, value in tls.items() if name != "event"} or None,
                redirects=[(report.status, report.url) for report in redirects],
                earlier=[] if stream is None else self._redirects(started, stream),
                error=error,
                **fields,
            )
        )

    @staticmethod
    def _redirects(started: str, stream: RecordedStream) -> list[ExchangeRecord]:
        """Return the records of the redirects that led to this exchange."""
        from stretta.http.client.exchange_json import ExchangeRecord, exchange_fields  # noqa: PLC0415

        return [
            ExchangeRecord(
                started=started,
                url=str(one.request.url),
                addresses=[],
                **exchange_fields(one.state, one.server),
            )
            for one in stream.exchange.history
        ]


class Interrupted(StrettaError):
    """Ctrl-C ended an exchange."""

    status = 130


class RecordedStream(ResponseStream):
    """A response that copies its body to ``body``, unless ``max_size`` is None.

    A body of more than ``max_size`` bytes is ``omitted``: ``body`` becomes None.
    """

    def __init__(self, stream: ResponseStream, *, max_size: int | None) -> None:
        super().__init__(stream.exchange)
        self.body: bytearray | None = bytearray() if max_size is not None else None
        self.omitted = False
        self._max_size = max_size or 0

    def __iter__(self) -> Iterator[Buffer]:
        for chunk in super().__iter__():
            if self.body is not None and len(self.body) + len(chunk) > self._max_size:
                self.body, self.omitted = None, True
            elif self.body is not None:
                self.body += chunk
            yield chunk


def open_data(data: str, stack: ExitStack) -> Body:
    """Return the body for ``-d``: a file (@FILE), standard input (-), or the text itself."""
    if data == "-":
        stdin: BinaryIO = sys.stdin.buffer
        return stdin
    if not data.startswith("@"):
        return data.encode(errors="surrogateescape")
    try:
        return stack.enter_context(open(data[1:], "rb"))
    except OSError as error:
        raise UsageError(
            f"cannot read {data[1:]}", (error.strerror or "").lower(), "Name a file: -d @FILE"
        ) from None


def data_type(data: str) -> str:
    """Return the media type of the body for ``-d``, by the file's name."""
    if data.startswith("@"):
        from stretta.http.message.mime_types import media_type_of  # noqa: PLC0415

        return media_type_of(data[1:])
    return "application/octet-stream" if data == "-" else "application/x-www-form-urlencoded"


def check_har(path: str) -> None:
    """Raise OutputError when a HAR file cannot be written; called before the transfer."""
    try:
        os.close(open_private(path))
    except OSError as error:
        raise _cannot_write_har(path, error) from error


def save_har(path: str, records: list[ExchangeRecord]) -> None:
    """Write the exchanges as a HAR file with mode 0600: it holds secrets. Raises OutputError."""
    import json  # noqa: PLC0415

    from stretta.http.client.har import har  # noqa: PLC0415

    try:
        encoder = json.JSONEncoder(indent=1, ensure_ascii=False)
        parts = (escape_json(part) for part in encoder.iterencode(har(records)))
        # bytes of the command line that are not text are escaped as in JSON
        write_private(path, (part.encode("utf-8", "backslashreplace") for part in parts))
    except OSError as error:
        raise _cannot_write_har(path, error) from error


def _cannot_write_har(path: str, error: OSError) -> OutputError:
    why = (error.strerror or "").lower()
    return OutputError(f"cannot write {path}", why, "Choose another file: --har FILE")


def _now() -> str:
    from datetime import UTC, datetime  # noqa: PLC0415

    return datetime.now(UTC).isoformat(timespec="milliseconds")
