"""Files that may hold secrets: readable and writable by their owner only."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

__all__ = ["open_private", "write_private"]


def open_private(path: str | Path) -> int:
    """Return the descriptor of a file, open for writing; a regular one has mode 0600 from now on.

    The file is created if it does not exist, and is not truncated. Raises OSError.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.fchmod(descriptor, 0o600)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def write_private(path: str | Path, parts: Iterable[bytes]) -> None:
    """Replace the content of a file; its mode becomes 0600 before the first byte is written.

    Raises OSError.
    """
    with open(open_private(path), "wb") as file:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            file.truncate(0)
        file.writelines(parts)
