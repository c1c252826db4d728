"""What an HTTP server shows of its folder, and how."""

from __future__ import annotations

from dataclasses import dataclass

from stretta.options.declare import option

__all__ = ["SiteOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteOptions:
    """What an HTTP server shows of its folder, to whom, and under which path."""

    index: tuple[str, ...] = option(
        ("index.html", "index.htm"), "file that stands for its folder; may be repeated", unit="name"
    )
    listing: bool = option(default=True, words="show what a folder without an index holds")
    zip: bool = option(default=True, words="offer a folder as a ZIP file (?format=zip)")
    hidden: bool = option(default=False, words="serve and list names that begin with a dot too")
    compress: bool = option(default=True, words="compress text for clients that take it so")
    spa: bool = option(
        default=False, words="answer paths that do not exist with the index of the folder served"
    )
    cors: bool = option(default=False, words="let pages of other sites read what is served")
    header: tuple[str, ...] = option(
        (), "header to add to every reply, or to replace; may be repeated", unit="name: value"
    )
    base_path: str = option("/", "path under which the folder appears", unit="path")
    auth: tuple[str, ...] = option(
        (), "who may read, and nobody else; may be repeated", unit="user:password"
    )
    auth_file: str | None = option(
        None, "file of those who may read, made with: stretta http password", unit="file", kind=str
    )
    auth_without_tls: bool = option(
        default=False, words="ask for passwords even where they travel unprotected"
    )
