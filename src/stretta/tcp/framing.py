"""Framing: where one request ends, in a stream that has no boundaries of its own. Pure.

A framing takes bytes as they arrive, however they were cut, and gives the pieces to answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

__all__ = ["Framing", "LineFraming", "LineTooLong", "StreamFraming"]


class LineTooLong(ValueError):
    """A line went on beyond the limit; the lines before it have been given already."""


class Framing(Protocol):
    """What a framing does."""

    def feed(self, data: bytes) -> Iterable[tuple[bytes, bytes]]:
        """Take what arrived; give the pieces that can be answered now.

        Each is a request for the service and the bytes that follow its reply.
        """

    def finish(self) -> Sequence[tuple[bytes, bytes]]:
        """Take the end of the stream; return the pieces that were waiting for more."""


class StreamFraming:
    """Whatever arrives is a piece, except a tail that ``cut`` leaves for the next bytes.

    ``cut(data)`` returns how many leading bytes can be answered without what follows them.

    >>> from stretta.services import whole_characters
    >>> framing = StreamFraming(whole_characters)
    >>> framing.feed("é".encode()[:1]), framing.feed("é".encode()[1:])
    ((), ((b'\\xc3\\xa9', b''),))
    """

    __slots__ = ("_cut", "_held")

    def __init__(self, cut: Callable[[bytes], int] | None = None) -> None:
        self._cut = cut
        self._held = b""

    @property
    def holds(self) -> bool:
        """Whether a tail waits for what completes it."""
        return bool(self._held)

    def feed(self, data: bytes) -> Sequence[tuple[bytes, bytes]]:
        """Take what arrived; return at most one piece."""
        if self._cut is None:
            return ((data, b""),)
        if self._held:
            data, self._held = self._held + data, b""
        end = self._cut(data)
        if end != len(data):
            data, self._held = data[:end], data[end:]
            if not data:
                return ()
        return ((data, b""),)

    def finish(self) -> Sequence[tuple[bytes, bytes]]:
        """Return the tail, which nothing will complete any more."""
        held, self._held = self._held, b""
        return ((held, b""),) if held else ()


class LineFraming:
    """Each line is a piece, without its end (LF or CRLF), which then follows the reply.

    A last line without an end is a piece too, and nothing follows its reply.

    >>> framing = LineFraming(80)
    >>> list(framing.feed(b"uno\\r\\ndu")), list(framing.feed(b"e\\n")), framing.finish()
    ([(b'uno', b'\\r\\n')], [(b'due', b'\\n')], ())
    """

    __slots__ = ("_held", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Take what arrived; give the lines it completes. Raises LineTooLong after the last."""
        if b"\n" not in data:  # a line that comes byte by byte is looked through only once
            self._held += data
        else:
            first, *lines = data.split(b"\n")
            lines.insert(0, bytes(self._held) + first)
            self._held = bytearray(lines.pop())
            for line in lines:
                self._check(len(line))
                yield (line[:-1], b"\r\n") if line.endswith(b"\r") else (line, b"\n")
        self._check(len(self._held))

    def finish(self) -> Sequence[tuple[bytes, bytes]]:
        """Return the last line, if it had no end."""
        held, self._held = bytes(self._held), bytearray()
        return ((held, b""),) if held else ()

    def _check(self, length: int) -> None:
        if length > self._limit:
            raise LineTooLong(f"a line is longer than {self._limit} bytes")
