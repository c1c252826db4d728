"""Resuming: asking for the rest of an object, and telling whether it is still the same. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from stretta.errors import InvalidReply
from stretta.http.reader import Head

__all__ = ["Validators", "range_fields", "rest_begins"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Validators:
    """What tells one version of an object from another, as the first response had it."""

    url: str
    etag: str = ""
    last_modified: str = ""
    size: int | None = None

    @classmethod
    def of(cls, url: str, head: Head, size: int | None) -> Validators:
        """Return those of a response; ``size`` is the whole object's, None where not known."""
        return cls(
            url=url,
            etag=head.headers.get("etag") or "",
            last_modified=head.headers.get("last-modified") or "",
            size=size,
        )


def range_fields(begun: Validators, have: int) -> list[tuple[str, str]]:
    """Return the fields that ask for what follows the first ``have`` bytes (RFC 9110 section 14).

    Should the object have changed, If-Range makes the server send all of it.

    >>> range_fields(Validators(url="http://a/", etag='"1"'), 10)
    [('Range', 'bytes=10-'), ('If-Range', '"1"')]
    """
    fields = [("Range", f"bytes={have}-")]
    strong = begun.etag if not begun.etag.startswith("W/") else ""
    if strong or begun.last_modified:
        fields.append(("If-Range", strong or begun.last_modified))
    return fields


def rest_begins(begun: Validators, have: int, head: Head) -> int:
    """Return from which byte on the body of this response is the object: ``have``, or 0.

    Raises InvalidReply when it is neither what was asked for nor the whole, or another object's.
    """
    if head.status != 206:
        return 0
    found = re.fullmatch(
        r"bytes (\d+)-(\d+)/(\d+|\*)", (head.headers.get("content-range") or "").strip()
    )
    etag = head.headers.get("etag")
    total = None if not found or found[3] == "*" else int(found[3])
    why = ""
    if not found or int(found[1]) != have:
        why = f"the server sent another part than the one from byte {have} on"
    elif begun.size is not None and total is not None and total != begun.size:
        why = f"the object has {total} bytes now, and had {begun.size}"
    elif etag and begun.etag and etag != begun.etag:
        why = "the object has changed"
    if why:
        raise InvalidReply("the download cannot be continued", why, "Begin again, without -c.")
    return have
