"""A file descriptor as the message: it is read only as fast as the server accepts the bytes."""

from __future__ import annotations

import os
import select
import stat

__all__ = ["FileSource"]

CHUNK = 256 * 1024
"""Bytes of one read at most: enough to make the cost of a call small."""


class FileSource:
    """A file descriptor that is read in pieces; for -1 the input has ended already.

    ``size`` is how many bytes are left to read, None where that cannot be known.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.ended = descriptor < 0
        self.size = _bytes_left(descriptor)
        self._buffer = memoryview(bytearray(0 if self.ended else CHUNK))

    def read(self) -> memoryview:
        """Return the next piece, empty at the end of the input; valid until the next call."""
        piece = self._buffer[: os.readv(self.descriptor, [self._buffer])]
        self.ended = not piece
        return piece

    def at_end(self) -> bool:
        """Return whether the input has ended, without waiting for more of it."""
        if not self.ended:
            poll = select.poll()
            poll.register(self.descriptor, select.POLLIN)
            if poll.poll(0):
                self.read()
        return self.ended


def _bytes_left(descriptor: int) -> int | None:
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return None
        return max(0, status.st_size - os.lseek(descriptor, 0, os.SEEK_CUR))
    except OSError:
        return None
