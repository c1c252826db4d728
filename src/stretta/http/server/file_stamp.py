"""Whether what a reply was made from is as it was, asked of the file system. Touches files only."""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from stretta.http.server.files.file_version import ANY_FOLDER, FileVersion
from stretta.native import uses_compiled

__all__ = ["TOO_YOUNG", "FileStamp", "is_young"]

TOO_YOUNG, COARSE = 0.1, 2.1
"""Seconds for which a change is not trusted: the next may bear the same time of the file system.
Some file systems know but seconds, FAT every second one of them."""


def is_young(version: FileVersion, now: float) -> bool:
    """Return whether a file has changed so lately that the next change may leave its version.

    ``now`` is in seconds since 1970.
    """
    rest = TOO_YOUNG if version.changed % 10**9 else COARSE
    return max(version.modified, version.changed) > (now - rest) * 1e9


class FileStamp:
    """A path, and what a reply was made from there: a version, a folder, or nothing (None)."""

    __slots__ = ("_path", "_version")

    def __init__(self, path: bytes, version: FileVersion | None) -> None:
        self._path, self._version = path, version

    def is_current(self) -> bool:
        """Return whether it is as it was; a link in its place is another thing."""
        try:
            now = os.lstat(self._path)
        except OSError:
            return self._version is None
        if self._version is ANY_FOLDER:
            return stat.S_ISDIR(now.st_mode)
        return self._version == FileVersion.of(now)


in_python = FileStamp
if uses_compiled():
    with suppress(ImportError):  # it is not compiled here
        from stretta.http.server._file_stamp import FileStamp  # type: ignore[assignment]
