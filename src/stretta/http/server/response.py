"""Replies: status, headers and body as values, and the bytes of their heads. Pure."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import Protocol

from stretta.http.server.files.file_version import FileVersion

__all__ = ["PHRASES", "Clock", "Dependencies", "Response", "ResponseBody", "head", "http_date"]


class ResponseBody(Protocol):
    """A body that comes in pieces, and is closed when it is no longer wanted, begun or not."""

    def __next__(self) -> bytes | memoryview:
        """Return the next piece, valid until another is asked for; empty if it is not made yet.

        Raises StopIteration after the last, OSError where it cannot go on.
        """

    def taken(self, *, whole: bool) -> None:
        """Learn whether the kernel took the last piece whole."""

    def close(self) -> None:
        """Let go of what it holds."""


Dependencies = tuple[tuple[bytes, FileVersion | None], ...]
"""Paths, and the version each had; None where there was nothing, ANY_FOLDER on the way there."""

NO_CONTENT = (204, 304)
"""Statuses whose replies end after the head (RFC 9110 section 6.4.1); 1xx are not sent so."""

PHRASES = {status.value: status.phrase for status in HTTPStatus} | {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
}
"""RFC 9110 section 15; Python before 3.13 has three of them as they were called earlier."""

STATUS_LINES = {status: f"HTTP/1.1 {status} {phrase}\r\n" for status, phrase in PHRASES.items()}


@dataclass(slots=True)
class Response:
    """A reply; ``length`` counts the body's bytes, None where nobody knows before the end."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes | ResponseBody = b""
    length: int | None = 0
    close: bool = False
    depends: Dependencies | None = (
        None  # while these are as they were, the same request gets the same
    )

    @classmethod
    def of(cls, status: int, kind: str, body: bytes, *headers: tuple[str, str]) -> Response:
        """Return a reply whose body is at hand, of media type ``kind``."""
        return cls(status, [("Content-Type", kind), *headers], body, len(body))

    @property
    def has_body(self) -> bool:
        """Whether a body follows the head, unless the request was HEAD."""
        return self.status not in NO_CONTENT


def head(reply: Response, date: str, connection: str, *, chunked: bool = False) -> bytes:
    """Return the bytes before the body. ``connection`` is empty where nothing need be said.

    Nothing in them comes from the peer unescaped; should a CR or LF be there all the same, it ends
    here (RFC 9110 section 5.5).
    """
    parts = [STATUS_LINES[reply.status], "Server: stretta\r\nDate: ", date, "\r\n"]
    for name, value in reply.headers:
        if "\r" in value or "\n" in value:
            raise ValueError(f"a line break in the header {name}")
        parts.append(f"{name}: {value}\r\n")
    if reply.has_body:
        if chunked:
            parts.append("Transfer-Encoding: chunked\r\n")
        elif reply.length is not None:
            parts.append(f"Content-Length: {reply.length}\r\n")
    if connection:
        parts.append(f"Connection: {connection}\r\n")
    parts.append("\r\n")
    return "".join(parts).encode("latin-1")


def http_date(seconds: float) -> str:
    """Return a time as HTTP writes it (RFC 9110 section 5.6.7), within the years it can say.

    >>> http_date(0)
    'Thu, 01 Jan 1970 00:00:00 GMT'
    """
    return formatdate(min(max(seconds, 0), LAST_SECOND), usegmt=True)


LAST_SECOND = 253_402_300_799
"""The end of the year 9999, the last of four digits."""


class Clock:
    """The Date header's value, made once a second."""

    __slots__ = ("_second", "text")

    def __init__(self) -> None:
        self._second = -1
        self.text = ""

    def date(self) -> str:
        """Return the time now as HTTP writes it."""
        now = int(time.time())
        if now != self._second:
            self._second, self.text = now, http_date(now)
        return self.text
