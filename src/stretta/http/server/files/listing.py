"""The listing of a folder: its entries, as an HTML page or as JSON."""

from __future__ import annotations

import json
import os
import re
import stat
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any
from urllib.parse import quote_from_bytes, urlencode

from stretta.http.server.files.document_root import DocumentRoot
from stretta.http.server.files.readme import readme_html
from stretta.http.server.pages import render
from stretta.http.server.query import query_fields
from stretta.http.server.request_target import Target

__all__ = ["Entry", "ListingQuery", "entries", "listing_json", "listing_page", "scan"]

ROWS = 1000
"""Entries on one page; browsers become slow with many more."""

MAX_SEARCH = 200
"""Characters of a search text; the rest is ignored."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder in a folder. ``size`` is in bytes, ``modified`` in seconds since 1970."""

    name: bytes
    is_folder: bool
    size: int
    modified: float

    @property
    def shown(self) -> str:
        """The name as text; bytes that are not valid UTF-8 are replaced."""
        return self.name.decode("utf-8", "replace")

    @property
    def href(self) -> str:
        """The relative URL; every reserved character is escaped (RFC 3986 section 2.2)."""
        return quote_from_bytes(self.name, safe="") + ("/" if self.is_folder else "")

    @property
    def size_text(self) -> str:
        """The size for a person, empty for a folder."""
        return "" if self.is_folder else format_size(self.size)

    @property
    def iso(self) -> str:
        """The modification time in ISO 8601 format."""
        return format_time(self.modified, "%Y-%m-%dT%H:%M:%SZ")

    @property
    def date_text(self) -> str:
        """The modification time for a person."""
        return format_time(self.modified, "%Y-%m-%d %H:%M")

    def as_json(self) -> dict[str, Any]:
        """Return the entry as a JSON object."""
        return {
            "name": self.shown,
            "href": self.href,
            "type": "folder" if self.is_folder else "file",
            "size": None if self.is_folder else self.size,
            "modified": self.iso,
        }


def format_size(size: int) -> str:
    """Return a size in bytes with a binary prefix (IEC 80000-13).

    >>> format_size(999), format_size(1536), format_size(10 * 2**20), format_size(2**80)
    ('999 B', '1.5 KiB', '10 MiB', '1048576 EiB')
    """
    amount, prefixes = float(size), iter(("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"))
    prefix = next(prefixes)
    while amount >= 1023.5 and prefix != "EiB":
        amount, prefix = amount / 1024, next(prefixes)
    return f"{amount:.1f} {prefix}" if amount < 9.95 and prefix != "B" else f"{amount:.0f} {prefix}"


def format_time(seconds: float, form: str) -> str:
    """Return a time in UTC, or an empty string when it is beyond the calendar."""
    try:
        return time.strftime(form, time.gmtime(seconds))
    except (ValueError, OverflowError, OSError):
        return ""


@dataclass(frozen=True, slots=True)
class ListingQuery:
    """The sort key, direction, search text and page that a query asks for."""

    sort: str = "name"
    descending: bool = False
    search: str = ""
    page: int = 1

    @classmethod
    def parse(cls, query: str) -> ListingQuery:
        """Return what a query asks for; invalid values count as absent."""
        fields = query_fields(query)
        sort = fields.get("sort", "name")
        page = fields.get("page", "1")
        return cls(
            sort if sort in KEYS else "name",
            fields.get("order") == "desc",
            fields.get("q", "")[:MAX_SEARCH],
            int(page) if page.isascii() and page.isdecimal() and len(page) < 8 else 1,
        )

    def link(self, **changes: Any) -> str:
        """Return this query as a relative URL, with some fields changed."""
        fields: dict[str, Any] = {
            "sort": self.sort,
            "order": "desc" if self.descending else "asc",
            "q": self.search,
            "page": 1,
        }
        fields.update(changes)
        return "?" + urlencode({name: value for name, value in fields.items() if value != ""})

    def sort_link(self, column: str) -> str:
        """Return the link that sorts by a column, or reverses the order of the current column."""
        reverses = self.sort == column and not self.descending
        return self.link(sort=column, order="desc" if reverses else "asc")

    def apply(self, entries: Sequence[Entry]) -> list[Entry]:
        """Return the entries whose names contain the search text, sorted, folders first."""
        text = self.search.casefold()
        found = [entry for entry in entries if text in entry.shown.casefold()]
        ordered = sorted(found, key=natural_key)
        if self.sort != "name":
            ordered.sort(key=KEYS[self.sort], reverse=self.descending)
        elif self.descending:
            ordered.reverse()
        ordered.sort(key=lambda entry: not entry.is_folder)
        return ordered


def natural_key(entry: Entry) -> tuple[str, bytes]:
    """Return a sort key that ignores case and compares numbers by value.

    It begins with one string, because comparing nested tuples holds the GIL for longer.

    >>> names = (b"b10", b"B2", b"a")
    >>> found = sorted((Entry(name, False, 0, 0.0) for name in names), key=natural_key)
    >>> [entry.shown for entry in found]
    ['a', 'B2', 'b10']
    """
    return DIGITS.sub(lambda found: found[0].zfill(20), entry.shown.casefold()), entry.name


DIGITS = re.compile("[0-9]+")

KEYS: dict[str, Callable[[Entry], Any]] = {
    "name": natural_key,
    "size": lambda entry: entry.size,
    "date": lambda entry: entry.modified,
}


def entries(root: DocumentRoot, names: Sequence[bytes], descriptor: int) -> Iterator[Entry]:
    """Yield the visible entries of an open folder.

    Links that leave the document root are left out, and so are devices, sockets and FIFOs.
    """
    return filter(None, scan(root, names, descriptor))


def scan(
    root: DocumentRoot, names: Sequence[bytes], descriptor: int
) -> Generator[Entry | None, None, None]:
    """Yield like ``entries``, and None for each entry left out, since looking at it takes time."""
    with os.scandir(descriptor) as items:
        for item in items:
            yield _entry(root, names, item)


def _entry(root: DocumentRoot, names: Sequence[bytes], item: os.DirEntry[str]) -> Entry | None:
    name = os.fsencode(item.name)
    if root.is_hidden((name,)):
        return None
    try:
        if item.is_symlink():
            with root.opened((*names, name)) as opened:
                status = opened.status
        else:
            status = item.stat(follow_symlinks=False)
    except OSError:
        return None
    is_folder = stat.S_ISDIR(status.st_mode)
    if not (is_folder or stat.S_ISREG(status.st_mode)):
        return None
    return Entry(name, is_folder, status.st_size, status.st_mtime)


def listing_page(root: DocumentRoot, target: Target, descriptor: int, *, offers_zip: bool) -> bytes:
    """Return the HTML page of an open folder, as the target's query asks for it."""
    query = ListingQuery.parse(target.query)
    found = list(entries(root, target.names, descriptor))
    arranged = query.apply(found)
    pages = max(1, -(-len(arranged) // ROWS))
    page = min(max(query.page, 1), pages)
    crumbs = [
        (name.decode("utf-8", "replace"), "../" * up if up else "./")
        for name, up in zip(target.names, range(len(target.names) - 1, -1, -1), strict=True)
    ]
    return render(
        "listing.html",
        title=target.shown,
        root="../" * len(target.names) or "./",
        crumbs=crumbs,
        entries=arranged[(page - 1) * ROWS : page * ROWS],
        folders=sum(entry.is_folder for entry in arranged),
        files=sum(not entry.is_folder for entry in arranged),
        bytes=format_size(sum(entry.size for entry in arranged if not entry.is_folder)),
        query=query,
        page=page,
        pages=pages,
        offers_zip=offers_zip,
        readme=readme_html(root, target.names, found),
    )


def listing_json(root: DocumentRoot, target: Target, descriptor: int) -> bytes:
    """Return an open folder as a JSON object with its path and its entries."""
    query = ListingQuery.parse(target.query)
    arranged = iter(query.apply(list(entries(root, target.names, descriptor))))
    parts = []
    # in parts, because one long call would hold the GIL
    while some := list(islice(arranged, ROWS)):
        rows = json.dumps([entry.as_json() for entry in some], ensure_ascii=False)
        parts.append(rows[1:-1])
    path = json.dumps(target.shown, ensure_ascii=False)
    return f'{{"path": {path}, "entries": [{", ".join(parts)}]}}\n'.encode()
