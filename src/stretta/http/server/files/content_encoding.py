"""Content codings: negotiation and compression (RFC 9110 sections 8.4 and 12.5.3)."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable
from typing import NamedTuple

from stretta.http.server.negotiation import parse_qualities

__all__ = ["CONTENT_CODINGS", "ContentCoding", "acceptable_codings", "gzip", "is_compressible"]

COMPRESSIBLE = re.compile(
    r"text/.*|application/(.*\+)?(json|xml|yaml|toml|wasm|javascript|manifest|x-ipynb|x-sh)(;.*)?"
    r"|application/(geo\+json|rtf|x-javascript|json5|vnd\.sqlite3)"
    r"|image/(svg\+xml|x-icon|bmp|vnd\.microsoft\.icon)|font/(ttf|otf|collection)"
)
"""Media types whose format is not compressed already."""


def is_compressible(media_type: str) -> bool:
    """Return whether compression makes a body of this media type notably smaller.

    >>> is_compressible("text/css; charset=utf-8"), is_compressible("image/png")
    (True, False)
    """
    return COMPRESSIBLE.fullmatch(media_type) is not None


class ContentCoding(NamedTuple):
    """A content coding: its name, the extension of files in it, the function that compresses.

    ``compress`` is None where no library for the coding is installed; a file that was compressed
    beforehand can be sent all the same.
    """

    name: str
    extension: bytes
    compress: Callable[[bytes], bytes] | None


def gzip(data: bytes) -> bytes:
    """Return the data in gzip format (RFC 1952); equal data always gives equal bytes."""
    encoder = zlib.compressobj(6, zlib.DEFLATED, 31)  # 31: gzip's header and trailer, no time
    return encoder.compress(data) + encoder.flush()


def _brotli() -> Callable[[bytes], bytes] | None:
    try:
        import brotli  # noqa: PLC0415 - an extra
    except ImportError:
        return None
    return lambda data: brotli.compress(data, quality=5)


def _zstd() -> Callable[[bytes], bytes] | None:
    try:
        from compression.zstd import compress  # noqa: PLC0415 - in the library since Python 3.14
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
"""The codings that the server knows, the one with the smallest output first."""


def acceptable_codings(field: str | None, known: Iterable[ContentCoding]) -> list[ContentCoding]:
    """Return the codings that an Accept-Encoding field prefers to no coding, the best one first.

    >>> [coding.name for coding in acceptable_codings("gzip;q=0.5, br", CONTENT_CODINGS)]
    ['br', 'gzip']
    >>> acceptable_codings("identity, gzip;q=0", CONTENT_CODINGS)
    []
    """
    listed = parse_qualities(field)
    if not listed:
        return []
    qualities = {name.removeprefix("x-"): quality for name, quality in listed.items()}
    ranked = [(qualities.get(coding.name, qualities.get("*", 0.0)), coding) for coding in known]
    ranked.sort(key=lambda pair: -pair[0])
    least = qualities.get("identity", 0.0)
    return [coding for quality, coding in ranked if quality > 0 and quality >= least]
