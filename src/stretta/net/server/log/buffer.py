"""A bounded buffer of log lines that counts those that found no room. Pure."""

from __future__ import annotations

__all__ = ["LogBuffer"]


class LogBuffer:
    """Keeps up to ``limit`` bytes of text until a writer takes them, in pieces of whole lines.

    Text that finds no room is dropped and its lines are counted. The count is reported in a line
    of its own as soon as there is room again.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = bytearray()
        self._unreported = 0
        self.lost = 0  # lines, since the beginning

    def __bool__(self) -> bool:
        return bool(self._held or self._unreported)

    def add(self, data: bytes) -> None:
        """Keep the data, or count its lines as lost."""
        if self._unreported or len(self._held) + len(data) > self._limit:
            lines = data.count(b"\n") or 1
            self.lost += lines
            self._unreported += lines
        else:
            self._held += data

    def peek(self, most: int) -> bytes:
        """Return the next piece: whole lines of up to ``most`` bytes, or one longer line."""
        if not self._held and self._unreported:
            what = "line was" if self._unreported == 1 else "lines were"
            self._held += b"%d log %s lost: nobody read them in time.\n" % (
                self._unreported,
                what.encode(),
            )
            self._unreported = 0
        if len(self._held) <= most:
            return bytes(self._held)
        end = self._held.rfind(b"\n", 0, most) + 1 or self._held.find(b"\n") + 1
        return bytes(self._held[: end or len(self._held)])

    def advance(self, written: int) -> None:
        """Remove the first ``written`` bytes."""
        del self._held[:written]

    def clear(self) -> None:
        """Forget everything."""
        self._held.clear()
        self._unreported = 0
