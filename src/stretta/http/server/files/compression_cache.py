"""Compressed bodies by file version and content coding, bounded in bytes and in age. Pure."""

from __future__ import annotations

from collections import OrderedDict

from stretta.http.server.files.file_version import FileVersion

__all__ = ["CompressionCache"]

MAX_BYTES = 32 << 20
"""Bytes of all compressed bodies together."""

MAX_IDLE = 180.0
"""Seconds for which a body is kept after its last use."""


class CompressionCache:
    """Keeps compressed bodies; the least recently used is dropped when there are too many bytes.

    Times are in seconds, of any clock that does not go back.
    """

    def __init__(self, max_bytes: int = MAX_BYTES, max_idle: float = MAX_IDLE) -> None:
        self._max_bytes, self._max_idle = max_bytes, max_idle
        self._bodies: OrderedDict[tuple[FileVersion, str], tuple[bytes, float]] = OrderedDict()
        self.size = 0

    def get(self, version: FileVersion, coding: str, now: float) -> bytes | None:
        """Return the compressed body of a version, or None."""
        found = self._bodies.get((version, coding))
        if found is None:
            return None
        self._bodies[version, coding] = found[0], now
        self._bodies.move_to_end((version, coding))
        return found[0]

    def add(self, version: FileVersion, coding: str, body: bytes, now: float) -> None:
        """Keep a compressed body."""
        if (version, coding) in self._bodies:
            return
        self._bodies[version, coding] = body, now
        self.size += len(body)
        while self.size > self._max_bytes:
            self._drop_oldest()

    def drop_idle(self, now: float) -> None:
        """Drop the bodies that nobody has used for ``max_idle`` seconds."""
        while self._bodies and now - next(iter(self._bodies.values()))[1] >= self._max_idle:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        _, (body, _) = self._bodies.popitem(last=False)
        self.size -= len(body)
