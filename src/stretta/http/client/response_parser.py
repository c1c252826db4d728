"""Parses responses: heads, framing, the end of the body (RFC 9112). Pure; built on httptools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from stretta.errors import InvalidReply, ReplyEndedEarly
from stretta.escape import escape
from stretta.http.message.headers import NO_HEADERS, Headers

__all__ = ["Buffer", "Framing", "Head", "HeadLimits", "ResponseParser"]

Framing = Literal["none", "length", "chunked", "close"]
"""How the end of a body is determined (RFC 9112 section 6.3)."""

MAX_LENGTH = (1 << 63) - 1
"""The largest Content-Length: no file system holds a larger file."""

CHUNK_OVERHEAD = 16
"""Bytes of framing that every chunk may have, besides two for each byte of its data."""

Buffer = bytes | memoryview


class HeadLimits(NamedTuple):
    """Limits of the heads and the framing of one response.

    ``line``: bytes of one line of a head; ``total``: bytes of all heads; ``fields``: lines of
    header fields in one head, or trailers; ``interim``: interim responses; ``overhead``: bytes of
    chunk extensions and trailers beyond what ordinary chunks need.
    """

    line: int = 100 * 1024
    total: int = 300 * 1024
    fields: int = 1000
    interim: int = 100
    overhead: int = 32 * 1024


class Head(NamedTuple):
    """The head of a response; ``raw`` holds its bytes as they arrived."""

    version: str
    status: int
    reason: str
    headers: Headers
    raw: bytes = b""

    def __repr__(self) -> str:
        return f"Head({self.status_line!r})"

    @property
    def status_line(self) -> str:
        """The status line in its canonical form."""
        return f"HTTP/{self.version} {self.status} {self.reason}".rstrip()


class ResponseParser:
    """Parses the response to one request from the bytes of a connection.

    ``head`` is None until the final head is complete; ``interim`` holds the heads of interim
    responses (1xx). ``complete``: the body has ended; ``excess``: bytes followed that belong to no
    request, so the connection cannot be reused; ``started``: a byte has arrived.

    >>> parser = ResponseParser("GET")
    >>> parser.feed(b"HTTP/1.1 200 OK\\r\\nContent-Length: 4\\r\\n\\r\\nci")
    (b'ci',)
    >>> parser.head.status, parser.framing, parser.complete, parser.feed(b"ao"), parser.complete
    (200, 'length', False, (b'ao',), True)
    """

    def __init__(self, method: str, limits: HeadLimits | None = None) -> None:
        self.method = method
        self.limits = limits or HeadLimits()
        self.head: Head | None = None
        self.interim: list[Head] = []
        self.trailers = NO_HEADERS
        self.framing: Framing = "none"
        self.expected: int | None = None  # bytes of the body by Content-Length
        self.transfer_codings: list[str] = []  # without chunked
        self.received = 0  # bytes of the body, without chunk framing
        self.complete = False
        self.excess = False
        self.started = False
        self._head_bytes = 0  # of the heads that are complete
        self._overhead = 0  # of the chunks: see HeadLimits
        self._raw = bytearray()  # the current head so far
        self._parsed = self._lines = 0  # bytes and lines of it that were given to the parser
        self._ambiguous = False
        self._events, self._parser = _new_parser()

    @property
    def keep_alive(self) -> bool:
        """Whether another request may follow on this connection (RFC 9112 section 9.3)."""
        if self.head is None or not self.complete or self.framing == "close":
            return False
        if self.excess or self._ambiguous:
            return False
        options = self.head.headers.tokens("connection")
        return "close" not in options and (self.head.version == "1.1" or "keep-alive" in options)

    def feed(self, data: Buffer) -> Sequence[Buffer]:
        """Take data that arrived; return the parts of the body in it, which may be views of it.

        Raises InvalidReply for anything but valid HTTP within the limits.
        """
        self.started = self.started or bool(data)
        while self.head is None:
            following = self._feed_head(data)
            if following is None:
                return ()
            data = following
        if not data:
            return ()
        if self.complete:
            self.excess = True
            return ()
        if self.framing == "length":
            return self._feed_length(data)
        if self.framing == "chunked":
            return self._feed_chunked(data)
        self.received += len(data)
        return (data,)

    def finish(self) -> None:
        """Take the end of the connection.

        Raises ReplyEndedEarly when the response is incomplete, InvalidReply when none came.
        """
        if self.complete:
            return
        if self.head is not None and self.framing == "close":
            self.complete = True
            return
        if not self.started:
            raise InvalidReply(
                "the server closed the connection without a response",
                "no byte came back",
                "Does it speak HTTP on this port? For TLS the URL begins with https://",
            )
        raise self.cut("the connection was closed")

    def cut(self, why: str) -> ReplyEndedEarly:
        """Return the error for a response that ends here: how much came, how much was promised."""
        if self.head is None:
            came = f"{why} after {len(self._raw)} bytes of its head"
        elif self.expected is not None:
            came = f"{why} after {self.received} of the {self.expected} promised bytes of its body"
        else:
            came = f"{why} after {self.received} bytes of its body, before its end"
        return ReplyEndedEarly("the response ended early", came, "Try again.")

    # the head

    def _feed_head(self, data: Buffer) -> bytes | None:
        """Take bytes of a head; return the bytes that follow it, None when it is incomplete.

        The parser gets whole lines: it copies the part of a line that it holds for each segment.
        """
        raw, seen, parsed = self._raw, len(self._raw), self._parsed
        raw += data
        if not raw.startswith(b"HTTP/"[: len(raw)]):
            raise self._invalid("it does not begin with HTTP/")
        end = _end_of_head(raw, max(0, seen - 2))
        size = end or len(raw)
        if self._head_bytes + size > self.limits.total:
            raise self._invalid(f"its head exceeds {self.limits.total} bytes")
        if size - parsed > self.limits.line:
            longest = max(map(len, raw[parsed:size].split(b"\n")))
            if longest > self.limits.line:
                raise self._invalid(f"a line of its head exceeds {self.limits.line} bytes")
        self._parsed = end or raw.rfind(b"\n", seen) + 1 or parsed
        lines = bytes(raw[parsed : self._parsed])
        self._lines += lines.count(b"\n")
        # lines, not fields: the parser copies what it holds of a folded field for each line
        if self._lines - (2 if end else 1) > self.limits.fields:
            raise self._invalid(f"it has more than {self.limits.fields} lines of header fields")
        try:
            self._parser.feed_data(lines)
        except HttpParserUpgrade:  # status 101, which _frame refuses
            pass
        except HttpParserError as error:
            raise self._invalid(_reason(error)) from None
        if not end:
            return None
        head, following = self._make_head(bytes(raw[:end])), bytes(raw[end:])
        self._head_bytes += end
        if head.status < 200 and head.status != 101:
            self.interim.append(head)
            if len(self.interim) > self.limits.interim:
                raise self._invalid(f"more than {self.limits.interim} interim responses came")
            raw.clear()
            self._parsed = self._lines = 0
            self._events, self._parser = _new_parser()
            return following or None
        self.head = head
        self._frame(head)
        return following

    def _make_head(self, raw: bytes) -> Head:
        events = self._events
        if not events.head_complete:
            raise self._invalid("its head does not end where it seems to")
        if b"\0" in raw:  # RFC 9110 section 5.5
            raise self._invalid("its head holds a NUL byte")
        version = self._parser.get_http_version()
        if version not in {"1.0", "1.1"}:
            raise self._invalid(f"its version is {version}; the request's was 1.1")
        fields = _decode(events.fields)
        events.fields.clear()
        return Head(
            version,
            self._parser.get_status_code(),
            events.reason.decode("latin-1"),
            fields,
            raw,
        )

    def _frame(self, head: Head) -> None:
        """Determine how the body ends, in the order of RFC 9112 section 6.3."""
        codings = head.headers.tokens("transfer-encoding")
        length = head.headers.get("content-length")
        if head.status == 101:
            raise self._invalid("it switches to another protocol without being asked")
        tunnel = self.method == "CONNECT" and 200 <= head.status < 300
        if tunnel or self.method == "HEAD" or head.status in {204, 304}:
            self.complete = True
        elif codings:
            if "chunked" in codings and codings[-1] != "chunked":
                raise self._invalid("its body has another coding after chunked")
            self._ambiguous = length is not None  # another recipient may have believed the length
            self.transfer_codings = [c for c in codings if c not in {"chunked", "identity"}]
            self.framing = "chunked" if codings[-1] == "chunked" else "close"
        elif length is not None:
            self.framing = "length"
            digits = length.lstrip("0") or "0"
            if len(digits) > len(str(MAX_LENGTH)) or int(digits) > MAX_LENGTH:
                raise self._invalid(f"its Content-Length {digits[:30]} exceeds any file's")
            self.expected = int(digits)
            self.complete = self.expected == 0
        else:
            self.framing = "close"

    def _invalid(self, why: str) -> InvalidReply:
        start = escape(bytes(self._raw[:40]).decode("latin-1")).replace("\n", "\\n")
        return InvalidReply(
            "the reply is not valid HTTP",
            f"{why}. It begins: {start}",
            "Does the server speak HTTP on this port? For TLS the URL begins with https://",
        )

    # the body

    def _feed_length(self, data: Buffer) -> Sequence[Buffer]:
        assert self.expected is not None  # noqa: S101 - for the type checker
        missing = self.expected - self.received
        if len(data) > missing:
            self.excess = True
            data = data[:missing]
        self.received += len(data)
        self.complete = self.received == self.expected
        return (data,)

    def _feed_chunked(self, data: Buffer) -> Sequence[Buffer]:
        events = self._events
        try:
            self._parser.feed_data(data)
        except HttpParserError as error:
            if not events.complete:
                raise self._invalid_chunk(_reason(error)) from None
        chunks, events.body = events.body, []
        body = b"".join(chunks)  # one part for all chunks of one receive
        self.received += len(body)
        framing = len(data) - len(body)
        ordinary = CHUNK_OVERHEAD * len(chunks) + 2 * len(body)
        self._overhead = max(0, self._overhead + framing - ordinary)
        if self._overhead > self.limits.overhead or len(events.fields) > self.limits.fields:
            raise self._invalid_chunk("a chunk extension or the trailers are too long")
        if events.complete:
            self.complete = True
            self.excess = events.excess
            if any(b"\0" in value for _, value in events.fields):  # names cannot hold any
                raise self._invalid_chunk("a trailer holds a NUL byte")
            self.trailers = _decode(events.fields)
        return (body,) if body else ()

    def _invalid_chunk(self, why: str) -> InvalidReply:
        return InvalidReply(
            "the chunks of the body are not valid HTTP",
            f"{why}, after {self.received} bytes of the body",
            "Try again; if it happens again, the server or a proxy has a fault.",
        )


class _Events:
    """Receives the callbacks of httptools' parser and keeps their arguments."""

    __slots__ = ("body", "complete", "excess", "fields", "head_complete", "reason")

    def __init__(self) -> None:
        self.reason = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self.body: list[bytes] = []
        self.head_complete = False
        self.complete = False
        self.excess = False

    def on_message_begin(self) -> None:
        self.excess = self.complete  # the start of a second message

    def on_status(self, reason: bytes) -> None:
        self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.complete:
            self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        self.head_complete = True

    def on_body(self, data: bytes) -> None:
        if not self.complete:
            self.body.append(data)

    def on_message_complete(self) -> None:
        self.complete = True


def _end_of_head(raw: bytearray, start: int) -> int:
    """Return the index after the first blank line, searched from ``start``; 0 if there is none."""
    ends = [at + len(end) for end in (b"\n\r\n", b"\n\n") if (at := raw.find(end, start)) >= 0]
    return min(ends, default=0)


def _new_parser() -> tuple[_Events, HttpResponseParser]:
    """Return a parser for one response, as lenient as is safe.

    Some servers end lines with LF alone, fold lines, and put spaces before colons and after chunk
    sizes; Transfer-Encoding overrides Content-Length (RFC 9112 sections 2.2, 5 and 6.3).
    """
    events = _Events()
    parser = HttpResponseParser(events)
    parser.set_dangerous_leniencies(
        lenient_headers=True,
        lenient_chunked_length=True,
        lenient_optional_cr_before_lf=True,
        lenient_spaces_after_chunk_size=True,
    )
    return events, parser


def _decode(fields: list[tuple[bytes, bytes]]) -> Headers:
    return Headers((name.decode("latin-1"), value.decode("latin-1")) for name, value in fields)


def _reason(error: HttpParserError) -> str:
    """Return the parser's message as the middle of a sentence."""
    message = str(error)
    return message[:1].lower() + message[1:]
