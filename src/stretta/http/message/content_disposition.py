"""Content-Disposition: the name under which to save a body (RFC 6266, RFC 8187). Pure."""

from __future__ import annotations

import re
from urllib.parse import quote_from_bytes, unquote_to_bytes

__all__ = ["attachment", "file_name_in"]

MAX_SIZE = 8 * 1024
"""Bytes of a field that is parsed; a longer one is ignored."""

# possessive quantifiers: a parameter is scanned once, whatever it holds
_PARAMETER = re.compile(r';[ \t]*+([^\s=;"]++)[ \t]*+=[ \t]*+(?:"((?:[^"\\]|\\.)*+)"|([^;]*+))')

CHARSETS = {"utf-8": "utf-8", "iso-8859-1": "latin-1"}
"""The charsets of extended parameters (RFC 8187 section 3.2.1), by Python's names."""


def attachment(name: bytes) -> str:
    """Return the field value that tells the client to save a file under ``name``.

    >>> attachment("perché.zip".encode())
    'attachment; filename="perch__.zip"; filename*=UTF-8\\'\\'perch%C3%A9.zip'
    """
    plain = re.sub(rb"[^A-Za-z0-9!#$&+.^_`|~ -]", b"_", name).decode()
    exact = quote_from_bytes(name, safe="")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{exact}"


def file_name_in(value: str) -> str:
    """Return the file name in a field value, '' without one.

    ``filename*`` has precedence over ``filename`` (RFC 6266 section 4.3). The name is the sender's:
    it may hold slashes and control characters.

    >>> file_name_in(attachment("perché.zip".encode()))
    'perché.zip'
    """
    if len(value) > MAX_SIZE:
        return ""
    parameters: dict[str, str] = {}
    for name, quoted, token in _PARAMETER.findall(value):
        text = re.sub(r"\\(.)", r"\1", quoted) if quoted else token.strip()
        parameters.setdefault(name.lower(), text)
    return _extended(parameters.get("filename*", "")) or _plain(parameters.get("filename", ""))


def _extended(text: str) -> str:
    """Return the text of an extended value, charset'language'encoded; '' if it is malformed."""
    charset, _, rest = text.partition("'")
    _, quote, encoded = rest.partition("'")
    codec = CHARSETS.get(charset.lower())
    if codec is None or not quote:
        return ""
    try:
        return unquote_to_bytes(encoded).decode(codec)
    except UnicodeDecodeError:
        return ""


def _plain(text: str) -> str:
    """Return a plain value; many servers send it as UTF-8 and not as Latin-1."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text
