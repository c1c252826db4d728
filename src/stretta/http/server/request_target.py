"""Request targets: from what stands in the request line to the name of something. Pure."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote_from_bytes, unquote_to_bytes

from stretta.http.message.host import is_host
from stretta.http.server.request import Refused

__all__ = ["Target", "parse_target"]

ABSOLUTE = re.compile(rb"https?://([^/?#:][^/?#]*)([/?].*|)", re.IGNORECASE)
"""RFC 9112 section 3.2.2; whose name stands there does not matter to a server of one folder, but
there must be one (RFC 9110 section 4.2.1), and no user:password@ before it (section 4.2.4)."""

BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


class Target(NamedTuple):
    """What a request is for: the names on the way there, whether it ends in a slash, the query."""

    names: tuple[bytes, ...]
    is_folder: bool
    query: str

    @property
    def path(self) -> str:
        """The path as a URL writes it: one slash in front, everything unusual escaped."""
        path = "".join("/" + quote_from_bytes(name) for name in self.names)
        return path + "/" if self.is_folder else path

    def child(self, name: bytes) -> str:
        """Return the path of a name in this folder, as a URL writes it."""
        return self.path + quote_from_bytes(name)

    def beneath(self, base: tuple[bytes, ...]) -> Target | None:
        """Return what this names seen from the folder ``base``, None if it lies elsewhere."""
        if self.names[: len(base)] != base:
            return None
        return self._replace(names=self.names[len(base) :])

    @property
    def shown(self) -> str:
        """The path as a person reads it."""
        path = "".join("/" + name.decode("utf-8", "replace") for name in self.names)
        return path + "/" if self.is_folder else path


@lru_cache(maxsize=256)
def parse_target(raw: bytes) -> Target:
    """Return what a request target names; empty segments and single dots are passed over.

    Raises Refused (400) for what no client that follows RFC 3986 sends: a step upwards, a NUL, an
    escape that is none.

    >>> parse_target(b"/a%20b//c/?q")
    Target(names=(b'a b', b'c'), is_folder=True, query='q')
    """
    if not raw.startswith(b"/"):
        found = ABSOLUTE.fullmatch(raw)
        if found is None:
            raise Refused(400, "The request is for no path.")
        if not is_host(found[1].decode("latin-1")):
            raise Refused(400, "The request's URL holds no host.")
        raw = found[2] or b"/"
        raw = raw if raw.startswith(b"/") else b"/" + raw
    path, _, query = raw.partition(b"?")
    if b"#" in raw:
        raise Refused(400, "A fragment (#) is the client's own business and is not sent.")
    if b"%" in path:
        if BAD_ESCAPE.search(path):
            raise Refused(400, "The path holds a % that is followed by no two hexadecimal digits.")
        segments = [unquote_to_bytes(segment) for segment in path.split(b"/")]
    else:
        segments = path.split(b"/")
    if b".." in segments:
        raise Refused(400, "The path climbs up with '..'; give the path without it.")
    names = tuple(segment for segment in segments if segment not in (b"", b"."))
    for name in names:
        if b"\0" in name or b"/" in name:
            raise Refused(400, "No file can have this name.")
    return Target(names, segments[-1] in (b"", b"."), query.decode("latin-1"))
