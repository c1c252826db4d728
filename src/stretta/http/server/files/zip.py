"""A folder as a ZIP file that is made while it is sent.

Members are stored uncompressed, which keeps pace with any network. Memory does not grow with the
number of files: the central directory is kept in a temporary file.
"""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from tempfile import SpooledTemporaryFile

from stretta.http.server.files.document_root import DocumentRoot
from stretta.http.server.files.file_body import MAX_CHUNK
from stretta.http.server.files.listing import Entry, scan
from stretta.http.server.files.zip_records import (
    MAX_16,
    MAX_32,
    DosTime,
    central_record,
    data_descriptor,
    dos_time,
    end_records,
    local_header,
)

__all__ = ["ZipBody"]

MAX_DEPTH = 64
"""Nested folders that are followed."""

PAUSE_AFTER = 32
"""Entries left out before other connections are served: looking at each takes a system call."""

DIRECTORY_IN_MEMORY = 256 * 1024
"""Bytes of the central directory that are kept in memory; a longer one goes to a file."""

Names = tuple[bytes, ...]


class ZipBody:
    """The ZIP file of a folder, in chunks. ``on_close`` is called once, at the end or earlier."""

    def __init__(
        self, root: DocumentRoot, names: Sequence[bytes], on_close: Callable[[], object] = bool
    ) -> None:
        self._root, self._names = root, tuple(names)
        self._on_close: Callable[[], object] | None = on_close
        self._offset = self._members = 0
        self._directory = SpooledTemporaryFile(DIRECTORY_IN_MEMORY)  # noqa: SIM115 - see close()
        self._chunks: Generator[bytes, None, None] | None = None  # made from self when needed

    def __next__(self) -> bytes:
        """Return the next chunk, an empty one to let other connections be served.

        Raises OSError when a file cannot be read to its end.
        """
        if self._chunks is None:
            self._chunks = self._make(self._names)
        chunk = next(self._chunks)
        self._offset += len(chunk)
        return chunk

    def taken(self, *, whole: bool) -> None:
        """Ignore the reader's pace: the size of a chunk does not depend on it."""

    def close(self) -> None:
        """Release the files and the place among the ZIP files under way."""
        if self._chunks is not None:
            self._chunks.close()
        self._directory.close()
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            on_close()

    def __del__(self) -> None:
        self.close()

    def _make(self, names: Names) -> Generator[bytes, None, None]:
        for path, entry in self._walk(names, 0):
            if entry is None:
                yield b""
                continue
            inside = b"/".join(path[len(names) :]).decode("utf-8", "backslashreplace")
            inside = inside.replace("\\", "%5C")  # some programs take it for a separator
            name = (inside + "/" * entry.is_folder).encode()
            if len(name) > MAX_16:
                continue
            moment = dos_time(time.localtime(min(max(entry.modified, 0), MAX_32))[:6])
            if entry.is_folder:
                self._record(name, moment, is_folder=True)
                yield local_header(name, moment, is_folder=True, is_large=False)
            else:
                yield from self._file(path, name, moment)
        start = self._offset
        self._directory.seek(0)
        while chunk := self._directory.read(MAX_CHUNK):
            yield chunk
        yield end_records(self._members, self._offset - start, start)

    def _record(
        self, name: bytes, moment: DosTime, *, is_folder: bool, checksum: int = 0, size: int = 0,
        offset: int | None = None,
    ) -> None:  # fmt: skip
        self._members += 1
        self._directory.write(
            central_record(
                name, moment, is_folder=is_folder, checksum=checksum, size=size,
                offset=self._offset if offset is None else offset,
            )
        )  # fmt: skip

    def _file(self, path: Names, name: bytes, moment: DosTime) -> Iterator[bytes]:
        offset, size, checksum = self._offset, 0, 0
        try:
            opened = self._root.open(path)
        except FileNotFoundError:  # removed meanwhile
            return
        try:
            end = opened.status.st_size  # a growing file would have no end
            is_large = end >= MAX_32
            chunk = local_header(name, moment, is_folder=False, is_large=is_large)
            while True:
                yield chunk
                chunk = os.pread(opened.descriptor, min(MAX_CHUNK, end - size), size)
                if not chunk:
                    break
                size += len(chunk)
                checksum = zlib.crc32(chunk, checksum)
        finally:
            os.close(opened.descriptor)
        self._record(name, moment, is_folder=False, checksum=checksum, size=size, offset=offset)
        yield data_descriptor(checksum, size, is_large=is_large)

    def _walk(self, names: Names, depth: int) -> Iterator[tuple[Names, Entry | None]]:
        """Yield the paths and entries beneath a folder, and None after some entries left out."""
        folders, left_out = [], 0
        try:
            with self._root.opened(names) as opened:
                for entry in scan(self._root, names, opened.descriptor):
                    if entry is None:
                        left_out += 1
                        if left_out % PAUSE_AFTER == 0:
                            yield (), None
                        continue
                    path = (*names, entry.name)
                    if not entry.is_folder:
                        yield path, entry
                    elif depth < MAX_DEPTH and not os.path.islink(self._root.path_of(path)):
                        folders.append(entry.name)  # a link may lead to its own parent
                        yield path, entry
        except FileNotFoundError:  # removed meanwhile
            return
        for name in folders:
            yield from self._walk((*names, name), depth + 1)
