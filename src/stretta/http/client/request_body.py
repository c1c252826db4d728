"""The body of a request: bytes, or a file that is read while it is sent."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator

from stretta.errors import UsageError
from stretta.http.client.request import Body

__all__ = ["body_chunks", "body_size", "body_start", "rewind"]

CHUNK = 256 * 1024
"""Bytes that are read from a file at a time."""


def body_size(body: Body) -> int | None:
    """Return the number of bytes in a body, None when it is unknown (a pipe).

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


def body_start(body: Body, size: int | None) -> int | None:
    """Return the position to which ``rewind`` goes back, None when the body can be read only once.

    ``size`` is what ``body_size`` returned.
    """
    if isinstance(body, bytes):
        return 0
    return None if size is None else body.tell()


def rewind(body: Body, start: int | None) -> None:
    """Go back to the start of a body. Raises UsageError when it can be read only once."""
    if isinstance(body, bytes):
        return
    if start is None:
        raise UsageError(
            "cannot send the request a second time",
            "its body came from a pipe and has been read already",
            "Save the body in a file and send that: -d @FILE",
        )
    body.seek(start)


def body_chunks(body: Body, size: int | None) -> Iterator[bytes]:
    """Yield the bytes to send for a body, in the chunked coding when its size is unknown.

    Raises UsageError when a file has become shorter than ``size``.

    >>> b"".join(body_chunks(io.BytesIO(b"ciao"), None))
    b'4\\r\\nciao\\r\\n0\\r\\n\\r\\n'
    """
    if isinstance(body, bytes):
        yield body
        return
    if size is None:
        while chunk := body.read(CHUNK):
            yield b"%x\r\n%b\r\n" % (len(chunk), chunk)  # RFC 9112 section 7.1
        yield b"0\r\n\r\n"
        return
    left = size
    while left:
        chunk = body.read(min(CHUNK, left))
        if not chunk:
            raise UsageError(
                "cannot send the whole request",
                f"its file became {left} bytes shorter meanwhile",
                "Send a copy of the file that nothing changes.",
            )
        left -= len(chunk)
        yield chunk
