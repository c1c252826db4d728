"""Check that a path still holds the version of a file from which a response was made."""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from stretta.http.server.files.file_version import ANY_FOLDER, FileVersion
from stretta.native import uses_compiled

__all__ = ["YOUNG", "FileStamp", "is_young"]

YOUNG, YOUNG_COARSE = 0.1, 2.1
"""Seconds after a change during which the next change may get the same timestamp. The second value
holds for file systems that store whole seconds, or on FAT every second one."""


def is_young(version: FileVersion, now: float) -> bool:
    """Return whether a file changed so recently that its next change may keep the version.

    ``now`` is in seconds since 1970. A file with a time in the future is young.
    """
    margin = YOUNG if version.changed % 10**9 else YOUNG_COARSE
    return max(version.modified, version.changed) > (now - margin) * 1e9


class FileStamp:
    """A path and the version that was there: of a file, ANY_FOLDER, or None for nothing."""

    __slots__ = ("_path", "_version")

    def __init__(self, path: bytes, version: FileVersion | None) -> None:
        self._path, self._version = path, version

    def is_current(self) -> bool:
        """Return whether the path still holds the version; a symbolic link there never does."""
        try:
            now = os.lstat(self._path)
        except OSError:
            return self._version is None
        if self._version is ANY_FOLDER:
            return stat.S_ISDIR(now.st_mode)
        return self._version == FileVersion.of(now)


in_python = FileStamp
if uses_compiled():
    with suppress(ImportError):  # not compiled on this machine
        from stretta.http.server._file_stamp import FileStamp  # type: ignore[assignment]
