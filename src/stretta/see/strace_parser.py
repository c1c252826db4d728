"""Lines of strace's output, taken apart; nothing here knows what the calls mean."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["StraceLine", "parse_lines", "quoted", "sockaddr", "split_arguments", "unescape"]

ANY = re.DOTALL | re.ASCII
LINE = re.compile(r"(?:(\d{1,10})\s+)?(\d{1,10})\.(\d{9}) (.*)", ANY)
RESULT = re.compile(
    r"(.*)\)\s+= (-?\d{1,19}|0x[0-9a-f]{1,16}|\?)(?!\w)(.*?)(?: <(\d{1,9})\.(\d{9})>)?", ANY
)
RESUMED = re.compile(r"<\.\.\. (\w+) resumed>(.*)", ANY)
ESCAPED = re.compile(rb"\\([0-7]{1,3}|x[0-9a-fA-F]{2}|.)", re.DOTALL)
LETTERS = {
    b"n": b"\n", b"t": b"\t", b"r": b"\r", b"v": b"\v", b"f": b"\f", b"a": b"\a", b"b": b"\b",
}  # fmt: skip
OBJECT = re.compile(r"(?<=[\w])<(?:->|[^<>])*>")
"""What a descriptor refers to, as strace -yy prints it: a path (without < and >), or two ends."""

QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"(\.\.\.)?', re.DOTALL)
IPV4 = re.compile(r'sin_port=htons\((\d{1,5})\), sin_addr=inet_addr\("([^"]*)"\)', ANY)
IPV6 = re.compile(r'sin6_port=htons\((\d{1,5})\),.*?inet_pton\(AF_INET6, "([^"]*)"', ANY)


@dataclass(slots=True)
class StraceLine:
    """One call (or signal, or exit) of one thread; times in nanoseconds since 1970.

    ``number`` is that of the line of text, from 1. ``end`` is None for a call that never returned;
    ``next_seen`` is when its thread was seen again; ``result`` is None where strace prints ``?``.
    ``rest`` follows the result: a descriptor's name, or an error and its description.
    """

    number: int
    thread: int
    at: int
    name: str
    arguments: str
    end: int | None = None
    result: int | None = None
    rest: str = ""
    next_seen: int | None = None


def parse_lines(text: str) -> Iterator[StraceLine]:
    """Return each call of strace's output, in the order of their starts and unfinished ones joined.

    Exits come as the call ``+++`` whose arguments are strace's words. What cannot be read is left
    out: strace's own warnings.
    """
    lines: list[StraceLine] = []
    begun: dict[int, StraceLine] = {}
    before: dict[int, StraceLine] = {}
    for number, raw in enumerate(text.split("\n"), 1):
        found = LINE.fullmatch(raw)
        if found is None:
            continue
        thread = int(found[1] or 0)
        at = int(found[2]) * 1_000_000_000 + int(found[3])
        body = found[4]
        if thread in before and before[thread].next_seen is None:
            before[thread].next_seen = at
        if body.startswith("<... "):
            resumed = RESUMED.fullmatch(body)
            line = begun.pop(thread, None)
            if resumed and line:
                _finish(line, line.arguments + resumed[2])
            continue
        if body.startswith("+++"):
            lines.append(StraceLine(number, thread, at, "+++", body.strip("+ "), at))
            continue
        name, parenthesis, rest = body.partition("(")
        if not parenthesis or not name.isidentifier():
            continue
        line = StraceLine(number, thread, at, name, rest)
        lines.append(line)
        before[thread] = line
        if rest.endswith("<unfinished ...>"):
            line.arguments = rest.removesuffix("<unfinished ...>").rstrip(" ")
            begun[thread] = line
        else:
            _finish(line, rest)
    return iter(lines)


def _finish(line: StraceLine, text: str) -> None:
    found = RESULT.fullmatch(text)
    if found is None:
        line.arguments = text
        return
    line.arguments = found[1]
    if found[2] != "?":
        line.result = int(found[2], 16 if found[2].startswith("0x") else 10)
    line.rest = found[3].strip()
    if found[4] is not None:
        line.end = line.at + int(found[4]) * 1_000_000_000 + int(found[5])


def split_arguments(text: str) -> list[str]:
    r"""Split a call's arguments at the commas that are in no string, bracket or brace.

    >>> split_arguments('3<TCP:[1]>, "a, \\", b", {x=1, y=2}, 4')
    ['3<TCP:[1]>', '"a, \\", b"', '{x=1, y=2}', '4']
    >>> split_arguments("3</tmp/a [b>, F_GETFD")
    ['3</tmp/a [b>', 'F_GETFD']
    """
    parts: list[str] = []
    depth, start, at = 0, 0, 0
    while at < len(text):
        c = text[at]
        if c == '"':
            found = QUOTED.match(text, at)
            at = found.end() if found else len(text)
            continue
        if c == "<" and at and (found := OBJECT.match(text, at)):
            at = found.end()
            continue
        if c in "([{":
            depth += 1
        elif c in ")]}":
            depth -= 1
        elif c == "," and depth == 0:
            parts.append(text[start:at].strip())
            start = at + 1
        at += 1
    parts.append(text[start:].strip())
    return parts


def unescape(text: str) -> bytes:
    r"""Return the bytes that a C string literal holds.

    >>> unescape(r'perch\303\251\0\n')
    b'perch\xc3\xa9\x00\n'
    """
    return ESCAPED.sub(_byte, text.encode("latin-1"))


def _byte(found: re.Match[bytes]) -> bytes:
    code = found[1]
    if code[:1] == b"x" and len(code) == 3:
        return bytes([int(code[1:], 16)])
    if code.isdigit() and code[:1] < b"8":
        return bytes([int(code, 8) & 255])
    return LETTERS.get(code, code)


def quoted(text: str) -> bytes:
    """Return the bytes of all strings in the text, one after the other."""
    return b"".join(unescape(found[1]) for found in QUOTED.finditer(text))


def sockaddr(text: str) -> tuple[str, int] | None:
    """Return the address and port of a printed sockaddr, an IPv4-mapped one as IPv4; or None."""
    if found := IPV4.search(text):
        return found[2], int(found[1])
    if found := IPV6.search(text):
        return plain_address(found[2]), int(found[1])
    return None


def plain_address(address: str) -> str:
    """Return an IPv4 address for an IPv4-mapped IPv6 one (RFC 4291 section 2.5.5.2)."""
    mapped = address.startswith("::ffff:") and "." in address
    return address[7:] if mapped else address
