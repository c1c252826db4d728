"""Open files beneath a root folder; symbolic links cannot lead out of it.

The path is resolved one name at a time with openat(2) and O_NOFOLLOW, so a link that replaces a
folder during the request is never followed by the kernel. Links within the root are followed here.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from stretta.errors import CannotServe

__all__ = ["DocumentRoot", "OpenedPath"]

MAX_LINKS = 40
"""Most symbolic links on one path, as in Linux (path_resolution(7))."""

MAX_DEPTH = 1024
"""Most names in one path; there are no deeper folders, and each name takes a system call."""

INVALID_NAMES = (b"", b".", b"..")

FOLDER_FLAGS = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY


class OpenedPath(NamedTuple):
    """A file or folder beneath the root, open for reading; the caller closes the descriptor.

    ``linked`` tells that the path contains a symbolic link.
    """

    descriptor: int
    status: os.stat_result
    linked: bool = False

    @property
    def is_folder(self) -> bool:
        """Whether a folder was opened."""
        return stat.S_ISDIR(self.status.st_mode)


class DocumentRoot:
    """The folder that is served. Each call opens it anew, because another one may replace it."""

    def __init__(self, path: str | os.PathLike[str], *, hidden: bool = False) -> None:
        self.path = os.fsencode(os.path.abspath(path))
        self.hidden = hidden

    def check(self) -> None:
        """Raise CannotServe when the folder is missing or not readable."""
        shown = os.fsdecode(self.path)
        if not os.path.isdir(self.path):
            why = "there is no such folder"
        elif not os.access(self.path, os.R_OK | os.X_OK):
            why = "permission denied"
        else:
            return
        raise CannotServe(f"cannot serve {shown}", why, "To serve another folder: -d DIR")

    def open(self, names: Sequence[bytes]) -> OpenedPath:
        """Open the file or folder at the path ``names``.

        Raises FileNotFoundError for a path that is missing, hidden, unreadable or outside the root,
        and for devices, sockets and FIFOs. Raises OSError when no descriptor is free.
        """
        if len(names) > MAX_DEPTH:
            raise FileNotFoundError(errno.ENAMETOOLONG, "the path has too many names")
        has_slash = b"/".join(names).count(b"/") >= len(names) > 0
        if has_slash or self.is_hidden(names) or any(name in names for name in INVALID_NAMES):
            raise FileNotFoundError(names)
        try:
            return self._resolve(names)
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                raise  # this tells nothing about the file
            raise FileNotFoundError(names) from error

    def path_of(self, names: Sequence[bytes]) -> bytes:
        """Return the path of ``names`` as text; a link in it may lead elsewhere."""
        return b"/".join((self.path, *names))

    def parents_of(self, names: Sequence[bytes]) -> list[bytes]:
        """Return the paths of the folders between the root and the last of ``names``."""
        return [self.path_of(names[:end]) for end in range(1, len(names))]

    def is_hidden(self, names: Sequence[bytes]) -> bool:
        """Return whether a name begins with a dot and such names are hidden."""
        return not self.hidden and b"/." in b"/" + b"/".join(names)

    @contextmanager
    def opened(self, names: Sequence[bytes]) -> Iterator[OpenedPath]:
        """Open like ``open``, and close at the end of the with statement."""
        opened = self.open(names)
        try:
            yield opened
        finally:
            os.close(opened.descriptor)

    def _resolve(self, names: Sequence[bytes]) -> OpenedPath:
        folders = [os.open(self.path, FOLDER_FLAGS & ~os.O_NOFOLLOW)]  # from the root down
        pending = list(reversed(names))
        links = 0
        try:
            while True:
                name = pending.pop() if pending else b"."
                if name == b"..":
                    if len(folders) == 1:
                        raise PermissionError(errno.EXDEV, "the link leaves the root")
                    os.close(folders.pop())
                    continue
                if links and name != b"." and self.is_hidden((name,)):
                    raise PermissionError(errno.EACCES, "the link leads to a hidden name")
                status = os.stat(name, dir_fd=folders[-1], follow_symlinks=False)
                if stat.S_ISLNK(status.st_mode):
                    links += 1
                    if links > MAX_LINKS:
                        raise OSError(errno.ELOOP, "too many symbolic links")
                    pending += self._expand(os.readlink(name, dir_fd=folders[-1]), folders)
                elif pending:
                    folders.append(os.open(name, FOLDER_FLAGS, dir_fd=folders[-1]))
                else:
                    return _open_last(name, folders[-1], status)._replace(linked=links > 0)
        finally:
            for descriptor in folders:
                os.close(descriptor)

    def _expand(self, target: bytes, folders: list[int]) -> list[bytes]:
        """Return the names in a link's target, last one first; ``/`` goes back to the root."""
        if target.startswith(b"/"):
            root = os.path.realpath(self.path).rstrip(b"/") + b"/"
            if not target.startswith(root):
                raise PermissionError(errno.EXDEV, "the link leaves the root")
            while len(folders) > 1:
                os.close(folders.pop())
            target = target[len(root) :]
        return [name for name in reversed(target.split(b"/")) if name not in (b"", b".")]


def _open_last(name: bytes, folder: int, status: os.stat_result) -> OpenedPath:
    # checked first, because opening a FIFO wakes its writer and opening a device has side effects
    _require_file_or_folder(status)
    descriptor = os.open(name, FILE_FLAGS, dir_fd=folder)
    try:
        status = os.fstat(descriptor)
        _require_file_or_folder(status)  # it may have been replaced since the check
    except OSError:
        os.close(descriptor)
        raise
    return OpenedPath(descriptor, status)


def _require_file_or_folder(status: os.stat_result) -> None:
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise PermissionError(errno.EACCES, "neither a file nor a folder")
