"""Upper case of bytes that are UTF-8 text, as fast as the machine allows. Pure.

What is compiled (``_upper.pyx``) takes up to 64 bytes at a time. Without it ``stringzilla`` (the
extra ``fast``) does so with long data; ``bytes.upper`` takes them one by one, 15 times as slow.
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
except ImportError:  # the extra is not installed: nothing is faster
    SHORT = sys.maxsize


def simple_upper(data: bytes | memoryview) -> bytes | None:
    """Return the data in upper case if there is nothing but ASCII to change; else None.

    What follows the data makes no difference to that.

    >>> simple_upper(b"ciao"), simple_upper("perché".encode())
    (b'CIAO', None)
    """
    if len(data) <= SHORT:
        data = bytes(data)
        return data.upper() if data.isascii() else None
    # a character of several bytes has at least one that does not begin a character, and those are
    # not counted; a beginning at the very end may be completed by what comes next
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
    with suppress(ImportError):  # it is not compiled here
        from stretta._upper import simple_upper, upper_ascii


def upper(data: bytes) -> bytes:
    """Return UTF-8 text in upper case; bytes that are no UTF-8 stay as they are.

    The reply can be longer than the request.

    >>> upper("perché, groß".encode()).decode()
    'PERCHÉ, GROSS'
    """
    reply = simple_upper(data)
    if reply is None:
        reply = data.decode("utf-8", "surrogateescape").upper().encode("utf-8", "surrogateescape")
    return reply
