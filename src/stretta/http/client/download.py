"""Saving a response to a file: complete or resumable, never in between."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from stretta.errors import InvalidReply, OutputError, ReplyEndedEarly, TimedOut, UsageError
from stretta.http.client.blocking import ResponseStream
from stretta.http.client.exchange_state import BodyTooLarge
from stretta.http.client.part_file import PartFile, download_name, is_special_file, resolve_link
from stretta.http.client.response_parser import Head
from stretta.http.client.resume import (
    PartialContent,
    PartMetadata,
    partial_content,
    range_fields,
    total_size,
)
from stretta.http.message.headers import Headers
from stretta.http.message.url import Url

__all__ = ["Download"]

RESTARTED = "(the object has changed or cannot be resumed: it was downloaded from the start)"
UNVERIFIED = "(not verified: no validator of the server shows that the parts are of one version)"


class Progress(Protocol):
    """Shows the progress of one transfer."""

    def show(self, done: int) -> None:
        """Report that ``done`` bytes have arrived."""

    def end(self) -> None:
        """Report that no more bytes will arrive."""


class Download:
    """Saves one response in a file.

    Until it is complete the file is ``FILE.part``, with its metadata in ``FILE.part.json``; then it
    is renamed. With a ``path`` of None (-O) the response names the file, and no existing file is
    replaced. ``progress`` is called with the total number of bytes, None if unknown, and the number
    that are saved already; it returns the object that shows the transfer. After ``save``, ``done``
    is the number of bytes in the file and ``note`` what the user should know of it.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        url: Url,
        resume: bool,
        progress: Callable[[int | None, int], Progress],
    ) -> None:
        self.path = path
        self.total: int | None = None
        self.done = 0
        self.note = ""
        self._url = url
        self._path_given = path is not None
        self._progress = progress
        self._have = 0  # bytes that are saved already
        self._saved = PartMetadata(url="")  # of those bytes
        self._source: Path | None = None  # the file that holds them
        self._part: PartFile | None = None
        if resume:
            self._find_saved()

    def fields(self) -> list[tuple[str, str]]:
        """Return the header fields that request the missing bytes."""
        return range_fields(self._saved, self._have) if self._have else []

    def save(self, stream: ResponseStream) -> None:
        """Write the body to the file while it arrives.

        Raises OutputError when the file cannot be written, InvalidReply for a range that does not
        fit, ReplyEndedEarly and TimedOut with a hint that tells how to resume, and the errors of
        reading the body.
        """
        try:
            self._save(stream)
        except (ReplyEndedEarly, TimedOut) as error:
            resume = self.resume_hint(error)
            cut = isinstance(error, ReplyEndedEarly) and not isinstance(error, BodyTooLarge)
            hint = resume if resume and cut else f"{error.hint} {resume}".strip()
            raise type(error)(error.what, error.why, hint) from None
        except OSError as error:
            raise _cannot_write(self.path or Path(), error) from error

    def resume_hint(self, error: Exception | None = None) -> str:
        """Return how much of the body is saved and how to resume; '' if nothing is."""
        if self._part is None or not self.done:
            return ""
        larger = " and a larger --max-size" if isinstance(error, BodyTooLarge) else ""
        return (
            f"{self.done} bytes are in {self._part.path}. To resume: the same command with"
            f" -c{larger}"
        )

    def complete_if_whole(self, head: Head) -> bool:
        """Return whether a 416 response shows that the saved bytes are the whole object.

        If so, a part gets its final name. The sizes must agree, and so must the validators.
        """
        size = total_size(head)
        if not self._have or self._source is None or size != self._have:
            return False
        if self._saved.size not in {None, size} or not self._validators_agree(head):
            return False
        self.done = self._have
        if not (self._saved.etag or self._saved.last_modified):
            self.note = UNVERIFIED
        try:
            if self.path is None:
                self.path = self._source
            else:
                part = PartFile(resolve_link(self.path))
                if self._source == part.path:
                    self._finish(part)
        except OSError as error:
            raise _cannot_write(self.path or self._source, error) from error
        return True

    def _validators_agree(self, head: Head) -> bool:
        headers, saved = head.headers, self._saved
        pairs = (
            (headers.get("etag"), saved.etag),
            (headers.get("last-modified"), saved.last_modified),
        )
        return all(not (now and before) or now == before for now, before in pairs)

    # what an earlier command has saved

    def _find_saved(self) -> None:
        """Find the bytes to resume from: a part, else a file of the final name."""
        if self.path is not None and is_special_file(self.path):
            return
        try:
            if self.path is None:
                part = PartFile.find(str(self._url))
                self.path = None if part is None else part.target
            if self.path is None:
                self._source = Path(download_name(Headers(), self._url))
            else:
                part = PartFile(resolve_link(self.path))
                self._source = part.path if part.path.exists() else part.target
                if self._source == part.path:
                    self._saved = part.load_metadata() or self._saved
            if not self._source.is_file():
                self._source = None
                return
            self._have = self._source.stat().st_size
        except OSError as error:
            raise _cannot_write(self.path or Path(), error) from error
        if self._saved.decoded:
            self._have, self.note = 0, RESTARTED
        elif self._saved.url and self._saved.url != str(self._url):
            raise UsageError(
                f"cannot resume {self._source}",
                f"it is part of another object, {self._saved.url}",
                "Choose another file, or start again, without -c.",
            )

    # writing

    def _save(self, stream: ResponseStream) -> None:
        exchange = stream.exchange
        partial = self._partial(stream)
        start = partial.start if partial else 0
        exchange.state.resumed_at = start
        whole = None if exchange.is_decoding else exchange.parser.expected
        self.total = partial.total if partial else whole
        if self._path_given and self.path is not None and is_special_file(self.path):
            with self.path.open("wb", buffering=0) as file:
                self._write(stream, file.fileno(), 0)
            return
        part, descriptor = self._open(stream.head.headers, exchange.request.url, partial)
        try:
            if not partial or not self._saved.url:
                part.save_metadata(
                    PartMetadata.of(
                        str(self._url), stream.head, self.total, decoded=exchange.is_decoding
                    )
                )
            self._write(stream, descriptor, start)
            if partial:
                self._check_range(partial, descriptor)
        except BaseException:
            if not self.done:
                part.remove()
            raise
        finally:
            os.close(descriptor)
        self._finish(part)

    def _partial(self, stream: ResponseStream) -> PartialContent | None:
        """Return the range in the response, None for the whole object. Raises InvalidReply."""
        head, exchange = stream.head, stream.exchange
        if not self._have:
            if head.status == 206 and exchange.request.headers.get("range") is None:
                raise InvalidReply(
                    "cannot save the object",
                    "the server sent a range of it without being asked",
                    "To request the range yourself: -H 'Range: bytes=0-'",
                )
            return None
        partial = partial_content(self._saved, self._have, head, decoded=exchange.is_decoding)
        if partial is not None and self.path is None:
            raise InvalidReply(
                f"cannot resume {self._source}",
                "nothing shows that it is the beginning of the object, which is longer",
                f"To resume it anyway: -c -o {self._source}. To start again: without -c",
            )
        if partial is None:
            self.note = RESTARTED
        else:
            self.note = "" if partial.verified else UNVERIFIED
        return partial

    def _open(
        self, headers: Headers, url: Url, partial: PartialContent | None
    ) -> tuple[PartFile, int]:
        """Return the part and its descriptor, open for writing where the body continues."""
        if self.path is None:
            self._part, descriptor = PartFile.create(download_name(headers, url))
            self.path = self._part.target
            return self._part, descriptor
        self._part = PartFile(resolve_link(self.path))
        if partial and self._source == self._part.target:
            self._part.target.rename(self._part.path)
        return self._part, self._part.open(partial.start if partial else 0)

    def _write(self, stream: ResponseStream, descriptor: int, start: int) -> None:
        exchange = stream.exchange
        # the size of a compressed body is known only as transferred
        expected = exchange.parser.expected if exchange.is_decoding else self.total
        progress = self._progress(expected, start)
        self.done = start
        try:
            for chunk in stream:
                unwritten = memoryview(chunk)
                while unwritten:  # write(2) may take a part
                    unwritten = unwritten[os.write(descriptor, unwritten) :]
                self.done += len(chunk)
                progress.show(exchange.received if exchange.is_decoding else self.done)
        finally:
            progress.end()

    def _check_range(self, partial: PartialContent, descriptor: int) -> None:
        """Raise when the body is not the announced range, or does not end with the object."""
        if self.done != partial.end:
            os.ftruncate(descriptor, partial.start)
            came, self.done = self.done - partial.start, partial.start
            raise InvalidReply(
                "cannot resume the download",
                f"the server announced {partial.end - partial.start} bytes and sent {came}",
                "Try again, or start again, without -c.",
            )
        if partial.end != partial.total:
            total = "an unknown number" if partial.total is None else partial.total
            raise ReplyEndedEarly(
                "the response ended early",
                f"the server sent bytes {partial.start + 1} to {partial.end} of {total}",
                "Try again.",
            )

    def _finish(self, part: PartFile) -> None:
        """Give a complete part its name; only a name that the user chose may be taken."""
        if self._path_given:
            part.replace_target()
        else:
            self.path = part.take_free_name()


def _cannot_write(path: Path, error: OSError) -> OutputError:
    why = os.strerror(error.errno or errno.EIO).lower()
    return OutputError(f"cannot write {path}", why, "Choose another place: -o FILE")
