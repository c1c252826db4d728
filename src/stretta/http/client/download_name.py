"""The name under which a response is saved: never a way out of the folder. Pure."""

from __future__ import annotations

import re
from contextlib import suppress
from urllib.parse import unquote

from stretta.http.message.headers import Headers
from stretta.http.message.url import Url

__all__ = ["file_name"]

LONGEST = 200
"""Bytes of a name, leaving room for an ending within what file systems take (255)."""


def file_name(headers: Headers, url: Url) -> str:
    """Return what Content-Disposition (RFC 6266) or the URL's path calls the object.

    Only the last component counts, without control characters and leading dots.

    >>> from stretta.http.message.url import parse_url
    >>> url = parse_url("http://a/b/perch%C3%A9.txt?x=1")
    >>> file_name(Headers(), url)
    'perché.txt'
    >>> file_name(Headers([("Content-Disposition", 'attachment; filename="../../.bashrc"')]), url)
    'bashrc'
    """
    said = headers.get_all("content-disposition")
    for name in (_from_disposition(said[0]) if said else "", unquote(url.path)):
        clean = _clean(name)
        if clean:
            return clean
    return "index.html"


def _from_disposition(value: str) -> str:
    """Return the file name in the field, in whichever of its two forms (RFC 8187 first)."""
    from email.message import EmailMessage  # noqa: PLC0415 - few responses carry one

    with suppress(UnicodeError):  # many servers send UTF-8 as it is
        value = value.encode("latin-1").decode("utf-8")
    message = EmailMessage()
    try:
        message["Content-Disposition"] = re.sub(r"[\r\n\0]", "", value)
        return message.get_filename() or ""
    except (ValueError, LookupError, IndexError, AttributeError):  # beyond repair
        return ""


def _clean(name: str) -> str:
    last = re.split(r"[/\\]", name)[-1]
    last = "".join(c for c in last if c.isprintable() and c != "\ufffd").strip().lstrip(".")
    while len(last.encode(errors="replace")) > LONGEST:
        last = last[1:]  # the ending tells more than the beginning
    return last
