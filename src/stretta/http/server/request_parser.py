"""Requests: from bytes, however they were cut, to whole requests or a reason to refuse. Pure.

llhttp (through httptools) parses. It knows no limits, and lets pass a few things that RFC 9112
tells a server to refuse: those are here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import httptools

from stretta.options import HttpLimits

__all__ = ["HOST", "NO_REQUEST", "Refused", "Request", "RequestParser"]

REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([^ \r\n]+) HTTP/(\d\.\d)\r\n")
"""RFC 9112 section 3: single spaces, and a version."""

CONTROL = re.compile(rb"[^\t\r\x20-\x7e]")
"""What no request line holds: seen early, it is another protocol."""

HOST = re.compile(
    r"(?:[A-Za-z0-9._~!$&'()*+,;=%-]*|\[[0-9A-Fa-f:.]+\]|\[v[0-9A-Fa-f]+\.[^\]\s/]+\])(?::\d*)?"
)
"""RFC 9110 section 7.2: uri-host [ ":" port ]."""

OTHERS_METHODS = frozenset(
    b"ANNOUNCE DESCRIBE FLUSH GET_PARAMETER PAUSE PLAY PRI RECORD REDIRECT SETUP SET_PARAMETER"
    b" TEARDOWN".split()
)
"""Methods of RTSP and of HTTP/2's preface, which llhttp knows and takes in HTTP for malformed."""

END_OF_HEAD = b"\r\n\r\n"

MOST_FRAMING = 8
"""Bytes of chunk framing allowed for each byte of a body: one-byte chunks need five."""

MOST_EMPTY_LINES = 4


@dataclass(slots=True)
class Request:
    """One request, with its body. Header names are in lower case; repeated ones are joined."""

    method: str
    target: bytes
    version: str
    headers: dict[str, str]
    keep_alive: bool
    body: bytes = b""
    user: str | None = None  # who was let in, where that was asked


NO_REQUEST = Request("-", b"-", "1.1", {}, keep_alive=False)
"""What a reply answers when no request could be made out."""


class Refused(Exception):
    """A request that gets no more than an error: its status, and why in plain words.

    ``request`` is what could be made out of it.
    """

    def __init__(self, status: int, why: str, request: Request = NO_REQUEST) -> None:
        super().__init__(why)
        self.status, self.why, self.request = status, why, request


class State(Enum):
    """What the next byte belongs to."""

    LINE = auto()
    HEAD = auto()
    BODY = auto()
    CHUNKS = auto()
    CLOSED = auto()


class RequestParser:
    r"""Reads the requests of one connection.

    ``admit(request)`` is called with each head: it returns how many bytes of body may follow and
    whether they are kept, or raises Refused. After a Refused, or a request that closes the
    connection, nothing more is looked at.

    >>> reader = RequestParser(HttpLimits(), lambda request: (0, False))
    >>> reader.feed(b"GET / HTTP/1.1\r\nHost: a\r\n")
    []
    >>> [request.target for request in reader.feed(b"\r\n")]
    [b'/']
    """

    __slots__ = (
        "_admit", "_body", "_count", "_fields", "_framed", "_got", "_headers", "_held", "_kept",
        "_left", "_limits", "_line", "_most", "_out", "_parser", "_replaying", "_request", "_size",
        "_tail", "_upgrades", "_url", "state", "wants_continue",
    )  # fmt: skip

    def __init__(self, limits: HttpLimits, admit: Callable[[Request], tuple[int, bool]]) -> None:
        self._limits, self._admit = limits, admit
        self._parser: Any = None
        self._held = b""  # of a request line that has not come whole
        self._out: list[Request | Refused] = []
        self.state = State.LINE
        self.wants_continue = False  # the client waits for 100 (Continue) before it sends its body
        self._replaying = False
        self._begin()

    @property
    def at_rest(self) -> bool:
        """Whether nothing of a request has come that is not answered yet."""
        return self.state is State.LINE and not self._held

    @property
    def in_head(self) -> bool:
        """Whether a head has begun and not ended."""
        return self.state is State.HEAD or bool(self._held)

    @property
    def in_body(self) -> bool:
        """Whether a head has come and its body not yet."""
        return self.state is State.BODY or self.state is State.CHUNKS

    @property
    def body_so_far(self) -> int:
        """How many bytes of the body have come."""
        return self._got

    def close(self) -> None:
        """Read nothing more, and let go of the parser (it and the reader hold each other)."""
        self.state = State.CLOSED
        self._parser = None

    def feed(self, data: bytes) -> list[Request | Refused]:
        """Take what arrived; return the requests that are whole now, in order.

        A Refused ends the list, and the reading.
        """
        out = self._out = []
        if self._held:
            data, self._held = self._held + data, b""
        at = 0
        try:
            while at < len(data):
                if self.state is State.LINE:
                    at = self._request_line(data, at)
                if self.state is State.CLOSED or at == len(data):
                    break
                end = self._boundary(data, at)
                self._parse(data[at:end])
                at = end
        except Refused as refused:
            refused.request = self._made_out()
            out.append(refused)
            self.close()
        return out

    def _made_out(self) -> Request:
        """Return what is known of the request that is being read."""
        if self._request is not None or self._line is None:
            return self._request or NO_REQUEST
        method, target, version = self._line.groups()
        return Request(method.decode(), target, version.decode(), {}, keep_alive=False)

    def _begin(self) -> None:
        self._line: re.Match[bytes] | None = None
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._request: Request | None = None
        self._size = self._count = self._fields = 0
        self._left = self._got = self._framed = 0
        self._most, self._kept = 0, False
        self._body: list[bytes] = []
        self._tail = b""
        self._upgrades = False

    # where a piece ends: the parser is never fed beyond the end of a head or a message, so that
    # each request line is seen here first, and each head measured exactly

    def _request_line(self, data: bytes, at: int) -> int:
        """Judge the request line that starts here; return where it does, past an empty line."""
        while data.startswith(b"\r\n", at):  # RFC 9112 section 2.2: an empty line may precede it
            at += 2
            self._count += 1
            if self._count > MOST_EMPTY_LINES:
                raise Refused(400, "There are only empty lines.")
        end = data.find(b"\n", at)
        if (len(data) if end < 0 else end) - at > self._limits.max_request_line:
            raise Refused(
                414, f"The request line is longer than {self._limits.max_request_line} bytes."
            )
        if end < 0:
            if CONTROL.search(data, at):
                raise Refused(400, "This is not HTTP, or it is encrypted; here it is plain HTTP.")
            self._held = data[at:]
            return len(data)
        found = REQUEST_LINE.match(data, at, end + 1)
        if found is None:
            if re.fullmatch(rb"[A-Z]+ \S+\r?\n", data[at : end + 1]):
                raise Refused(505, "HTTP/0.9 is not spoken here; HTTP/1.1 is.")
            raise Refused(400, "The first line is no HTTP request line.")
        self._begin()
        self._line = found
        if found[3] not in (b"1.1", b"1.0"):
            raise Refused(505, f"HTTP/{found[3].decode()} is not spoken here; HTTP/1.1 is.")
        self.state = State.HEAD
        if self._parser is None:
            self._parser = httptools.HttpRequestParser(self)
        return at

    def _boundary(self, data: bytes, at: int) -> int:
        if self.state is State.BODY:
            end = min(len(data), at + self._left)
            self._left -= end - at
            return end
        tail, joint = self._tail, self._tail + data[at : at + 3]
        if tail and (found := joint.find(END_OF_HEAD)) >= 0:
            return at + found + 4 - len(tail)
        found = data.find(END_OF_HEAD, at)
        if found >= 0:
            return found + 4
        self._tail = data[-3:] if len(data) - at >= 3 else joint[-3:]
        return len(data)

    def _parse(self, piece: bytes) -> None:
        in_head = self.state is State.HEAD
        if self.state is State.CHUNKS:
            self._framed += len(piece)
        try:
            self._parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            self._decline_upgrade()
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            raise cause if cause is not None else error from None
        except httptools.HttpParserInvalidMethodError:
            raise Refused(501, "This method is not known here.") from None
        except httptools.HttpParserError as error:
            if self._line is not None and self._line[1] in OTHERS_METHODS:
                raise Refused(501, "This method is not known here.") from None
            raise Refused(400, f"The request is malformed: {error}.") from None
        if in_head:
            self._size += len(piece)
            if self._size > self._limits.max_request_line + self._limits.max_head:
                raise _too_large()
        elif self.state is State.CHUNKS:
            self._tail = self._tail if piece[-4:] != END_OF_HEAD else b""
            self._check_framing()

    def _check_framing(self) -> None:
        if self._framed > MOST_FRAMING * self._got + self._limits.max_head:
            raise Refused(400, "The chunks hold more framing than data.")

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
        if self.state is State.BODY:
            framing = b"Content-Length: %d" % self._left
        self._parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + END_OF_HEAD)
        self._replaying = False

    # what httptools calls

    def on_url(self, url: bytes) -> None:
        """Take the target, or a part of it."""
        self._url += url

    def on_header(self, name: bytes, value: bytes | None) -> None:
        """Take a header, or a trailer, which is counted and let go."""
        if self._replaying:
            return
        value = value or b""
        size = len(name) + len(value) + 4  # colon, space, CR and LF
        self._count += 1
        self._fields += size
        limits = self._limits
        if (
            size > limits.max_header
            or self._fields > limits.max_head
            or self._count > limits.max_headers
        ):
            raise _too_large()
        if self._request is None:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Judge the head."""
        if self._replaying:
            return
        parser = self._parser
        headers = _collect(self._headers)
        request = Request(
            parser.get_method().decode(),
            self._url,
            parser.get_http_version(),
            headers,
            parser.should_keep_alive(),
        )
        self._request = request
        _check_host(request)
        chunked = _is_chunked(request)
        length = int(headers.get("content-length", 0))
        self._most, self._kept = self._admit(request)
        if length > self._most:
            raise Refused(413, f"The body is longer than {self._most} bytes.")
        self._count = self._fields = 0
        if not (chunked or length):
            return
        self.state = State.CHUNKS if chunked else State.BODY
        self._left = length
        self._tail = b""
        self._upgrades = parser.should_upgrade()
        self.wants_continue = _expects_continue(request)

    def on_body(self, data: bytes) -> None:
        """Take a part of the body."""
        self._got += len(data)
        if self._got > self._most:
            raise Refused(413, f"The body is longer than {self._most} bytes.")
        if self._kept:
            self._body.append(data)

    def on_message_complete(self) -> None:
        """Give the request out."""
        if self._upgrades or self._request is None:
            return  # its body is still to come
        self._check_framing()
        request = self._request
        request.body = b"".join(self._body)
        self._out.append(request)
        self.wants_continue = False
        self.state = State.LINE if request.keep_alive else State.CLOSED
        self._begin()


def _too_large() -> Refused:
    return Refused(431, "The request's headers are too large or too many.")


def _collect(raw: list[tuple[bytes, bytes]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in raw:
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1").strip(" \t")
        if key not in headers:
            headers[key] = text
        elif key == "host":
            raise Refused(400, "There are two Host headers.")
        else:  # RFC 9110 section 5.3
            headers[key] = f"{headers[key]}, {text}"
    return headers


def _check_host(request: Request) -> None:
    host = request.headers.get("host")
    if host is None:
        if request.version == "1.1":  # RFC 9112 section 3.2
            raise Refused(400, "There is no Host header.")
    elif HOST.fullmatch(host) is None:
        raise Refused(400, "The Host header holds no host.")


def _is_chunked(request: Request) -> bool:
    coding = request.headers.get("transfer-encoding")
    if coding is None:
        return False
    if request.version == "1.0":  # RFC 9112 section 6.1: the framing cannot be trusted
        raise Refused(400, "HTTP/1.0 has no Transfer-Encoding.")
    if coding.lower() != "chunked":
        raise Refused(501, "The only transfer coding known here is chunked.")
    return True


def _expects_continue(request: Request) -> bool:
    expected = request.headers.get("expect", "").lower()
    return expected == "100-continue" and request.version == "1.1"
