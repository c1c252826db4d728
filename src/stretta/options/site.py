"""The HTTP server's files: which, to whom, under which path; its log."""

from __future__ import annotations

from typing import Literal

from stretta.options.declare import Options, option
from stretta.options.service import NAMES

__all__ = ["SiteOptions", "WebOptions"]


class WebOptions(Options):
    """What the command ``stretta http server`` serves and prints."""

    group = "Files"

    directory: str = option(".", "folder to serve", unit="dir", short="d")
    service: str | None = option(
        None, f"what answers a POST: {NAMES}", unit="name", kind=str, group="Service", common=True,
        variable="STRETTA_HTTP_SERVICE",
    )  # fmt: skip
    log: Literal["common", "combined", "json", "off"] = option(
        "common", "format of the access log, which has one line a request",
        choices=("common", "combined", "json", "off"), group="Output", common=True,
    )  # fmt: skip
    qr: bool = option(
        default=False, words="print a QR code that opens the page on a phone", group="Output"
    )


class SiteOptions(Options):
    """What an HTTP server shows of its folder, to whom, and under which path."""

    group = "Files"

    index: tuple[str, ...] = option(
        ("index.html", "index.htm"), "file that is served for its folder; may be repeated",
        unit="name",
    )  # fmt: skip
    listing: bool = option(default=True, words="list a folder that has no index")
    zip: bool = option(default=True, words="offer a folder as a ZIP file (?format=zip)")
    hidden: bool = option(default=False, words="serve and list names that begin with a dot too")
    compress: bool = option(default=True, words="compress text for clients that accept it")
    spa: bool = option(
        default=False, words="answer paths that do not exist with the index of the folder served"
    )
    cors: bool = option(
        default=False, words="let pages of other sites read the files", group="Access"
    )
    allow_host: tuple[str, ...] = option(
        (),
        "name under which to answer on a private address, '*' for any; may be repeated",
        unit="name", group="Access",
    )  # fmt: skip
    header: tuple[str, ...] = option(
        (), "header to add to every response, or to replace; may be repeated", unit="'name: value'"
    )
    base_path: str = option("/", "path under which the folder appears", unit="path")
    auth: tuple[str, ...] = option(
        (), "user who may read, and nobody else; may be repeated", unit="user:password",
        group="Access", secret=True, common=True,
    )  # fmt: skip
    auth_file: str | None = option(
        None, "file of users who may read, made with: stretta http password", unit="file", kind=str,
        group="Access",
    )  # fmt: skip
    auth_without_tls: bool = option(
        default=False, words="ask for passwords without TLS too, where the network can read them",
        group="Access",
    )  # fmt: skip
