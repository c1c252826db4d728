"""The README of a folder, for the folder's page."""

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

MAX_BYTES = 256 * 1024
"""Bytes of a README that are shown; the rest is left out."""


class Named(Protocol):
    """An entry of a folder."""

    @property
    def name(self) -> bytes:
        """The file's name."""


@cache
def markdown() -> MarkdownIt:
    """Return the renderer. It shows HTML as text and allows no links to scripts."""
    from markdown_it import MarkdownIt  # noqa: PLC0415 - few folders have a README

    return MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])


def readme_html(root: DocumentRoot, names: Sequence[bytes], entries: Iterable[Named]) -> Any:
    """Return the README among the entries of a folder as markup, None when there is none."""
    from markupsafe import Markup, escape  # noqa: PLC0415 - a part of the templates' library

    by_name = {entry.name.decode("utf-8", "replace").lower(): entry.name for entry in entries}
    name = next((by_name[candidate] for candidate in NAMES if candidate in by_name), None)
    if name is None:
        return None
    try:
        with root.opened((*names, name)) as opened:
            if opened.is_folder:
                return None
            text = os.pread(opened.descriptor, MAX_BYTES, 0).decode("utf-8", "replace")
    except OSError:
        return None
    if name.lower().endswith((b".md", b".markdown")):
        return Markup(_render(text))  # noqa: S704 - the renderer escapes
    return Markup("<pre>%s</pre>") % escape(text)


def _render(text: str) -> str:
    """Return Markdown as HTML without ``style`` attributes, which the page's policy forbids."""
    renderer = markdown()
    tokens = renderer.parse(text)
    for token in tokens:
        style = str(token.attrs.pop("style", ""))
        if style.startswith("text-align:"):
            token.attrs["align"] = style.removeprefix("text-align:")
    rendered: str = renderer.renderer.render(tokens, renderer.options, {})
    return rendered
