"""Saving a response: under its final name only when it is whole, and resumed when it was not."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Protocol

from stretta.errors import InvalidReply, OutputError, ReplyEndedEarly, TimedOut, UsageError
from stretta.http.client.blocking import ResponseStream
from stretta.http.client.download_name import file_name
from stretta.http.client.exchange import BodyTooLarge
from stretta.http.client.resume import Rest, Validators, range_fields, rest_of, whole_size
from stretta.http.message.headers import Headers
from stretta.http.message.url import Url

__all__ = ["Saving"]

ALL_ANEW = "(the object had changed, or cannot be continued: all of it came anew)"
UNSURE = "(the server named no version: nothing tells whether both parts are of the same one)"


class Progress(Protocol):
    """Shows how far one transfer has come."""

    def show(self, done: int) -> None:
        """Report that ``done`` bytes are there."""

    def end(self) -> None:
        """Report that no more bytes will come."""


class Saving:
    """One response that goes to a file.

    While it comes it is ``FILE.part``, with what identifies it in ``FILE.part.json``; when it has
    come whole it is renamed. ``path`` is None where the response has to name it (-O): then nothing
    that is there is ever written over. ``progress`` gets the total number of bytes (None where it
    is not known) and the number that are there already, and returns what shows the transfer.
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
        self.note = ""  # what to tell once it is there
        self._url = url
        self._given = path is not None
        self._progress = progress
        self._have = 0
        self._begun = Validators(url="")
        self._source: Path | None = None  # what holds the first bytes already
        self._part: Path | None = None
        if resume:
            self._look_for_beginning()

    def fields(self) -> list[tuple[str, str]]:
        """Return the header fields that ask for the rest of what is there."""
        return range_fields(self._begun, self._have) if self._have else []

    def take(self, stream: ResponseStream) -> None:
        """Write the body to the file as it comes.

        Raises OutputError when it cannot be written, ReplyEndedEarly, which says how to go on,
        InvalidReply when it is no part that fits, and what reading the body raises.
        """
        try:
            self._take(stream)
        except (ReplyEndedEarly, TimedOut) as error:
            raise type(error)(
                error.what, error.why, f"{error.hint} {self.how_to_go_on(error)}".strip()
            ) from None
        except OSError as error:
            raise _cannot_write(self.path or Path(), error) from error

    def how_to_go_on(self, error: Exception | None = None) -> str:
        """Return what is there of a body that was cut off, and how to have the rest; '' if none."""
        if self._part is None or not self.done:
            return ""
        more = " and a larger --max-size" if isinstance(error, BodyTooLarge) else ""
        kept = f"{self.done} bytes are in {self._part}."
        return f"{kept} To go on: the same command with -c{more}"

    def complete_if_whole(self, stream: ResponseStream) -> bool:
        """Return whether a 416 says that the part is all there is; if so, it gets its name."""
        size = whole_size(stream.head)
        if not self._have or size != self._have or self._source is None:
            return False
        self.done = self._have
        try:
            if self.path is None:
                self.path = self._source
            elif self._source == _beside(_target(self.path), ".part"):
                self._move(self._source)
        except OSError as error:
            raise _cannot_write(self.path or self._source, error) from error
        return True

    # what is there

    def _look_for_beginning(self) -> None:
        """Find what an earlier command has left: its part, else a file of that name."""
        if self.path is not None and _is_odd(self.path):
            return
        try:
            if self.path is None:
                self.path = _begun_here(str(self._url))
            if self.path is None:
                self._source = Path(file_name(Headers(), self._url))
            else:
                part = _beside(_target(self.path), ".part")
                self._source = part if part.exists() else _target(self.path)
                if self._source == part:
                    self._begun = _recall(part) or self._begun
            if not self._source.is_file():
                self._source = None
                return
            self._have = self._source.stat().st_size
        except OSError as error:
            raise _cannot_write(self.path or Path(), error) from error
        if self._begun.decoded:
            self._have, self.note = 0, ALL_ANEW
        elif self._begun.url and self._begun.url != str(self._url):
            raise UsageError(
                f"{self._source} is part of another object",
                f"of {self._begun.url}",
                "Choose another file, or begin again, without -c.",
            )

    # writing

    def _take(self, stream: ResponseStream) -> None:
        head, exchange = stream.head, stream.exchange
        rest = self._rest(stream)
        start = rest.start if rest else 0
        exchange.before = start
        whole = None if exchange.is_decoding else exchange.reader.expected
        self.total = rest.total if rest else whole
        if self._given and self.path is not None and _is_odd(self.path):
            with self.path.open("wb", buffering=0) as file:
                self._write(stream, file.fileno(), 0)
            return
        descriptor = self._open(head.headers, exchange.request.url, rest)
        try:
            if not rest or not self._begun.url:
                size = self.total
                self._remember(
                    Validators.of(str(self._url), head, size, decoded=exchange.is_decoding)
                )
            self._write(stream, descriptor, start)
            if rest:
                self._check(rest, descriptor)
        except BaseException:
            if not self.done:
                self._forget()
            raise
        finally:
            os.close(descriptor)
        assert self._part is not None  # noqa: S101 - _open() has set it
        self._move(self._part)

    def _rest(self, stream: ResponseStream) -> Rest | None:
        """Return which rest of the object this is, None for all of it. Raises InvalidReply."""
        head, exchange = stream.head, stream.exchange
        if not self._have:
            if head.status == 206 and exchange.request.headers.get("range") is None:
                raise InvalidReply(
                    "the object cannot be saved",
                    "the server sent a part of it, and was asked for the whole",
                )
            return None
        rest = rest_of(self._begun, self._have, head, decoded=exchange.is_decoding)
        if rest is not None and self.path is None:
            raise InvalidReply(
                f"{self._source} is not continued",
                "nothing tells that it is the beginning of the object, which is longer",
                f"To continue it all the same: -c -o {self._source}. For all anew: without -c",
            )
        self.note = ALL_ANEW if rest is None else "" if rest.sure else UNSURE
        return rest

    def _open(self, headers: Headers, url: Url, rest: Rest | None) -> int:
        """Return the descriptor of the part, open for writing where the body goes on."""
        if self.path is None:
            return self._claim(file_name(headers, url))
        target = _target(self.path)
        self._part = _beside(target, ".part")
        if rest and self._source == target:
            target.rename(self._part)
        mode = _mode(target)
        descriptor = os.open(
            self._part, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o666 if mode is None else mode
        )
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise OutputError(
                    f"cannot write {self._part}",
                    "another download is writing it",
                    "Wait for its end, or choose another place: -o FILE",
                ) from None
            if mode is not None:  # what was private stays so
                os.fchmod(descriptor, mode)
            os.ftruncate(descriptor, rest.start if rest else 0)
            os.lseek(descriptor, 0, os.SEEK_END)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _claim(self, name: str) -> int:
        """Take the first free one of the names that the server's gives, and open its part."""
        for path in _numbered(name):
            part = _beside(path, ".part")
            if any(map(os.path.lexists, (path, _beside(path, ".part.json")))):
                continue
            try:
                descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            except FileExistsError:
                continue
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            self.path, self._part = path, part
            return descriptor
        raise AssertionError("numbers have no end")

    def _remember(self, validators: Validators) -> None:
        assert self._part is not None  # noqa: S101 - _open() has set it
        _notes(self._part).write_text(json.dumps(asdict(validators)), "utf-8")

    def _forget(self) -> None:
        """Leave nothing behind of a body of which nothing came."""
        assert self._part is not None  # noqa: S101 - _open() has set it
        self._part.unlink(missing_ok=True)
        _notes(self._part).unlink(missing_ok=True)

    def _write(self, stream: ResponseStream, descriptor: int, start: int) -> None:
        exchange = stream.exchange
        # a compressed body is measured as it comes: what it becomes is known at its end
        expected = exchange.reader.expected if exchange.is_decoding else self.total
        progress = self._progress(expected, start)
        self.done = start
        try:
            for piece in stream:
                rest = memoryview(piece)
                while rest:  # write(2) may take a part
                    rest = rest[os.write(descriptor, rest) :]
                self.done += len(piece)
                progress.show(exchange.received if exchange.is_decoding else self.done)
        finally:
            progress.end()

    def _check(self, rest: Rest, descriptor: int) -> None:
        """Raise where the parts make no whole."""
        if self.done != rest.end:
            os.ftruncate(descriptor, rest.start)
            came, self.done = self.done - rest.start, rest.start
            raise InvalidReply(
                "the download cannot be continued",
                f"the server announced {rest.end - rest.start} bytes, and sent {came}",
            )
        if rest.end != rest.total:
            of = "nobody knows how many" if rest.total is None else rest.total
            raise ReplyEndedEarly(
                "the response ended early",
                f"the server sent bytes {rest.start + 1} to {rest.end}, of {of}",
            )

    def _move(self, part: Path) -> None:
        """Give the part its name: another file's only where the user has chosen it."""
        assert self.path is not None  # noqa: S101 - the part is named after it
        if self._given:
            part.replace(_target(self.path))
        else:
            self.path = _give_name(part, self.path)
        _notes(part).unlink(missing_ok=True)


def _numbered(name: str) -> Iterator[Path]:
    """Give paths of this name, then with numbers."""
    yield Path(name)
    for number in count(1):
        yield Path(f"{Path(name).stem}-{number}{Path(name).suffix}")


def _give_name(part: Path, path: Path) -> Path:
    """Rename a part to the path, or to a numbered one if that is taken; return which it is."""
    for free in _numbered(path.name):
        try:
            os.link(part, free)  # unlike rename(2) it never replaces
        except FileExistsError:
            continue
        except OSError as error:
            if error.errno not in {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS}:
                raise
            if os.path.lexists(free):
                continue
            part.rename(free)  # this file system knows no links
            return free
        part.unlink()
        return free
    raise AssertionError("numbers have no end")


def _begun_here(url: str) -> Path | None:
    """Return the path in this folder whose part is of that URL, the newest of several."""
    found = []
    for notes in Path().glob("*.part.json"):
        part = notes.with_suffix("")
        begun = _recall(part)
        if begun is not None and begun.url == url and part.is_file():
            found.append((notes.stat().st_mtime, part.with_suffix("")))
    return max(found)[1] if found else None


def _recall(part: Path) -> Validators | None:
    """Return what was noted of a part, None where that is lost."""
    try:
        return Validators(**json.loads(_notes(part).read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _notes(part: Path) -> Path:
    return _beside(part, ".json")


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _target(path: Path) -> Path:
    """Return where a path leads: a link is written through, not replaced."""
    try:
        return path.resolve() if path.is_symlink() else path
    except RuntimeError:  # links that go round, as pathlib has it before Python 3.13
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from None


def _mode(path: Path) -> int | None:
    """Return the permissions of the file that is to be replaced, None where there is none."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return None


def _is_odd(path: Path) -> bool:
    """Return whether the path is a device or a pipe, which takes bytes and no renaming."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def _cannot_write(path: Path, error: OSError) -> OutputError:
    why = os.strerror(error.errno or errno.EIO).lower()
    return OutputError(f"cannot write {path}", why, "Choose another place: -o FILE")
