"""A folder and nothing outside it: opening what lies beneath, whatever symbolic links say.

The descent goes name by name with ``openat(2)`` and ``O_NOFOLLOW``, so that a link that is swapped
in during the request is seen as the link that it is. Links that stay inside are followed here.
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

MOST_LINKS = 40
"""Symbolic links on one path; as many as Linux follows (path_resolution(7))."""

NO_NAMES = (b"", b".", b"..")

STEP = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
LAST = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY


class OpenedPath(NamedTuple):
    """A file or folder that lies beneath, open for reading; whoever asked for it closes it.

    ``linked`` says that a symbolic link was on the way: its path alone does not tell where it is.
    """

    descriptor: int
    status: os.stat_result
    linked: bool = False

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return stat.S_ISDIR(self.status.st_mode)


class DocumentRoot:
    """The folder that is served. It is looked up anew each time: it may be replaced as a whole."""

    def __init__(self, path: str | os.PathLike[str], *, hidden: bool = False) -> None:
        self.path = os.fsencode(os.path.abspath(path))
        self.hidden = hidden

    def check(self) -> None:
        """Raise CannotServe when it is not there, or cannot be read."""
        shown = os.fsdecode(self.path)
        if not os.path.isdir(self.path):
            why = "there is no such folder"
        elif not os.access(self.path, os.R_OK | os.X_OK):
            why = "you may not read it"
        else:
            return
        raise CannotServe(f"cannot serve {shown}", why, "Choose another with: -d DIR")

    def open(self, names: Sequence[bytes]) -> OpenedPath:
        """Open the file or folder at the end of ``names``.

        Raises FileNotFoundError when there is none that may be seen: missing, hidden, outside,
        unreadable, or neither a file nor a folder.
        """
        if self.is_hidden(names) or any(b"/" in name or name in NO_NAMES for name in names):
            raise FileNotFoundError(names)
        try:
            return self._descend(names)
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                raise  # that is our trouble, and says nothing about the file
            raise FileNotFoundError(names) from error

    def path_of(self, names: Sequence[bytes]) -> bytes:
        """Return the path of a name beneath, as it is written; a link in it may lead elsewhere."""
        return b"/".join((self.path, *names))

    def parents_of(self, names: Sequence[bytes]) -> list[bytes]:
        """Return the paths of the folders on the way to a name; all must be what they seem."""
        return [self.path_of(names[:end]) for end in range(1, len(names))]

    def is_hidden(self, names: Sequence[bytes]) -> bool:
        """Return whether one of the names begins with a dot, and that is to be hidden."""
        return not self.hidden and any(name.startswith(b".") for name in names)

    @contextmanager
    def opened(self, names: Sequence[bytes]) -> Iterator[OpenedPath]:
        """Open as ``open`` does, for the time of a with statement."""
        found = self.open(names)
        try:
            yield found
        finally:
            os.close(found.descriptor)

    def _descend(self, names: Sequence[bytes]) -> OpenedPath:
        way = [os.open(self.path, STEP & ~os.O_NOFOLLOW)]
        todo = list(reversed(names))
        links = 0
        try:
            while True:
                name = todo.pop() if todo else b"."
                if name == b"..":
                    if len(way) == 1:
                        raise PermissionError(errno.EXDEV, "it leaves the folder")
                    os.close(way.pop())
                    continue
                if links and name != b"." and self.is_hidden((name,)):
                    raise PermissionError(errno.EACCES, "a link leads to what is hidden")
                status = os.stat(name, dir_fd=way[-1], follow_symlinks=False)
                if stat.S_ISLNK(status.st_mode):
                    links += 1
                    if links > MOST_LINKS:
                        raise OSError(errno.ELOOP, "too many symbolic links")
                    todo += self._steps(os.readlink(name, dir_fd=way[-1]), way)
                elif todo:
                    way.append(os.open(name, STEP, dir_fd=way[-1]))
                else:
                    return _open_last(name, way[-1], status)._replace(linked=links > 0)
        finally:
            for descriptor in way:
                os.close(descriptor)

    def _steps(self, link: bytes, way: list[int]) -> list[bytes]:
        """Return the steps that a link stands for, the first one last."""
        if link.startswith(b"/"):
            root = os.path.realpath(self.path).rstrip(b"/") + b"/"
            if not link.startswith(root):
                raise PermissionError(errno.EXDEV, "it leaves the folder")
            while len(way) > 1:
                os.close(way.pop())
            link = link[len(root) :]
        return [step for step in reversed(link.split(b"/")) if step not in (b"", b".")]


def _open_last(name: bytes, where: int, status: os.stat_result) -> OpenedPath:
    # asked before: opening a FIFO would wake who writes to it, opening a device may do anything
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise PermissionError(errno.EACCES, "neither a file nor a folder")
    descriptor = os.open(name, LAST, dir_fd=where)
    status = os.fstat(descriptor)
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        os.close(descriptor)  # swapped in meanwhile
        raise PermissionError(errno.EACCES, "neither a file nor a folder")
    return OpenedPath(descriptor, status)
