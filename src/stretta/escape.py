"""Making peers' bytes safe to show: what moves the cursor or hides text is spelled out."""

from __future__ import annotations

import codecs
import re

__all__ = ["TerminalText", "escape", "escape_json", "escape_line", "one_line"]

# C0 and C1 controls, DEL, and the marks that reorder text (Unicode UAX #9), but tab and line feed
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")

_UNSAFE_IN_JSON = re.compile(f"{_UNSAFE.pattern}|[\ud800-\udfff]")  # lone surrogates are not UTF-8


def _spell(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def escape(text: str) -> str:
    r"""Return the text with control characters spelled out, tab and line feed excepted.

    >>> print(escape("red: \x1b[31m"))
    red: \x1b[31m
    """
    return _UNSAFE.sub(_spell, text)


def escape_line(text: str) -> str:
    r"""Return the text escaped, with line feeds and tabs spelled out too: exactly one line.

    >>> print(escape_line("no\nServer stopped"))
    no\nServer stopped
    """
    return escape(text).replace("\n", "\\n").replace("\t", "\\t")


def escape_json(document: str) -> str:
    r"""Return a JSON document with control characters as JSON's escapes: its value is the same.

    So are lone surrogates, which stand for bytes of file names that are not UTF-8.

    >>> print(escape_json('{"name": "\x9b2J"}'))
    {"name": "\u009b2J"}
    """
    return _UNSAFE_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", document)


def one_line(text: str) -> str:
    r"""Return the text escaped and in one line: nothing in it can pass for a line of ours.

    >>> print(one_line("no\nServer stopped \x1b[2J"))
    no Server stopped \x1b[2J
    """
    return " ".join(escape(text).split())


class TerminalText:
    r"""Bytes that come in pieces, as text that a terminal can be given.

    A carriage return before a line feed is dropped; bytes that are no text in the ``charset`` (a
    codec's name) are spelled out.

    >>> text = TerminalText()
    >>> text.feed(b"perch\xc3"), text.feed(b"\xa9\xff"), text.finish()
    ('perch', 'é\\xff', '')
    """

    def __init__(self, charset: str = "utf-8") -> None:
        self._decoder = codecs.getincrementaldecoder(charset)("backslashreplace")
        self._held = ""

    def feed(self, data: bytes | memoryview) -> str:
        """Return the text that these bytes complete."""
        text = self._held + self._decoder.decode(data)
        self._held = "\r" if text.endswith("\r") else ""
        return escape(text.removesuffix("\r").replace("\r\n", "\n"))

    def finish(self) -> str:
        """Return what was waiting for more."""
        return escape(self._held + self._decoder.decode(b"", final=True))
