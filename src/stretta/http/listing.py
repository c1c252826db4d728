"""What a folder holds, as entries and as a page."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote_from_bytes

from stretta.http.folder import Folder
from stretta.http.pages import render

__all__ = ["Entry", "entries", "listing_page"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One file or folder in a folder. ``size`` is in bytes, ``modified`` in seconds."""

    name: bytes
    is_folder: bool
    size: int
    modified: float

    @property
    def shown(self) -> str:
        """The name as a person reads it; bytes that are no UTF-8 are replaced."""
        return self.name.decode("utf-8", "replace") + ("/" if self.is_folder else "")

    @property
    def href(self) -> str:
        """The link; ``./`` keeps a colon in the name from being a scheme (RFC 3986 section 4.2)."""
        return "./" + quote_from_bytes(self.name, safe="") + ("/" if self.is_folder else "")


def entries(folder: Folder, names: Sequence[bytes], descriptor: int) -> list[Entry]:
    """Return what the open folder holds and may be seen, folders first, then by name.

    A symbolic link that leads outside is left out, as are what is neither file nor folder.
    """
    found = []
    with os.scandir(descriptor) as items:
        for item in items:
            name = os.fsencode(item.name)
            if folder.is_hidden((name,)):
                continue
            try:
                if item.is_symlink():
                    with folder.opened((*names, name)) as opened:
                        status = opened.status
                else:
                    status = item.stat(follow_symlinks=False)
            except OSError:
                continue
            is_folder = stat.S_ISDIR(status.st_mode)
            if is_folder or stat.S_ISREG(status.st_mode):
                found.append(Entry(name, is_folder, status.st_size, status.st_mtime))
    found.sort(key=lambda entry: (not entry.is_folder, entry.shown.casefold(), entry.name))
    return found


def listing_page(title: str, found: Sequence[Entry]) -> bytes:
    """Return the page of a folder."""
    return render("listing.html", title=title, entries=found)
