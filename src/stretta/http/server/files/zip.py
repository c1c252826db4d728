"""A folder as a ZIP file, made while it is sent."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence

from zipstream import ZIP_STORED, ZipStream

from stretta.http.server.files.document_root import DocumentRoot
from stretta.http.server.files.file_body import MAX_CHUNK
from stretta.http.server.files.listing import scan

__all__ = ["ZipBody"]

DEEPEST = 64
"""Folders within folders that are followed; a link to its own parent goes round for ever."""


GIVE_WAY = 32
"""Things that are left out until others get their turn: looking at each takes its time."""


class ZipBody:
    """The ZIP file of a folder, piece by piece, uncompressed: it keeps pace with any network."""

    def __init__(self, root: DocumentRoot, names: Sequence[bytes]) -> None:
        self._root = root
        self._pieces = self._make(tuple(names))

    def __next__(self) -> bytes:
        """Return the next piece, empty where the search for it gives way to others.

        Raises OSError where something cannot be read to its end.
        """
        return next(self._pieces)

    def taken(self, *, whole: bool) -> None:
        """Go on as before: a piece is whatever the archive gives."""

    def close(self) -> None:
        """Close what is open."""
        self._pieces.close()

    def _make(self, names: tuple[bytes, ...]) -> Generator[bytes, None, None]:
        archive = ZipStream(compress_type=ZIP_STORED)
        for path in self._walk(names, 0):
            if path is None:
                yield b""
                continue
            inside = b"/".join(path[len(names) :]).decode("utf-8", "backslashreplace")
            inside = inside.replace("\\", "%5C")  # some programs take it for a separator
            archive.add(None if inside.endswith("/") else self._contents(path), inside)
            yield from archive.all_files()
        yield from archive.finalize()

    def _walk(self, names: tuple[bytes, ...], depth: int) -> Iterator[tuple[bytes, ...] | None]:
        """Give the paths beneath, and None now and then while there are none."""
        deeper, left_out = [], 0
        try:
            with self._root.opened(names) as opened:
                for entry in scan(self._root, names, opened.descriptor):
                    if entry is None:
                        left_out += 1
                        if left_out % GIVE_WAY == 0:
                            yield None
                    elif not entry.is_folder:
                        yield (*names, entry.name)
                    elif depth < DEEPEST and not self._is_link((*names, entry.name)):
                        deeper.append(entry.name)
                        yield (*names, entry.name, b"")  # the folder itself, empty or not
        except FileNotFoundError:  # removed meanwhile
            return
        for name in deeper:
            yield from self._walk((*names, name), depth + 1)

    def _is_link(self, names: tuple[bytes, ...]) -> bool:
        return os.path.islink(self._root.path_of(names))

    def _contents(self, names: tuple[bytes, ...]) -> Iterator[bytes]:
        try:
            with self._root.opened(names) as opened:
                at, end = 0, opened.status.st_size  # of a file that grows there is no end
                while piece := os.pread(opened.descriptor, min(MAX_CHUNK, end - at), at):
                    yield piece
                    at += len(piece)
        except FileNotFoundError:  # removed meanwhile: it stays empty
            return
