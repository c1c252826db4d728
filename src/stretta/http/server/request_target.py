"""Parse request targets (RFC 9112 section 3.2) into path segments and a query. Pure."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote_from_bytes

from stretta.http.message.host import is_host
from stretta.http.server.query import BAD_ESCAPE, percent_decode
from stretta.http.server.request import Refused

__all__ = ["Target", "authority_of", "parse_target"]

ABSOLUTE = re.compile(rb"https?://([^/?#:][^/?#]*)([/?].*|)", re.IGNORECASE)
"""The absolute form (RFC 9112 section 3.2.2). Its host is required (RFC 9110 section 4.2.1) but not
compared with anything; user:password@ before it is refused (section 4.2.4)."""

ESCAPED_SLASH = re.compile(rb"%2[Ff]")

IGNORED_SEGMENTS = re.compile(rb"/(?:\.?/)+")
"""Empty segments and single dots, with the slashes around them."""


class Target(NamedTuple):
    """A parsed target: its path segments, whether it ends in a slash, its query."""

    names: tuple[bytes, ...]
    is_folder: bool
    query: str

    @property
    def path(self) -> str:
        """The path as in a URL: one leading slash, percent-encoded."""
        path = "".join("/" + quote_from_bytes(name) for name in self.names)
        return path + "/" if self.is_folder else path

    def child(self, name: bytes) -> str:
        """Return the path of a name in this folder, as in a URL."""
        return self.path + quote_from_bytes(name)

    def beneath(self, base: tuple[bytes, ...]) -> Target | None:
        """Return this target relative to the folder ``base``; None if it lies elsewhere."""
        if self.names[: len(base)] != base:
            return None
        return self._replace(names=self.names[len(base) :])

    @property
    def shown(self) -> str:
        """The path as text for a person."""
        path = "".join("/" + name.decode("utf-8", "replace") for name in self.names)
        return path + "/" if self.is_folder else path


def authority_of(raw: bytes) -> str | None:
    """Return the host and port in a target of absolute form; None for any other.

    >>> authority_of(b"http://a:80/x"), authority_of(b"/x")
    ('a:80', None)
    """
    found = None if raw.startswith(b"/") else ABSOLUTE.fullmatch(raw)
    return None if found is None else found[1].decode("latin-1")


@lru_cache(maxsize=256)
def parse_target(raw: bytes) -> Target:
    """Return the parsed target; empty segments and single dots are ignored.

    Raises Refused (400) for a target that no client following RFC 3986 sends: one with a "..", a
    NUL or an invalid percent-encoding.

    >>> parse_target(b"/a%20b//c/?q")
    Target(names=(b'a b', b'c'), is_folder=True, query='q')
    """
    if not raw.startswith(b"/"):
        found = ABSOLUTE.fullmatch(raw)
        if found is None:
            raise Refused(400, "The request target is not a path.")
        if not is_host(found[1].decode("latin-1")):
            raise Refused(400, "The URL in the request does not contain a valid host.")
        raw = found[2] or b"/"
        raw = raw if raw.startswith(b"/") else b"/" + raw
    path, _, query = raw.partition(b"?")
    if b"#" in raw:
        raise Refused(400, "The request target contains a fragment (#), which must not be sent.")
    if BAD_ESCAPE.search(path):
        raise Refused(400, "The path contains a % without two hexadecimal digits after it.")
    decoded = percent_decode(path)
    if b"\0" in decoded or ESCAPED_SLASH.search(path):
        raise Refused(400, "No file can have this name: it contains a slash or a NUL.")
    segments = IGNORED_SEGMENTS.sub(b"/", decoded).split(b"/")
    if b".." in segments:
        raise Refused(400, "The path contains '..'; send it without.")
    is_folder = segments[-1] in (b"", b".")
    names = tuple(segments[1:-1] if is_folder else segments[1:])
    return Target(names, is_folder, query.decode("latin-1"))
