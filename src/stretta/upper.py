"""Upper case of UTF-8 text in bytes. Pure.

The compiled module (``_upper.pyx``) converts up to 64 bytes at a time. Without it ``stringzilla``
(the extra ``fast``) converts long data; ``bytes.upper`` converts one byte at a time, 15 times as
slow.
"""

from __future__ import annotations

import sys
from contextlib import suppress

from stretta.native import uses_compiled

__all__ = ["simple_upper", "upper", "upper_ascii"]

TABLE = bytes(range(256)).upper()

SHORT = 256
"""Bytes up to which ``bytes.upper`` is as fast as anything else."""

try:
    from stringzilla import translate, utf8_count
except ImportError:  # the extra is not installed
    SHORT = sys.maxsize


def simple_upper(data: bytes | memoryview) -> bytes | None:
    """Return the data in upper case if it is ASCII, whatever bytes follow it; else None.

    >>> simple_upper(b"ciao"), simple_upper("perché".encode())
    (b'CIAO', None)
    """
    if len(data) <= SHORT:
        data = bytes(data)
        return data.upper() if data.isascii() else None
    # utf8_count() does not count continuation bytes, so non-ASCII data counts fewer than its bytes,
    # except for a first byte at the very end, which the next bytes may complete
    if utf8_count(data) == len(data) and data[-1] < 0x80:
        return translate(data, TABLE)  # type: ignore[no-any-return]
    return None


def upper_ascii(data: bytes | memoryview) -> bytes:
    """Return the data with a-z in upper case and every other byte as it was.

    >>> upper_ascii("perché".encode()).decode()
    'PERCHé'
    """
    return bytes(data).upper() if len(data) <= SHORT else translate(data, TABLE)


in_python = simple_upper, upper_ascii
if uses_compiled():
    with suppress(ImportError):  # not compiled on this machine
        from stretta._upper import simple_upper, upper_ascii


def upper(data: bytes) -> bytes:
    """Return UTF-8 text in upper case; invalid bytes are unchanged.

    The reply can be longer than the request.

    >>> upper("perché, groß".encode()).decode()
    'PERCHÉ, GROSS'
    """
    reply = simple_upper(data)
    if reply is None:
        reply = data.decode("utf-8", "surrogateescape").upper().encode("utf-8", "surrogateescape")
    return reply
