"""Saving a response: under its final name only when it is whole, and resumed when it was not."""

from __future__ import annotations

import json
import os
import stat
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from stretta.cli.progress import Progress
from stretta.errors import OutputError, ReplyEndedEarly, StrettaError, TimedOut
from stretta.http.client import ResponseStream
from stretta.http.filename import file_name
from stretta.http.resume import Validators, range_fields, rest_begins

__all__ = ["Saving", "free_name"]


def free_name(name: str, folder: Path) -> Path:
    """Return a path of this name in the folder, or of a numbered one when it is taken."""
    path, number = folder / name, 1
    while path.exists() or path.is_symlink():
        path = folder / f"{Path(name).stem}-{number}{Path(name).suffix}"
        number += 1
    return path


class Saving:
    """One response that goes to a file.

    While it comes it is ``FILE.part``, with what identifies it in ``FILE.part.json``; when it has
    come whole it is renamed. ``path`` is None where the response has to name it (-O).
    """

    def __init__(self, path: Path | None, *, resume: bool, quiet: bool = False) -> None:
        self.path = path
        self.total: int | None = None
        self.done = 0
        self.note = ""  # what to tell once it is there
        self._resume = resume
        self._quiet = quiet
        self._have = 0
        self._begun: Validators | None = None
        if resume and path is not None:
            self._look_for_part(path)

    @property
    def is_there(self) -> bool:
        """Whether the file is there whole, so that there is nothing to continue."""
        return bool(self._resume and not self._have and self.path and self.path.is_file())

    def fields(self) -> list[tuple[str, str]]:
        """Return the header fields that ask for the rest of what is there."""
        return range_fields(self._begun, self._have) if self._begun and self._have else []

    def take(self, stream: ResponseStream) -> None:
        """Write the body to the file as it comes.

        Raises OutputError when it cannot be written, ReplyEndedEarly, which says how to go on, and
        what reading the body raises.
        """
        head, reader = stream.head, stream.exchange.reader
        if self.path is None:
            self.path = free_name(file_name(head.headers, stream.exchange.request.url), Path())
        start = 0
        if self._begun is not None and self._have:
            start = rest_begins(self._begun, self._have, head)
            if not start:
                self.note = "(the object had changed, or cannot be continued: all of it came anew)"
        self.total = None if reader.expected is None else reader.expected + start
        if _is_odd(self.path):
            self._write(stream, self.path, "wb", 0)
            return
        part = _beside(self.path, ".part")
        if not start:
            self._remember(Validators.of(str(stream.exchange.request.url), head, self.total))
        try:
            self._write(stream, part, "ab" if start else "wb", start)
        except (ReplyEndedEarly, TimedOut) as error:
            kept = f"{self.done} bytes are in {part}. To go on: the same command with -c"
            raise type(error)(error.what, error.why, f"{error.hint} {kept}".strip()) from None
        self._move(part, self.path)

    def complete_if_whole(self, stream: ResponseStream) -> bool:
        """Return whether a 416 says that the part is all there is; if so, it gets its name."""
        said = (stream.head.headers.get("content-range") or "").replace(" ", "")
        if stream.head.status != 416 or not self._have or self.path is None:
            return False
        if said != f"bytes*/{self._have}":
            return False
        self.done = self._have
        self._move(_beside(self.path, ".part"), self.path)
        return True

    def _look_for_part(self, path: Path) -> None:
        part = _beside(path, ".part")
        with suppress(OSError, ValueError, TypeError):
            self._have = part.stat().st_size
            self._begun = Validators(**json.loads(_beside(path, ".part.json").read_text()))
        self._begun = self._begun or Validators(url="")

    def _remember(self, validators: Validators) -> None:
        assert self.path is not None  # noqa: S101 - take() has set it
        try:
            _beside(self.path, ".part.json").write_text(json.dumps(asdict(validators)))
        except OSError as error:
            raise _cannot_write(self.path, error) from error

    def _write(self, stream: ResponseStream, path: Path, mode: str, start: int) -> None:
        progress = Progress(self.total, start, quiet=self._quiet)
        self.done = start
        try:
            with path.open(mode, buffering=0) as file:
                for piece in stream:
                    rest = memoryview(piece)
                    while rest:  # write(2) may take a part
                        rest = rest[os.write(file.fileno(), rest) :]
                    self.done += len(piece)
                    progress.show(self.done)
        except StrettaError:
            raise
        except OSError as error:
            raise _cannot_write(path, error) from error
        finally:
            progress.end()

    def _move(self, part: Path, path: Path) -> None:
        try:
            part.replace(path)
            _beside(path, ".part.json").unlink(missing_ok=True)
        except OSError as error:
            raise _cannot_write(path, error) from error


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _is_odd(path: Path) -> bool:
    """Return whether the path is a device or a pipe, which takes bytes and no renaming."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def _cannot_write(path: Path, error: OSError) -> OutputError:
    why = os.strerror(error.errno or 0).lower()
    return OutputError(f"cannot write {path}", why, "Choose another place: -o FILE")
