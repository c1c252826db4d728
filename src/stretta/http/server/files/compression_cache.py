"""Compressed bodies by file version and content coding, bounded in bytes. Pure."""

from __future__ import annotations

from stretta.http.server.files.file_version import FileVersion

__all__ = ["CompressionCache"]

MAX_BYTES = 32 << 20
"""Bytes of all compressed bodies together."""


class CompressionCache:
    """Keeps compressed bodies; the oldest is dropped when there are too many bytes."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bodies: dict[tuple[FileVersion, str], bytes] = {}
        self._size = 0

    def get(self, version: FileVersion, coding: str) -> bytes | None:
        """Return the compressed body of a version, or None."""
        return self._bodies.get((version, coding))

    def add(self, version: FileVersion, coding: str, body: bytes) -> None:
        """Keep a compressed body."""
        key = version, coding
        if key in self._bodies:
            return
        self._bodies[key] = body
        self._size += len(body)
        while self._size > self._max_bytes:
            oldest = next(iter(self._bodies))
            self._size -= len(self._bodies.pop(oldest))
