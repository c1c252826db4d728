"""Escape text for a terminal: the one gate for everything that is printed. Pure.

Text from peers, files and programs can hold characters that move the cursor, change colours, end a
line, reorder or hide text. They are spelled out, in time linear in the length of the text.
"""

from __future__ import annotations

import codecs
import re

__all__ = ["TerminalText", "escape", "escape_json", "escape_line", "one_line"]

_UNSAFE = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 without tab and line feed, DEL, C1 (ECMA-48)
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f"  # bidirectional controls (Unicode UAX #9)
    "\u2028\u2029"  # line and paragraph separators
    "\ufff9-\ufffb\U000e0000-\U000e007f"  # annotations and tags, which hide text
    "\ud800-\udfff"  # lone surrogates, which cannot be encoded
    "]"
)


def _spell(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _spell_in_json(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def escape(text: str) -> str:
    r"""Return the text with unsafe characters spelled out; tabs and line feeds stay.

    >>> print(escape("red: \x1b[31m"))
    red: \x1b[31m
    """
    return _UNSAFE.sub(_spell, text)


def escape_line(text: str) -> str:
    r"""Return the text escaped, with tabs and line feeds spelled out too: exactly one line.

    >>> print(escape_line("no\nServer stopped"))
    no\nServer stopped
    """
    return escape(text).replace("\n", "\\n").replace("\t", "\\t")


def escape_json(document: str) -> str:
    r"""Return a JSON document of the same value, with unsafe characters as JSON's escapes.

    >>> print(escape_json('{"name": "\x9b2J"}'))
    {"name": "\u009b2J"}
    """
    return _UNSAFE.sub(_spell_in_json, document)


def one_line(text: str) -> str:
    r"""Return the text escaped and on one line, so that no part of it looks like another line.

    >>> print(one_line("no\nServer stopped \x1b[2J"))
    no Server stopped \x1b[2J
    """
    return " ".join(escape(text).split())


class TerminalText:
    r"""Decodes and escapes bytes that arrive in pieces.

    A carriage return before a line feed is dropped; bytes that the ``charset`` (a codec's name)
    does not decode are spelled out.

    >>> text = TerminalText()
    >>> text.feed(b"perch\xc3"), text.feed(b"\xa9\xff"), text.finish()
    ('perch', 'é\\xff', '')
    """

    def __init__(self, charset: str = "utf-8") -> None:
        self._decoder = codecs.getincrementaldecoder(charset)("backslashreplace")
        self._held = ""

    def feed(self, data: bytes | memoryview) -> str:
        """Return the text that these bytes complete."""
        text = self._held + self._decode(data)
        self._held = "\r" if text.endswith("\r") else ""
        return escape(text.removesuffix("\r").replace("\r\n", "\n"))

    def finish(self) -> str:
        """Return the rest, which no further bytes will complete."""
        return escape(self._held + self._decode(b"", final=True))

    def _decode(self, data: bytes | memoryview, *, final: bool = False) -> str:
        held = self._decoder.getstate()[0]
        try:
            return self._decoder.decode(data, final=final)
        except UnicodeError:  # some codecs ignore the error handler: UTF-16 without a BOM
            self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
            return self._decoder.decode(held + data, final=final)
