"""Layout of JSON, and colours for JSON and markup."""

from __future__ import annotations

import json
import re

__all__ = ["can_lay_out", "colour_text", "indent_json", "is_json", "lay_out"]

MOST = 256 * 1024
"""Bytes of the longest body that is laid out; a longer one is printed as it arrives."""

DEEPEST = 100
"""Levels of nesting that are indented."""

_TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+)')
_JSON = re.compile(r"application/(?:.*\+)?json|text/json")
_MARKUP = re.compile(r"(?:text|application)/(?:html|xml|css|javascript|(?:.*\+)xml)|image/svg\+xml")


def can_lay_out(kind: str) -> bool:
    """Return whether a body of this media type is laid out or coloured as a whole."""
    return bool(_JSON.fullmatch(kind) or _MARKUP.fullmatch(kind))


def lay_out(kind: str, text: str) -> str:
    """Return JSON with a line for each member, and any other text unchanged."""
    if not _JSON.fullmatch(kind):
        return text
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return text
    return indent_json(text)


def is_json(kind: str, data: bytes | bytearray) -> bool:
    """Return whether these bytes, of this media type, are a whole JSON document.

    >>> is_json("application/json", b'{"a": 1}'), is_json("application/json", b'{"a": ')
    (True, False)
    """
    if not _JSON.fullmatch(kind) or not data.rstrip().endswith((b"}", b"]")):
        return False
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True


def indent_json(text: str) -> str:
    """Return valid JSON with a line for each member; its tokens are unchanged.

    >>> print(indent_json('{"a":[1.10,{}],"a":"x, y"}'))
    {
      "a": [
        1.10,
        {}
      ],
      "a": "x, y"
    }
    """
    out: list[str] = []
    depth, before = 0, ":"
    for part in _TOKEN.findall(text):
        opened = before in {"{", "["}
        if part in {"}", "]"}:
            depth -= 1
            out.append(part if opened else _new_line(depth) + part)
        else:
            if opened or before == ",":
                out.append(_new_line(depth))
            out.append(": " if part == ":" else part)
            depth += part in {"{", "["}
        before = part
    return "".join(out)


def _new_line(depth: int) -> str:
    return "\n" + "  " * min(depth, DEEPEST)


def colour_text(kind: str, text: str) -> str:
    """Return the text coloured by its media type; unchanged if no lexer knows the type."""
    from pygments import highlight  # noqa: PLC0415 - only coloured output needs it
    from pygments.formatters import TerminalFormatter  # noqa: PLC0415
    from pygments.lexers import get_lexer_for_mimetype  # noqa: PLC0415
    from pygments.util import ClassNotFound  # noqa: PLC0415

    if _JSON.fullmatch(kind):
        kind = "application/json"
    try:
        lexer = get_lexer_for_mimetype(kind, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return text
    return str(highlight(text, lexer, TerminalFormatter()))
