"""Resuming: asking for the rest of an object, and telling whether it is still the same. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from stretta.errors import InvalidReply
from stretta.http.client.response_parser import Head

__all__ = ["Rest", "Validators", "range_fields", "rest_of", "whole_size"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Validators:
    """What tells one version of an object from another, as the first response had it.

    ``url`` is the one that was asked; ``decoded`` tells that the body came compressed, so that its
    bytes here are not those that a range counts.
    """

    url: str
    etag: str = ""
    last_modified: str = ""
    size: int | None = None
    decoded: bool = False

    @classmethod
    def of(cls, url: str, head: Head, size: int | None, *, decoded: bool = False) -> Validators:
        """Return those of a response; ``size`` is the whole object's, None where not known."""
        return cls(
            url=url,
            etag=head.headers.get("etag") or "",
            last_modified=head.headers.get("last-modified") or "",
            size=size,
            decoded=decoded,
        )

    @property
    def guard(self) -> str:
        """What If-Range takes: the strong entity tag, else the date of the last change, else ''."""
        strong = self.etag if not self.etag.startswith("W/") else ""
        return strong or self.last_modified


class Rest(NamedTuple):
    """What a 206 holds of an object: ``start`` to ``end`` (exclusive) of ``total`` bytes.

    ``total`` is None where nobody knows it; ``sure`` tells that a validator vouches for its being
    the same object as before.
    """

    start: int
    end: int
    total: int | None
    sure: bool


def range_fields(begun: Validators, have: int) -> list[tuple[str, str]]:
    """Return the fields that ask for what follows the first ``have`` bytes (RFC 9110 section 14).

    Should the object have changed, If-Range makes the server send all of it.

    >>> range_fields(Validators(url="http://a/", etag='"1"'), 10)
    [('Range', 'bytes=10-'), ('If-Range', '"1"')]
    """
    fields = [("Range", f"bytes={have}-")]
    return [*fields, ("If-Range", begun.guard)] if begun.guard else fields


def rest_of(begun: Validators, have: int, head: Head, *, decoded: bool = False) -> Rest | None:
    """Return what this response holds of the rest; None when it is no part but the whole object.

    ``decoded`` tells that its body is being decoded. Raises InvalidReply when it is neither what
    was asked for nor the whole, or another object's.
    """
    if head.status != 206:
        return None
    found = re.fullmatch(
        r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)",
        (head.headers.get("content-range") or "").strip(),
    )
    etag, changed = head.headers.get("etag") or "", head.headers.get("last-modified") or ""
    total = None if not found or found[3] == "*" else int(found[3])
    why = ""
    if not found or int(found[1]) != have:
        why = f"the server sent another part than the one from byte {have} on"
    elif int(found[2]) < have or (total is not None and int(found[2]) >= total):
        why = "the server's Content-Range contradicts itself"
    elif decoded:
        why = "the server sent a part of the compressed object"
    elif begun.size is not None and total is not None and total != begun.size:
        why = f"the object has {total} bytes now, and had {begun.size}"
    elif (etag and begun.etag and etag != begun.etag) or (
        changed and begun.last_modified and changed != begun.last_modified
    ):
        why = "the object has changed"
    if why or not found:
        raise InvalidReply("the download cannot be continued", why, "Begin again, without -c.")
    same = bool(begun.guard or (begun.etag and etag == begun.etag))
    return Rest(have, int(found[2]) + 1, begun.size if total is None else total, same)


def whole_size(head: Head) -> int | None:
    """Return how many bytes a 416 says that the object has, None where it does not say.

    >>> from stretta.http.message.headers import Headers
    >>> whole_size(Head("1.1", 416, "", Headers([("Content-Range", "bytes */10")])))
    10
    """
    said = head.headers.get("content-range") or ""
    found = re.fullmatch(r"bytes\s*\*/(\d{1,19})", said.strip())
    return int(found[1]) if found and head.status == 416 else None
