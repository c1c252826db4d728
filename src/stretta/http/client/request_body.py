"""What a request carries: bytes, or a file that is read as the server takes it."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from typing import BinaryIO

from stretta.errors import UsageError

__all__ = ["Body", "body_size", "pieces_of"]

Body = bytes | BinaryIO

STEP = 256 * 1024


def body_size(body: Body) -> int | None:
    """Return the bytes that a body has, or None where only its end will tell (a pipe).

    >>> body_size(b"ciao"), body_size(io.BytesIO(b"ciao"))
    (4, 4)
    """
    if isinstance(body, bytes):
        return len(body)
    try:
        status = os.fstat(body.fileno())
        if not stat.S_ISREG(status.st_mode):
            return None
        return max(0, status.st_size - body.tell())
    except (OSError, io.UnsupportedOperation):
        pass
    if not body.seekable():
        return None
    here = body.tell()
    size = body.seek(0, os.SEEK_END) - here
    body.seek(here)
    return size


def pieces_of(body: Body, size: int | None) -> Iterator[bytes]:
    """Give a body piece by piece as it goes out: chunked where its size is not known.

    Raises UsageError when a file has become shorter than it was.

    >>> b"".join(pieces_of(io.BytesIO(b"ciao"), None))
    b'4\\r\\nciao\\r\\n0\\r\\n\\r\\n'
    """
    if isinstance(body, bytes):
        yield body
        return
    if size is None:
        while piece := body.read(STEP):
            yield b"%x\r\n%b\r\n" % (len(piece), piece)  # RFC 9112 section 7.1
        yield b"0\r\n\r\n"
        return
    left = size
    while left:
        piece = body.read(min(STEP, left))
        if not piece:
            raise UsageError(
                "the request cannot be sent whole", f"its file has become {left} bytes shorter"
            )
        left -= len(piece)
        yield piece
