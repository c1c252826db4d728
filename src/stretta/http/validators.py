"""Whether what a reply was made from is as it was, asked of the file system. Touches files only."""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from stretta.http.folder import A_FOLDER, Version

__all__ = ["Validator"]


class Validator:
    """A path, and what a reply was made from there: a version, a folder, or nothing (None)."""

    __slots__ = ("_path", "_version")

    def __init__(self, path: bytes, version: Version | None) -> None:
        self._path, self._version = path, version

    def holds(self) -> bool:
        """Return whether it is as it was; a link in its place is another thing."""
        try:
            now = os.lstat(self._path)
        except OSError:
            return self._version is None
        if self._version is A_FOLDER:
            return stat.S_ISDIR(now.st_mode)
        return self._version == Version.of(now)


in_python = Validator
if not os.environ.get("STRETTA_PURE"):
    with suppress(ImportError):  # it is not compiled here
        from stretta.http.lstat import Validator  # type: ignore[assignment]
