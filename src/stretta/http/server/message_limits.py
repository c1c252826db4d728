"""Limits on the parts of a message, applied while its bytes arrive. Pure.

llhttp has no limits, and reports a field only when it is complete. These meters see each byte
before the parser does, so that no field, section or chunk size grows past its limit first. Each
also finds where its part ends; the parser is never given bytes beyond that point.
"""

from __future__ import annotations

import re

from stretta.http.server.request import Refused
from stretta.options import HttpLimits

__all__ = ["ChunkMeter", "FieldMeter"]

CR, LF = 13, 10

MAX_SIZE_DIGITS = 16
"""Hexadecimal digits of a chunk size: 64 bits."""

CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]+(?:;[^\r\n]*)?\r\n")
"""RFC 9112 section 7.1."""


class FieldMeter:
    """Measures a header or trailer section (RFC 9112 section 5) up to its empty line.

    The size of a field is that of its line, CR and LF included; the size of the section is the sum
    of those. ``ended`` tells whether the empty line has arrived.
    """

    __slots__ = ("_blank", "_count", "_limits", "_line", "_total", "ended")

    def __init__(self, limits: HttpLimits) -> None:
        self._limits = limits
        self.reset()

    def reset(self) -> None:
        """Start with a new section."""
        self._count = self._line = self._total = 0
        self._blank = self.ended = False

    def section_end(self, data: bytes, at: int) -> int:
        """Return where the section ends in ``data``, or its length when it goes on.

        Raises Refused (431) at the first byte beyond a limit.
        """
        limits = self._limits
        if at < len(data) and data[at] != CR and not (self._count or self._line):
            # most sections arrive whole, and are smaller than a single field may be
            found = data.find(b"\r\n\r\n", at, at + min(limits.max_header, limits.max_head) + 2)
            if found >= 0 and data.count(b"\n", at, found + 2) <= limits.max_headers:
                self.ended = True
                return found + 4
        while at < len(data):
            if not self._line:
                self._blank = data[at] == CR
                self._count += not self._blank
            end = data.find(b"\n", at) + 1 or len(data)
            self._line += end - at
            if not self._blank and (
                self._line > limits.max_header
                or self._total + self._line > limits.max_head
                or self._count > limits.max_headers
            ):
                raise Refused(431, "The request's headers are too large or too many.")
            at = end
            if data[end - 1] == LF:
                if self._blank:
                    self.ended = True
                    return at
                self._total += self._line
                self._line = 0
        return at


class ChunkMeter:
    """Follows the framing of a chunked body (RFC 9112 section 7.1): sizes, data and trailers.

    The extensions of all chunks together may be as long as one header.
    """

    __slots__ = ("_extensions", "_left", "_limits", "_line", "_trailers", "in_trailers")

    def __init__(self, limits: HttpLimits) -> None:
        self._limits = limits
        self._trailers = FieldMeter(limits)
        self._left = 0  # bytes of chunk data, with its CR and LF, that are still to come
        self._line = b""  # of a chunk size that has not arrived whole
        self._extensions = 0
        self.in_trailers = False

    def piece_end(self, data: bytes, at: int) -> int:
        """Return where the body ends in ``data``, or its length when it goes on.

        Raises Refused: 400 for a malformed chunk size or long extensions, 431 for trailers.
        """
        while at < len(data):
            if self.in_trailers:
                return self._trailers.section_end(data, at)
            if self._left:
                step = min(self._left, len(data) - at)
                self._left -= step
                at += step
            else:
                at = self._size_line(data, at)
        return at

    def _size_line(self, data: bytes, at: int) -> int:
        """Read a chunk-size line, or a part of it; return where it ends."""
        end = data.find(b"\n", at) + 1
        line = self._line + data[at : end or len(data)]
        size, semicolon, extensions = line.rstrip(b"\r\n").partition(b";")
        if len(size) > MAX_SIZE_DIGITS:
            raise Refused(400, "The size of a chunk is malformed.")
        length = len(semicolon) + len(extensions)
        if self._extensions + length > self._limits.max_header:
            raise Refused(400, "The chunk extensions are too long.")
        if not end:
            self._line = line
            return len(data)
        if CHUNK_SIZE.fullmatch(line) is None:
            raise Refused(400, "The size of a chunk is malformed.")
        self._extensions += length
        self._line = b""
        number = int(size, 16)
        self._left = number + 2 if number else 0  # its CR and LF
        self.in_trailers = not number
        return end
