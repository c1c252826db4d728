"""The body of a response that comes from an open file: byte ranges, read in chunks or sent whole.

An open descriptor always shows the file's present content. Every body therefore knows the version
that its headers describe, and compares it with the file before the last bytes go out.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from stretta.http.server.file_stamp import is_young
from stretta.http.server.files.file_version import FileVersion

__all__ = ["MAX_COPIED", "MAX_COPIED_WITHOUT_SENDFILE", "FileBody", "FileChanged", "OpenFile"]

MIN_CHUNK, MAX_CHUNK = 16 * 1024, 256 * 1024
"""Bytes read at a time. The size doubles after each chunk that the kernel took whole and halves
after each one that it did not, so a slow reader ties up little memory."""

HELD_BACK = MIN_CHUNK
"""Bytes at the end of a body that are sent only after a check that the file has not changed."""

SENDFILE_STEP = 1024 * 1024
"""Most bytes for one sendfile(2), so that other connections are served in between."""

END_SIZE = 4096
"""Bytes compared at each end of a file that has grown, to tell appending from rewriting."""

MAX_COPIED, MAX_COPIED_WITHOUT_SENDFILE = 64 * 1024, 256 * 1024
"""Largest body in bytes that is read at once. It is of one version, because the copy is compared
with the file before it is sent. At 100 KiB sendfile(2) is faster by 8 %."""

Ends = tuple[bytes, bytes]


class FileChanged(OSError):
    """The file changed while it was read or sent."""


class OpenFile:
    """An open descriptor that is closed with its last reference: a cache, a transport, a body."""

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)


class FileBody:
    """Byte ranges of an open file, and bytes between them, in chunks.

    A chunk is valid until the next call: all chunks share one buffer, because a new buffer costs
    more than the copy. ``ends`` holds the first and last bytes of ``version`` where they are known.
    """

    __slots__ = ("_buffer", "_chunk_size", "_descriptor", "_ends", "_parts", "file", "version")

    def __init__(
        self,
        file: OpenFile,
        parts: Sequence[bytes | range],
        version: FileVersion,
        ends: Ends | None = None,
    ) -> None:
        self.file: OpenFile | None = file
        self.version = version
        self._ends = ends
        self._descriptor = file.fileno()
        self._parts = list(reversed(parts))
        self._chunk_size = MIN_CHUNK
        self._buffer = memoryview(b"")

    def __next__(self) -> bytes | memoryview:
        """Return the next chunk. Raises FileChanged when the file is of another version now."""
        if not self._parts:
            raise StopIteration
        part = self._parts.pop()
        if isinstance(part, bytes):
            return part
        if len(self._buffer) != self._chunk_size:
            self._buffer = memoryview(bytearray(self._chunk_size))
        size = os.preadv(self._descriptor, [self._buffer[: len(part)]], part.start)
        if not size or (
            size == len(part) and self._is_last(self._parts) and self._was_overwritten()
        ):
            raise FileChanged("the file was changed while it was sent")
        if size < len(part):
            self._parts.append(part[size:])
        return self._buffer[:size]

    def fileno(self) -> int:
        """Return the file's descriptor."""
        return self._descriptor

    @property
    def single_range(self) -> range | None:
        """The byte range of a body that is one range, before any of it is taken; else None."""
        first = self._parts[0]
        return first if len(self._parts) == 1 and isinstance(first, range) else None

    def read_all(self) -> bytes:
        """Return the whole body. Raises FileChanged when it may mix two versions.

        A writer sets the modification time before it writes, so a young file may be half written
        and show its new version already: it is read twice, and both readings must agree.
        """
        body = self.read_now()
        if len(body) != sum(len(part) for part in self._parts):
            raise FileChanged("the file was changed while it was read")
        self._check_version()
        if is_young(self.version, time.time()):
            if self.read_now() != body:
                raise FileChanged("the file was changed while it was read")
            self._check_version()
        return body

    def read_now(self) -> bytes:
        """Return the body as the file is at the moment, which may be shorter or a mixture."""
        return b"".join(
            part if isinstance(part, bytes) else os.pread(self._descriptor, len(part), part.start)
            for part in reversed(self._parts)
        )

    def record_ends(self, *, checked: bool = True) -> Ends:
        """Return the first and last bytes of the version, which identify it in a longer file.

        Call it before any of the body is sent. Raises FileChanged when the version is gone already,
        unless ``checked`` is false.
        """
        if self._ends is None:
            ends = self._read_ends()
            if checked:
                self._check_version()
            self._ends = ends
        return self._ends

    def take_range(self) -> range | None:
        """Return the next byte range for sendfile(2), or None when the next chunk is not a range.

        Raises FileChanged before the last bytes when the file is of another version now. Those
        bytes are not copied: a copy would differ from the bytes that the kernel has not sent yet,
        which change with the file.
        """
        part = self._parts[-1] if self._parts else b""
        if isinstance(part, bytes):
            return None
        held_back = HELD_BACK if self._is_last(self._parts[:-1]) else 0
        if len(part) <= held_back:
            if self._was_overwritten():
                raise FileChanged("the file was changed while it was sent")
            held_back = 0
        step = part[: min(len(part) - held_back, SENDFILE_STEP)]
        if len(step) < len(part):
            self._parts[-1] = part[len(step) :]
        else:
            self._parts.pop()
        return step

    def taken(self, *, whole: bool) -> None:
        """Adapt the chunk size: ``whole`` tells whether the kernel took all of the last chunk."""
        if whole:
            self._chunk_size = min(2 * self._chunk_size, MAX_CHUNK)
        else:
            self._chunk_size = max(self._chunk_size // 2, MIN_CHUNK)
            self._buffer = memoryview(b"")

    def close(self) -> None:
        """Release the file."""
        self.file = None

    def _check_version(self) -> None:
        if FileVersion.of(os.fstat(self._descriptor)) != self.version:
            raise FileChanged("the file was changed while it was read")

    @staticmethod
    def _is_last(following: Sequence[bytes | range]) -> bool:
        """Return whether a chunk is the last one from the file, given the parts that follow it."""
        return all(isinstance(part, bytes) for part in following)

    def _read_ends(self) -> Ends:
        last = max(0, self.version.size - END_SIZE)
        return os.pread(self._descriptor, END_SIZE, 0), os.pread(self._descriptor, END_SIZE, last)

    def _was_overwritten(self) -> bool:
        """Return whether the bytes sent so far may be of two versions.

        Appending is harmless: the response still holds exactly the bytes that it promised.
        """
        for _ in range(2):
            now = os.fstat(self._descriptor)
            if now.st_mtime_ns == self.version.modified:
                return False
            if now.st_size > self.version.size and self._ends is not None:
                begin, end = self._read_ends()
                return (begin, end[: len(self._ends[1])]) != self._ends
            os.sched_yield()  # an append sets the modification time a moment before the size
        return True
