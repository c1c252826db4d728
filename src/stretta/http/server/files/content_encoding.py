"""Content codings: which one a client takes, and making it (RFC 9110 sections 8.4 and 12.5.3)."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable
from typing import NamedTuple, cast

from werkzeug.datastructures import Accept
from werkzeug.http import parse_accept_header

__all__ = ["CONTENT_CODINGS", "ContentCoding", "acceptable_codings", "is_compressible"]

COMPRESSIBLE = re.compile(
    r"text/.*|application/(.*\+)?(json|xml|yaml|toml|wasm|javascript|manifest|x-ipynb|x-sh)(;.*)?"
    r"|application/(geo\+json|rtf|x-javascript|json5|vnd\.sqlite3)"
    r"|image/(svg\+xml|x-icon|bmp|vnd\.microsoft\.icon)|font/(ttf|otf|collection)"
)
"""Media types that are not compressed already."""


def is_compressible(media_type: str) -> bool:
    """Return whether compressing a body of this type is worth the while.

    >>> is_compressible("text/css; charset=utf-8"), is_compressible("image/png")
    (True, False)
    """
    return COMPRESSIBLE.fullmatch(media_type) is not None


class ContentCoding(NamedTuple):
    """One coding: its name on the wire, the extension of files that hold it, how to make it."""

    name: str
    extension: bytes
    compress: Callable[[bytes], bytes] | None


def gzip(data: bytes) -> bytes:
    """Return the data as gzip (RFC 1952), the same bytes at any time."""
    coder = zlib.compressobj(6, zlib.DEFLATED, 31)  # 31: gzip's header and trailer, no time
    return coder.compress(data) + coder.flush()


def _brotli() -> Callable[[bytes], bytes] | None:
    try:
        import brotli  # noqa: PLC0415 - an extra
    except ImportError:
        return None
    return lambda data: brotli.compress(data, quality=5)


def _zstd() -> Callable[[bytes], bytes] | None:
    try:
        from compression.zstd import compress  # noqa: PLC0415 - Python 3.14's own
    except ImportError:
        try:
            from backports.zstd import compress  # noqa: PLC0415 - an extra
        except ImportError:
            return None
    return lambda data: compress(data, level=6)


CONTENT_CODINGS = (
    ContentCoding("br", b".br", _brotli()),
    ContentCoding("zstd", b".zst", _zstd()),
    ContentCoding("gzip", b".gz", gzip),
)
"""The codings known here, the tightest first; one that cannot be made may still lie ready."""


def acceptable_codings(header: str | None, among: Iterable[ContentCoding]) -> list[ContentCoding]:
    """Return the codings that a client prefers to none, its favourite first.

    >>> [coding.name for coding in acceptable_codings("gzip;q=0.5, br", CONTENT_CODINGS)]
    ['br', 'gzip']
    >>> acceptable_codings("identity, gzip;q=0", CONTENT_CODINGS)
    []
    """
    if not header:
        return []
    asked = cast("Iterable[tuple[str, float]]", parse_accept_header(header, Accept))
    found = {name.lower().removeprefix("x-"): quality for name, quality in asked}
    liked = [(found.get(coding.name, found.get("*", 0.0)), coding) for coding in among]
    liked.sort(key=lambda pair: -pair[0])
    least = found.get("identity", 0.0)
    return [coding for quality, coding in liked if quality > 0 and quality >= least]
