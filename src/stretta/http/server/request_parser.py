"""Parse the requests of one connection, whatever segments they arrive in. Pure.

llhttp (through httptools) parses. It has no limits, and accepts a few things that RFC 9112 tells a
server to refuse: both are added here. The parser is fed up to the end of a head or a body at most,
so that every request line is checked here first, and at most one request is parsed at a time.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum, auto
from typing import Any

import httptools

from stretta.http.message.host import is_host
from stretta.http.server.message_limits import ChunkMeter, FieldMeter
from stretta.http.server.request import NO_REQUEST, Refused, Request
from stretta.options import HttpLimits

__all__ = ["ParserState", "RequestParser"]

REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([^ \r\n]+) HTTP/(\d)\.(\d)\r\n")
"""RFC 9112 section 3: single spaces, and a version."""

HTTP_0_9 = re.compile(rb"[A-Z]+ (?!HTTP/)\S+\r?\n")

CONTROL = re.compile(rb"[^\t\r\x20-\x7e]")
"""Bytes that no request line contains: seen early, they mean another protocol."""

UNSUPPORTED_METHODS = frozenset(
    b"ANNOUNCE DESCRIBE FLUSH GET_PARAMETER PAUSE PLAY PRI RECORD REDIRECT SETUP SET_PARAMETER"
    b" TEARDOWN".split()
)
"""Methods of RTSP and of HTTP/2's preface, which llhttp knows, and calls malformed in HTTP."""

MAX_EMPTY_LINES = 4
"""Empty lines before a request line (RFC 9112 section 2.2 asks for at least one)."""


class ParserState(Enum):
    """The part of a request that the next byte belongs to."""

    REQUEST_LINE = auto()
    HEAD = auto()
    BODY = auto()
    CHUNKS = auto()
    CLOSED = auto()


class RequestParser:
    r"""Parses requests one at a time: bytes go in by ``receive``, requests out by ``next_request``.

    ``admit(request)`` is called with each head: it returns the longest body allowed and whether to
    keep it, or raises Refused. After a Refused, or a request that closes the connection, the rest
    of the input is ignored.

    >>> parser = RequestParser(HttpLimits(), lambda request: (0, False))
    >>> parser.receive(b"GET / HTTP/1.1\r\nHost: a\r\n")
    >>> parser.next_request()
    >>> parser.receive(b"\r\n")
    >>> parser.next_request().target
    b'/'
    """

    __slots__ = (
        "_admit", "_at", "_body", "_chunks", "_complete", "_data", "_empty_lines", "_fields",
        "_headers", "_keeps_body", "_left", "_limits", "_line", "_max_body", "_parser",
        "_replaying", "_request", "_scanned", "_upgrades", "_url", "body_received", "state",
        "wants_continue",
    )  # fmt: skip

    def __init__(self, limits: HttpLimits, admit: Callable[[Request], tuple[int, bool]]) -> None:
        self._limits, self._admit = limits, admit
        self._parser: Any = None
        self._data = b""
        self._at = 0  # where the bytes begin that are not parsed
        self._scanned = 0  # where those begin in which no end of a line was looked for
        self._empty_lines = 0
        self._fields = FieldMeter(limits)
        self._chunks: ChunkMeter | None = None
        self._complete: Request | None = None
        self._replaying = False
        self.state = ParserState.REQUEST_LINE
        self.wants_continue = False  # the client waits for 100 (Continue) before it sends its body
        self._begin_message()

    def _begin_message(self) -> None:
        self._line: re.Match[bytes] | None = None
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._request: Request | None = None
        self._left = self._max_body = 0
        self.body_received = 0  # bytes of the body that have arrived
        self._keeps_body = False
        self._body: list[bytes] = []
        self._upgrades = False

    @property
    def is_empty(self) -> bool:
        """Whether every byte that arrived is parsed."""
        return self._at == len(self._data)

    @property
    def at_rest(self) -> bool:
        """Whether no byte of a further request has arrived."""
        return (
            self.state is ParserState.REQUEST_LINE
            and self._at == len(self._data)
            and not self._empty_lines
        )

    @property
    def in_body(self) -> bool:
        """Whether a head has arrived, and its body not entirely."""
        return self.state is ParserState.BODY or self.state is ParserState.CHUNKS

    @property
    def current(self) -> Request:
        """As much as is known of the request that is being read."""
        if self._request is not None or self._line is None:
            return self._request or NO_REQUEST
        method, target, *version = (part.decode("latin-1") for part in self._line.groups())
        return Request(method, target.encode("latin-1"), ".".join(version), {}, keep_alive=False)

    def close(self) -> None:
        """Ignore all further input, and release the parser (it and this object hold each other)."""
        self.state = ParserState.CLOSED
        self._parser = None
        self._data = b""
        self._at = 0

    def receive(self, data: bytes) -> None:
        """Take bytes that arrived."""
        if self._at < len(self._data):
            data = self._data[self._at :] + data
            self._scanned = max(0, self._scanned - self._at)
        else:
            self._scanned = 0
        self._data, self._at = data, 0

    def next_request(self) -> Request | Refused | None:
        """Return the next request that has arrived whole; None where more input is needed.

        A Refused is returned once, instead of the request that it refuses.
        """
        try:
            while self._at < len(self._data) and self.state is not ParserState.CLOSED:
                start = self._at
                if self.state is ParserState.REQUEST_LINE:
                    start = self._read_request_line()
                    if start < 0:
                        return None
                self._at = self._piece_end(self._data, self._at)
                self._feed(self._data[start : self._at])
                if self._complete is not None:
                    request, self._complete = self._complete, None
                    return request
        except Refused as refused:
            refused.request = self.current
            self.close()
            return refused
        return None

    # the request line

    def _read_request_line(self) -> int:
        """Check the request line, and go to its end; return from where to feed the parser.

        Returns -1 where the line has not arrived whole.
        """
        data = self._data
        while data.startswith(b"\r\n", self._at):
            self._at += 2
            self._empty_lines += 1
            if self._empty_lines > MAX_EMPTY_LINES:
                raise Refused(400, "There are only empty lines.")
        at, scanned = self._at, max(self._at, self._scanned)
        end = data.find(b"\n", scanned)
        stop = len(data) if end < 0 else end
        length = stop - at - data.endswith(b"\r", at, stop)
        if length > self._limits.max_request_line:
            raise self._too_long(data[at:stop])
        if end < 0:
            if CONTROL.search(data, scanned):
                raise Refused(400, "This is not HTTP, or it is encrypted; this port is plain HTTP.")
            self._scanned = len(data)
            return -1
        found = REQUEST_LINE.match(data, at, end + 1)
        if found is None:
            if HTTP_0_9.fullmatch(data, at, end + 1):
                raise Refused(505, "HTTP/0.9 is not supported. Use HTTP/1.1.")
            raise Refused(400, "The first line is not an HTTP request line.")
        self._begin_message()
        self._line = found
        self._empty_lines = 0
        if found[3] != b"1":
            version = b".".join(found.groups()[2:]).decode()
            raise Refused(505, f"HTTP/{version} is not supported. Use HTTP/1.1.")
        self.state = ParserState.HEAD
        self._fields.reset()
        if self._parser is None:
            self._parser = httptools.HttpRequestParser(self)
        self._at = end + 1
        if found[4] <= b"1":
            return at
        # RFC 9110 section 2.5: a later minor version is processed as 1.1
        self._feed(b"%b %b HTTP/1.1\r\n" % (found[1], found[2]))
        return self._at

    def _too_long(self, line: bytes) -> Refused:
        most = self._limits.max_request_line
        if b" " not in line[:most]:  # RFC 9112 section 3
            return Refused(501, "This method is not supported.")
        return Refused(414, f"The request line is longer than {most} bytes.")

    # the head and the body

    def _piece_end(self, data: bytes, at: int) -> int:
        """Return where the parser must stop: the end of the head or body, or of the data."""
        if self.state is ParserState.HEAD:
            return self._fields.section_end(data, at)
        if self._chunks is not None:
            return self._chunks.piece_end(data, at)
        end = min(len(data), at + self._left)
        self._left -= end - at
        return end

    def _feed(self, piece: bytes) -> None:
        try:
            self._parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            self._decline_upgrade()
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            raise cause if cause is not None else error from None
        except httptools.HttpParserInvalidMethodError:
            raise Refused(501, "This method is not supported.") from None
        except httptools.HttpParserError as error:
            if self._line is not None and self._line[1] in UNSUPPORTED_METHODS:
                raise Refused(501, "This method is not supported.") from None
            raise Refused(400, f"The request is malformed: {error}.") from None

    def _decline_upgrade(self) -> None:
        """Go on in HTTP/1.1 (RFC 9110 section 7.8); llhttp would not read the body."""
        self._parser = None
        if not self._upgrades:
            return
        # a parser that has not seen the Upgrade header reads the body
        self._upgrades = False
        self._parser = httptools.HttpRequestParser(self)
        self._replaying = True
        framing = b"Transfer-Encoding: chunked"
        if self._chunks is None:
            framing = b"Content-Length: %d" % self._left
        self._parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n\r\n")
        self._replaying = False

    # called by httptools

    def on_url(self, url: bytes) -> None:
        """Take the target, or a part of it."""
        if self._complete is not None:  # the parser saw an end where the meters saw none
            raise Refused(400, "The request is malformed.")
        self._url += url

    def on_header(self, name: bytes, value: bytes | None) -> None:
        """Take a header; ignore a trailer."""
        if self._request is None and not self._replaying:
            self._headers.append((name, value or b""))

    def on_headers_complete(self) -> None:
        """Check the head."""
        if self._replaying:
            return
        parser = self._parser
        headers = _join(self._headers)
        assert self._line is not None  # noqa: S101 - for the type checker
        version = f"1.{self._line[4].decode()}"
        method = parser.get_method().decode()
        request = Request(method, self._url, version, headers, parser.should_keep_alive())
        self._request = request
        _check_host(request)
        chunked = _is_chunked(request)
        length = int(headers.get("content-length", 0))
        self._max_body, self._keeps_body = self._admit(request)
        if length > self._max_body:
            raise self._body_too_long()
        if not (chunked or length):
            return
        self.state = ParserState.CHUNKS if chunked else ParserState.BODY
        self._chunks = ChunkMeter(self._limits) if chunked else None
        self._left = length
        self._upgrades = parser.should_upgrade()
        self.wants_continue = _expects_continue(request)

    def on_body(self, data: bytes) -> None:
        """Take a part of the body."""
        self.body_received += len(data)
        if self.body_received > self._max_body:
            raise self._body_too_long()
        if self._keeps_body:
            self._body.append(data)

    def _body_too_long(self) -> Refused:
        return Refused(413, f"The body is longer than {self._max_body} bytes.")

    def on_message_complete(self) -> None:
        """Hand out the request."""
        if self._upgrades or self._request is None:
            return  # its body is still to come
        request = self._request
        request.body = b"".join(self._body)
        self._complete = request
        self._chunks = None
        self.wants_continue = False
        self.state = ParserState.REQUEST_LINE if request.keep_alive else ParserState.CLOSED
        self._begin_message()


def _join(raw: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the headers by lower-case name, repeated ones joined (RFC 9110 section 5.3)."""
    headers: dict[str, str] = {}
    for name, value in raw:
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1").strip(" \t")
        if key not in headers:
            headers[key] = text
        elif key == "host":
            raise Refused(400, "There are two Host headers.")
        else:
            headers[key] = f"{headers[key]}, {text}"
    return headers


def _check_host(request: Request) -> None:
    host = request.headers.get("host")
    if host is None:
        if request.version != "1.0":  # RFC 9112 section 3.2
            raise Refused(400, "There is no Host header.")
    elif not is_host(host):
        raise Refused(400, "The Host header does not contain a valid host.")


def _is_chunked(request: Request) -> bool:
    coding = request.headers.get("transfer-encoding")
    if coding is None:
        return False
    if request.version == "1.0":  # RFC 9112 section 6.1: the framing cannot be trusted
        raise Refused(400, "HTTP/1.0 has no Transfer-Encoding.")
    if coding.lower() != "chunked":
        raise Refused(501, "The only transfer coding supported is chunked.")
    return True


def _expects_continue(request: Request) -> bool:
    expected = request.headers.get("expect", "").lower()
    return expected == "100-continue" and request.version != "1.0"
