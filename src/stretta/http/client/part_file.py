"""Files of a download: the part, its metadata, and the names that a download may take."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import asdict
from itertools import count
from pathlib import Path
from urllib.parse import unquote

from stretta.errors import OutputError
from stretta.http.client.resume import PartMetadata
from stretta.http.message.content_disposition import file_name_in
from stretta.http.message.headers import Headers
from stretta.http.message.url import Url
from stretta.private_file import write_private

__all__ = ["PartFile", "download_name", "is_special_file", "resolve_link"]

MAX_NAME = 200
"""Bytes of a name: file systems take 255, and suffixes need room."""


class PartFile:
    """The file that holds a download until it is complete: ``target`` with the suffix ``.part``.

    Its metadata is in a file with the further suffix ``.json``. The methods raise OSError.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = _with_suffix(target, ".part")
        self._metadata_path = _with_suffix(self.path, ".json")

    @classmethod
    def create(cls, name: str) -> tuple[PartFile, int]:
        """Create the part of the first free name: ``name``, else one with a number.

        Return the part and its descriptor, open for writing and locked.
        """
        for target in _numbered(name):
            part = cls(target)
            if os.path.lexists(target) or os.path.lexists(part._metadata_path):
                continue
            try:
                descriptor = os.open(part.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            except FileExistsError:
                continue
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            return part, descriptor
        raise AssertionError("count() does not end")

    @classmethod
    def find(cls, url: str) -> PartFile | None:
        """Return the newest part of that URL in the current folder, None if there is none."""
        found = []
        for metadata_path in Path().glob("*.part.json"):
            part = cls(metadata_path.with_suffix("").with_suffix(""))
            metadata = part.load_metadata()
            if metadata is not None and metadata.url == url and part.path.is_file():
                found.append((metadata_path.stat().st_mtime, part.target))
        return cls(max(found)[1]) if found else None

    def open(self, size: int) -> int:
        """Return a descriptor for writing after the first ``size`` bytes, which are kept.

        The part gets the mode of the file that it will replace. Raises OutputError when another
        process is writing it.
        """
        mode = _mode(self.target)
        descriptor = os.open(
            self.path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o666 if mode is None else mode
        )
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise OutputError(
                    f"cannot write {self.path}",
                    "another download is writing it",
                    "Wait until it ends, or choose another place: -o FILE",
                ) from None
            if mode is not None:
                os.fchmod(descriptor, mode)
            os.ftruncate(descriptor, size)
            os.lseek(descriptor, 0, os.SEEK_END)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def load_metadata(self) -> PartMetadata | None:
        """Return the metadata, None when it is missing or damaged."""
        try:
            fields = json.loads(self._metadata_path.read_text("utf-8"))
            metadata = PartMetadata(**fields)
        except (OSError, ValueError, TypeError, RecursionError):
            return None
        texts = (metadata.url, metadata.etag, metadata.last_modified)
        known = isinstance(metadata.size, int) or metadata.size is None
        return metadata if known and all(isinstance(text, str) for text in texts) else None

    def save_metadata(self, metadata: PartMetadata) -> None:
        """Write the metadata; a URL may hold secrets."""
        write_private(self._metadata_path, [json.dumps(asdict(metadata)).encode()])

    def replace_target(self) -> None:
        """Give the complete part its target's name, over a file of that name."""
        self.path.replace(self.target)
        self._metadata_path.unlink(missing_ok=True)

    def take_free_name(self) -> Path:
        """Give the complete part its target's name, or a numbered one if that is taken.

        Return the name. No file is replaced.
        """
        path = _rename_to_free(self.path, self.target.name)
        self._metadata_path.unlink(missing_ok=True)
        return path

    def remove(self) -> None:
        """Remove the part and its metadata."""
        self.path.unlink(missing_ok=True)
        self._metadata_path.unlink(missing_ok=True)


def download_name(headers: Headers, url: Url) -> str:
    """Return the name that Content-Disposition or the URL's path gives to the object.

    It is one component of a path, without control characters and without leading dots.

    >>> from stretta.http.message.url import parse_url
    >>> url = parse_url("http://a/b/perch%C3%A9.txt?x=1")
    >>> download_name(Headers(), url)
    'perché.txt'
    >>> field = ("Content-Disposition", 'attachment; filename="../../.bashrc"')
    >>> download_name(Headers([field]), url)
    'bashrc'
    """
    fields = headers.get_all("content-disposition")
    for name in (file_name_in(fields[0]) if fields else "", unquote(url.path)):
        safe = _safe_name(name)
        if safe:
            return safe
    return "index.html"


def is_special_file(path: Path) -> bool:
    """Return whether the path is a device or a pipe, which can be written and not renamed."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def resolve_link(path: Path) -> Path:
    """Return the path to which a symbolic link leads, any other path as it is. Raises OSError."""
    try:
        return path.resolve() if path.is_symlink() else path
    except RuntimeError:  # pathlib's error for a loop of links before Python 3.13
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from None


def _safe_name(name: str) -> str:
    last = re.split(r"[/\\]", name)[-1][-4 * MAX_NAME :]
    last = "".join(c for c in last if c.isprintable() and c != "\ufffd").strip().lstrip(".")
    while len(last.encode(errors="replace")) > MAX_NAME:
        last = last[1:]  # the end of a name, its extension, matters most
    return last.lstrip(". ")


def _numbered(name: str) -> Iterator[Path]:
    """Yield the name, then the name with numbers."""
    yield Path(name)
    for number in count(1):
        yield Path(f"{Path(name).stem}-{number}{Path(name).suffix}")


def _rename_to_free(part: Path, name: str) -> Path:
    """Rename a part to the first free name and return it; rename(2) would replace a file."""
    for path in _numbered(name):
        try:
            os.link(part, path)
        except FileExistsError:
            continue
        except OSError as error:
            if error.errno not in {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS}:
                raise
            if os.path.lexists(path):
                continue
            part.rename(path)  # this file system has no hard links
            return path
        part.unlink()
        return path
    raise AssertionError("count() does not end")


def _with_suffix(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _mode(path: Path) -> int | None:
    """Return the permission bits of a file, None if it does not exist."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return None
