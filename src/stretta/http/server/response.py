"""Responses as values, and the bytes of their heads. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate, parsedate_to_datetime
from http import HTTPStatus
from typing import Protocol

from stretta.http.server.files.file_version import FileVersion

__all__ = [
    "PHRASES",
    "BytesBody",
    "Clock",
    "Dependencies",
    "Response",
    "ResponseBody",
    "encode_head",
    "http_date",
]


class ResponseBody(Protocol):
    """A body that is produced in chunks; ``close`` is called in any case, at any point."""

    def __next__(self) -> bytes | memoryview:
        """Return the next chunk, valid until the next call; empty while there is none yet.

        Raises StopIteration after the last one, OSError when the rest cannot be had.
        """

    def taken(self, *, whole: bool) -> None:
        """Learn whether the kernel took all of the last chunk at once."""

    def close(self) -> None:
        """Release its resources."""


class BytesBody:
    """A body in memory, in chunks of CHUNK bytes, so that little of it waits to be sent."""

    CHUNK = 64 * 1024

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._at = 0

    def __next__(self) -> memoryview:
        """Return the next chunk."""
        chunk = self._data[self._at : self._at + self.CHUNK]
        if not chunk:
            raise StopIteration
        self._at += len(chunk)
        return chunk

    def taken(self, *, whole: bool) -> None:
        """Keep the size of the chunks."""

    def close(self) -> None:
        """Release the bytes."""
        self._data = memoryview(b"")


Dependencies = tuple[tuple[bytes, FileVersion | None], ...]
"""Paths that a response was made from, and the version found there: None for no file, ANY_FOLDER
for a folder on the way."""

NO_CONTENT = (204, 304)
"""Statuses of responses that end after the head (RFC 9110 section 6.4.1)."""

PHRASES = {status.value: status.phrase for status in HTTPStatus} | {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
}
"""RFC 9110 section 15; Python before 3.13 has former names of three of them."""

STATUS_LINES = {status: f"HTTP/1.1 {status} {phrase}\r\n" for status, phrase in PHRASES.items()}

LAST_SECOND = 253_402_300_799
"""The end of the year 9999, in seconds since 1970: HTTP's dates have four digits for the year."""


@dataclass(slots=True)
class Response:
    """A response; ``length`` counts the bytes of the body, None where it is not known.

    With ``close`` the connection ends after it. The same request gets the same response while all
    that it ``depends`` on is unchanged; None: it cannot be cached.
    """

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes | ResponseBody = b""
    length: int | None = 0
    close: bool = False
    depends: Dependencies | None = None

    @classmethod
    def of(cls, status: int, kind: str, body: bytes, *headers: tuple[str, str]) -> Response:
        """Return a response with a body of media type ``kind``."""
        return cls(status, [("Content-Type", kind), *headers], body, len(body))

    @property
    def has_body(self) -> bool:
        """Whether a body follows the head, unless the request was HEAD."""
        return self.status not in NO_CONTENT

    @property
    def modified(self) -> float:
        """Its Last-Modified in seconds since 1970; 0 without one."""
        for name, value in self.headers:
            if name == "Last-Modified":
                return parsedate_to_datetime(value).timestamp()
        return 0.0


def encode_head(response: Response, date: str, connection: str, *, chunked: bool = False) -> bytes:
    """Return the bytes before the body. An empty ``connection`` omits that header.

    Raises ValueError for a line break in a header (RFC 9110 section 5.5).
    """
    parts = [STATUS_LINES[response.status], "Server: stretta\r\nDate: ", date, "\r\n"]
    for name, value in response.headers:
        if "\r" in value or "\n" in value:
            raise ValueError(f"a line break in the header {name}")
        parts.append(f"{name}: {value}\r\n")
    if response.has_body:
        if chunked:
            parts.append("Transfer-Encoding: chunked\r\n")
        elif response.length is not None:
            parts.append(f"Content-Length: {response.length}\r\n")
    if connection:
        parts.append(f"Connection: {connection}\r\n")
    parts.append("\r\n")
    return "".join(parts).encode("latin-1")


def http_date(seconds: float) -> str:
    """Return a time in HTTP's format (RFC 9110 section 5.6.7), within the years it can express.

    >>> http_date(0)
    'Thu, 01 Jan 1970 00:00:00 GMT'
    """
    return formatdate(min(max(seconds, 0), LAST_SECOND), usegmt=True)


class Clock:
    """The value of the Date header, formatted once a second; ``second`` is that in numbers.

    ``now`` returns the time in seconds since 1970.
    """

    __slots__ = ("_now", "second", "text")

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.second = -1
        self.text = ""

    def date(self) -> str:
        """Return the present time in HTTP's format."""
        second = int(self._now())
        if second != self.second:
            self.second, self.text = second, http_date(second)
        return self.text
