"""A folder's README, for the page of the folder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from stretta.http.server.files.document_root import DocumentRoot

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

__all__ = ["readme_html"]

NAMES = ("readme.md", "readme.markdown", "readme", "readme.txt")
LONGEST = 256 * 1024
"""Bytes of a README that are shown."""


class Named(Protocol):
    """What an entry of a folder has."""

    @property
    def name(self) -> bytes:
        """The file's name."""


@cache
def markdown() -> MarkdownIt:
    """Return the renderer: HTML in the text is shown as text, links lead nowhere dangerous."""
    from markdown_it import MarkdownIt  # noqa: PLC0415 - most folders have no README

    return MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])


def readme_html(root: DocumentRoot, names: Sequence[bytes], found: Iterable[Named]) -> Any:
    """Return the README among the entries found as markup, None where there is none."""
    from markupsafe import Markup, escape  # noqa: PLC0415 - it comes with the templates

    by_name = {entry.name.decode("utf-8", "replace").lower(): entry.name for entry in found}
    name = next((by_name[wanted] for wanted in NAMES if wanted in by_name), None)
    if name is None:
        return None
    try:
        with root.opened((*names, name)) as opened:
            if opened.is_folder:
                return None
            text = os.pread(opened.descriptor, LONGEST, 0).decode("utf-8", "replace")
    except OSError:
        return None
    if name.lower().endswith((b".md", b".markdown")):
        return Markup(markdown().render(text))  # noqa: S704 - the renderer escapes
    return Markup("<pre>%s</pre>") % escape(text)
