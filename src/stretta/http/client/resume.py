"""Resuming a download: request the missing bytes, and check that they fit (RFC 9110 14). Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from stretta.errors import InvalidReply
from stretta.http.client.response_parser import Head

__all__ = ["PartMetadata", "PartialContent", "partial_content", "range_fields", "total_size"]

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")
_UNSATISFIED_RANGE = re.compile(r"bytes\s*\*/(\d{1,19})")


@dataclass(frozen=True, slots=True, kw_only=True)
class PartMetadata:
    """What identifies the version of the object of which a part was saved.

    ``url``: the URL that was requested; ``size``: bytes of the whole object, None if unknown;
    ``decoded``: the body was decoded, so its bytes are not those that a range counts.
    """

    url: str
    etag: str = ""
    last_modified: str = ""
    size: int | None = None
    decoded: bool = False

    @classmethod
    def of(cls, url: str, head: Head, size: int | None, *, decoded: bool = False) -> PartMetadata:
        """Return the metadata of the object in a response."""
        return cls(
            url=url,
            etag=head.headers.get("etag") or "",
            last_modified=head.headers.get("last-modified") or "",
            size=size,
            decoded=decoded,
        )

    @property
    def if_range(self) -> str:
        """The value for If-Range: the strong entity tag, else the date of the last change, or ''.

        If-Range does not take weak entity tags (RFC 9110 section 13.1.5).
        """
        strong = self.etag if not self.etag.startswith("W/") else ""
        return strong or self.last_modified


class PartialContent(NamedTuple):
    """The range of a 206 response: ``start`` to ``end`` (exclusive) of ``total`` bytes.

    ``total`` is None if unknown. ``verified``: a validator shows that the object is still the one
    whose beginning was saved.
    """

    start: int
    end: int
    total: int | None
    verified: bool


def range_fields(part: PartMetadata, have: int) -> list[tuple[str, str]]:
    """Return the header fields that request what follows the first ``have`` bytes.

    If-Range makes the server send the whole object if it has changed.

    >>> range_fields(PartMetadata(url="http://a/", etag='"1"'), 10)
    [('Range', 'bytes=10-'), ('If-Range', '"1"')]
    """
    fields = [("Range", f"bytes={have}-")]
    return [*fields, ("If-Range", part.if_range)] if part.if_range else fields


def partial_content(
    part: PartMetadata, have: int, head: Head, *, decoded: bool = False
) -> PartialContent | None:
    """Return the range in a response to a request for the bytes from ``have`` on.

    None means that the response holds the whole object. ``decoded``: its body is being decoded.
    Raises InvalidReply for another range, or one of another object.
    """
    if head.status != 206:
        return None
    found = _CONTENT_RANGE.fullmatch((head.headers.get("content-range") or "").strip())
    etag, changed = head.headers.get("etag") or "", head.headers.get("last-modified") or ""
    total = None if not found or found[3] == "*" else int(found[3])
    why = ""
    if not found or int(found[1]) != have:
        why = f"the server sent another range than the one that begins at byte {have}"
    elif int(found[2]) < have or (total is not None and int(found[2]) >= total):
        why = "the server's Content-Range contradicts itself"
    elif decoded:
        why = "the server sent a range of the compressed object"
    elif part.size is not None and total is not None and total != part.size:
        why = f"the object has {total} bytes now; it had {part.size}"
    elif part.size is not None and int(found[2]) >= part.size:
        why = f"the range ends after byte {int(found[2])}, and the object had {part.size} bytes"
    elif (etag and part.etag and etag != part.etag) or (
        changed and part.last_modified and changed != part.last_modified
    ):
        why = "the object has changed"
    if why or not found:
        raise InvalidReply("cannot resume the download", why, "Start again, without -c.")
    # a 206 repeats the entity tag that If-Range named, but not the date (RFC 9110 section 15.3.7)
    verified = bool(part.if_range) and part.if_range in {etag, part.last_modified}
    size = part.size if total is None else total
    return PartialContent(have, int(found[2]) + 1, size, verified)


def total_size(head: Head) -> int | None:
    """Return the size of the object that a 416 response names, None if it names none.

    >>> from stretta.http.message.headers import Headers
    >>> total_size(Head("1.1", 416, "", Headers([("Content-Range", "bytes */10")])))
    10
    """
    found = _UNSATISFIED_RANGE.fullmatch((head.headers.get("content-range") or "").strip())
    return int(found[1]) if found and head.status == 416 else None
