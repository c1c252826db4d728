"""Framing: where one request ends, in a stream that has no boundaries of its own. Pure.

A framing takes bytes as they arrive, however they were cut, and returns one request at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

__all__ = ["Framing", "LineFraming", "LineTooLong", "StreamFraming"]

Request = tuple[bytes, bytes]
"""The bytes for the service, and the bytes that follow its reply."""


class LineTooLong(ValueError):
    """A line is longer than the limit; every line before it has been returned."""


class Framing(Protocol):
    """Splits a stream into requests."""

    @property
    def is_empty(self) -> bool:
        """Whether no received byte waits to be part of a request."""

    def receive_data(self, data: bytes) -> None:
        """Add received bytes."""

    def receive_eof(self) -> None:
        """Note the end of the stream: the rest is a request."""

    def next_request(self) -> Request | None:
        """Return the next request; None when it needs more bytes."""


class StreamFraming:
    """All that has arrived is one request, except a tail that ``cut`` leaves for the next bytes.

    ``cut(data)`` returns how many leading bytes can be answered without the bytes that follow.

    >>> from stretta.services import whole_characters
    >>> framing = StreamFraming(whole_characters)
    >>> framing.receive_data("è".encode()[:1]); framing.next_request()
    >>> framing.receive_data("è".encode()[1:]); framing.next_request()
    (b'\\xc3\\xa8', b'')
    """

    __slots__ = ("_cut", "_data", "_ended")

    def __init__(self, cut: Callable[[bytes], int] | None = None) -> None:
        self._cut = cut
        self._data = b""
        self._ended = False

    @property
    def is_empty(self) -> bool:
        return not self._data

    def receive_data(self, data: bytes) -> None:
        self._data = self._data + data if self._data else data

    def receive_eof(self) -> None:
        self._ended = True

    def next_request(self) -> Request | None:
        data, self._data = self._data, b""
        if self._cut is not None and not self._ended:
            end = self._cut(data)
            if end != len(data):
                data, self._data = data[:end], data[end:]
        return (data, b"") if data else None


class LineFraming:
    """Each line is a request, without its end (LF or CRLF), which follows the reply.

    A last line without an end is a request too, and nothing follows its reply. A line has at most
    ``limit`` bytes, its end not counted; the limit holds before the end has arrived.

    >>> framing = LineFraming(80)
    >>> framing.receive_data(b"uno\\r\\ndu"); framing.next_request(), framing.next_request()
    ((b'uno', b'\\r\\n'), None)
    >>> framing.receive_data(b"e\\n"); framing.next_request()
    (b'due', b'\\n')
    """

    __slots__ = ("_data", "_ended", "_limit", "_searched")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._data = bytearray()
        self._searched = 0  # leading bytes without a line feed: each byte is searched once
        self._ended = False

    @property
    def is_empty(self) -> bool:
        return not self._data

    def receive_data(self, data: bytes) -> None:
        self._data += data

    def receive_eof(self) -> None:
        self._ended = True

    def next_request(self) -> Request | None:
        """Return the next line; None when it needs more bytes. Raises LineTooLong."""
        data = self._data
        end = data.find(b"\n", self._searched)
        if end < 0:
            self._searched = len(data)
            # a last CR may belong to the line's end
            self._check(len(data) - (data[-1:] == b"\r" and not self._ended))
            if not (self._ended and data):
                return None
            self._data, self._searched = bytearray(), 0
            return bytes(data), b""
        has_cr = end > 0 and data[end - 1] == 0x0D
        self._check(end - has_cr)
        line = bytes(data[: end - has_cr])
        del data[: end + 1]  # moves no bytes
        self._searched = 0
        return line, b"\r\n" if has_cr else b"\n"

    def _check(self, length: int) -> None:
        if length > self._limit:
            raise LineTooLong(f"a line is longer than {self._limit} bytes")
