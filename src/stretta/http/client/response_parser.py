"""Where a response begins, how it is framed and where it ends; pure, on httptools' parser."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from stretta.errors import InvalidReply, ReplyEndedEarly
from stretta.escape import escape
from stretta.http.message.headers import NO_HEADERS, Headers

__all__ = ["Framing", "Head", "HeadLimits", "Piece", "ResponseReader"]

Framing = Literal["none", "length", "chunked", "close"]
"""How the end of a body is known (RFC 9112 section 6.3)."""

LARGEST = (1 << 63) - 1
"""Bytes that a file can have; who promises more is not to be believed."""

Piece = bytes | memoryview


class HeadLimits(NamedTuple):
    """What one exchange may spend on heads.

    ``line`` and ``total`` are bytes of one line and of all heads together, ``fields`` those of
    one head, ``interim`` the responses before the final one.
    """

    line: int = 100 * 1024
    total: int = 300 * 1024
    fields: int = 1000
    interim: int = 100


class Head(NamedTuple):
    """One response head: the status line and the fields; ``raw`` holds the bytes as they came."""

    version: str
    status: int
    reason: str
    headers: Headers
    raw: bytes = b""

    @property
    def status_line(self) -> str:
        """The first line, spelled canonically."""
        return f"HTTP/{self.version} {self.status} {self.reason}".rstrip()


class ResponseReader:
    """Takes the bytes of one connection as they come; gives one response to one request.

    ``head`` is None until the final head has come; interim ones (1xx) join ``interim``.
    ``complete`` tells that the body has come whole, and ``excess`` that more came than was asked
    for: such a connection is not to be used again.

    >>> reader = ResponseReader("GET")
    >>> reader.feed(b"HTTP/1.1 200 OK\\r\\nContent-Length: 4\\r\\n\\r\\nci")
    (b'ci',)
    >>> reader.head.status, reader.framing, reader.complete, reader.feed(b"ao"), reader.complete
    (200, 'length', False, (b'ao',), True)
    """

    def __init__(self, method: str, limits: HeadLimits | None = None) -> None:
        self.method = method
        self.limits = limits or HeadLimits()
        self.head: Head | None = None
        self.interim: list[Head] = []
        self.trailers = NO_HEADERS
        self.framing: Framing = "none"
        self.expected: int | None = None  # bytes of body promised by Content-Length
        self.transfer_codings: list[str] = []  # those of Transfer-Encoding but chunked
        self.received = 0  # bytes of body so far, without the framing around them
        self.complete = False
        self.excess = False
        self.started = False  # a byte has come
        self._spent = 0  # bytes of heads so far
        self._between = 0  # bytes since the last one of the body
        self._raw = bytearray()
        self._doubtful = False
        self._parts, self._parser = _new_parser()

    @property
    def keep_alive(self) -> bool:
        """Whether another request may follow on this connection (RFC 9112 section 9.3)."""
        if self.head is None or not self.complete or self.framing == "close":
            return False
        if self.excess or self._doubtful:
            return False
        options = self.head.headers.tokens("connection")
        return "close" not in options and (self.head.version == "1.1" or "keep-alive" in options)

    def feed(self, data: Piece) -> Sequence[Piece]:
        """Take what has come; return the pieces of the body in it.

        A piece may be a view of ``data``. Raises InvalidReply when it is no valid HTTP, or when it
        exceeds a limit.
        """
        self.started = self.started or bool(data)
        while self.head is None:
            rest = self._feed_head(data)
            if rest is None:
                return ()
            data = rest
        if not data:
            return ()
        if self.complete:
            self.excess = True
            return ()
        if self.framing == "length":
            return self._feed_length(data)
        if self.framing == "chunked":
            return self._feed_chunks(data)
        self.received += len(data)
        return (data,)

    def finish(self) -> None:
        """Take the end of the connection; raises when that is not the response's end.

        ReplyEndedEarly when a part has come, also InvalidReply when nothing has.
        """
        if self.complete:
            return
        if self.head is not None and self.framing == "close":
            self.complete = True
            return
        if not self.started:
            raise InvalidReply(
                "the server closed the connection without a response",
                "not one byte came back",
                "Does it speak HTTP on this port? For TLS the URL begins with https://",
            )
        raise self.cut("the connection was closed")

    def cut(self, why: str) -> ReplyEndedEarly:
        """Return the error for a response that ends here, with what came and what was promised."""
        if self.head is None:
            came = f"{why} after {len(self._raw)} bytes of its head"
        elif self.expected is not None:
            came = f"{why} after {self.received} of the {self.expected} promised bytes of its body"
        else:
            came = f"{why} after {self.received} bytes of its body, before its end"
        return ReplyEndedEarly("the response ended early", came)

    # the head

    def _feed_head(self, data: Piece) -> bytes | None:
        """Take bytes of a head; return what follows it, or None while it goes on."""
        raw, seen = self._raw, len(self._raw)
        raw += data
        if not raw.startswith(b"HTTP/"[: len(raw)]):
            raise self._invalid("it does not begin with HTTP/")
        found = _end_of_head(raw, max(0, seen - 2))
        end = found or len(raw)
        if self._spent + end > self.limits.total:
            raise self._invalid(f"its head exceeds {self.limits.total} bytes")
        try:
            self._parser.feed_data(bytes(raw[seen:end]))
        except HttpParserUpgrade:  # 101: what follows is another protocol
            pass
        except HttpParserError as error:
            raise self._invalid(_why(error)) from None
        if not found:
            return None
        head, rest = self._make_head(bytes(raw[:end])), bytes(raw[end:])
        self._spent += end
        if head.status < 200 and head.status != 101:
            self.interim.append(head)
            if len(self.interim) > self.limits.interim:
                raise self._invalid(f"more than {self.limits.interim} interim responses came")
            raw.clear()
            self._parts, self._parser = _new_parser()
            return rest or None
        self.head = head
        self._frame(head)
        return rest

    def _make_head(self, raw: bytes) -> Head:
        parts = self._parts
        if not parts.head_done:
            raise self._invalid("its head does not end where it seems to")
        if b"\0" in raw:  # RFC 9110 section 5.5
            raise self._invalid("its head holds a NUL byte")
        if len(parts.fields) > self.limits.fields:
            raise self._invalid(f"it has more than {self.limits.fields} header fields")
        longest = self.limits.line
        if len(raw) > longest and max(map(len, raw.split(b"\n"))) > longest:
            raise self._invalid(f"a line of its head exceeds {self.limits.line} bytes")
        version = self._parser.get_http_version()
        if version not in {"1.0", "1.1"}:
            raise self._invalid(f"its version is {version}, and 1.1 was spoken")
        fields = _decode(parts.fields)
        parts.fields.clear()
        return Head(
            version,
            self._parser.get_status_code(),
            parts.reason.decode("latin-1"),
            fields,
            raw,
        )

    def _frame(self, head: Head) -> None:
        """Decide how the body ends, in the order of RFC 9112 section 6.3."""
        codings = head.headers.tokens("transfer-encoding")
        length = head.headers.get("content-length")
        if head.status == 101:
            raise self._invalid("it switches to another protocol, which nobody asked for")
        tunnel = self.method == "CONNECT" and 200 <= head.status < 300
        if tunnel or self.method == "HEAD" or head.status in {204, 304}:
            self.complete = True
        elif codings:
            if "chunked" in codings and codings[-1] != "chunked":
                raise self._invalid("its body is chunked, and then coded again")
            self._doubtful = length is not None  # who sent both may have been fooled
            self.transfer_codings = [c for c in codings if c not in {"chunked", "identity"}]
            self.framing = "chunked" if codings[-1] == "chunked" else "close"
        elif length is not None:
            self.framing = "length"
            self.expected = int(length)
            if self.expected > LARGEST:
                raise self._invalid(f"its Content-Length {self.expected} is more than any file has")
            self.complete = self.expected == 0
        else:
            self.framing = "close"

    def _invalid(self, why: str) -> InvalidReply:
        begins = escape(bytes(self._raw[:40]).decode("latin-1")).replace("\n", "\\n")
        return InvalidReply(
            "the reply is no valid HTTP",
            f"{why}. It begins: {begins}",
            "Does the server speak HTTP on this port? For TLS the URL begins with https://",
        )

    # the body

    def _feed_length(self, data: Piece) -> Sequence[Piece]:
        assert self.expected is not None  # noqa: S101 - for the type checker
        left = self.expected - self.received
        if len(data) > left:
            self.excess = True
            data = data[:left]
        self.received += len(data)
        self.complete = self.received == self.expected
        return (data,)

    def _feed_chunks(self, data: Piece) -> Sequence[Piece]:
        parts = self._parts
        try:
            self._parser.feed_data(data)
        except HttpParserError as error:
            if not parts.done:
                raise self._broken(_why(error)) from None
        # one piece for all the chunks of one receive: a million chunks are no million writes
        pieces, parts.pieces = [b"".join(parts.pieces)] if parts.pieces else [], []
        self.received += sum(map(len, pieces))
        # between two bytes of body there is a chunk's head or the trailers, which have a limit
        self._between = 0 if pieces else self._between + len(data)
        if self._between > self.limits.total or len(parts.fields) > self.limits.fields:
            raise self._broken("a chunk extension or the trailers are too long")
        if parts.done:
            self.complete = True
            self.excess = parts.excess
            self.trailers = _decode(parts.fields)
        return pieces

    def _broken(self, why: str) -> InvalidReply:
        return InvalidReply(
            "the body's chunks are no valid HTTP", f"{why}, after {self.received} bytes of the body"
        )


class _Parts:
    """What the parser calls, and what it has told."""

    __slots__ = ("done", "excess", "fields", "head_done", "pieces", "reason")

    def __init__(self) -> None:
        self.reason = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self.pieces: list[bytes] = []
        self.head_done = False
        self.done = False
        self.excess = False

    def on_message_begin(self) -> None:
        self.excess = self.done  # another message, which nobody asked for

    def on_status(self, reason: bytes) -> None:
        self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.done:
            self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        self.head_done = True

    def on_body(self, piece: bytes) -> None:
        if not self.done:
            self.pieces.append(piece)

    def on_message_complete(self) -> None:
        self.done = True


def _end_of_head(raw: bytearray, start: int) -> int:
    """Return where the first blank line from ``start`` on ends; 0 if there is none."""
    ends = [at + len(end) for end in (b"\n\r\n", b"\n\n") if (at := raw.find(end, start)) >= 0]
    return min(ends, default=0)


def _new_parser() -> tuple[_Parts, HttpResponseParser]:
    """Return a parser for one response, as tolerant as it can be without being fooled.

    Old servers end lines with LF alone, fold them, and put spaces before colons and after a chunk's
    size; Transfer-Encoding beside Content-Length wins over it (RFC 9112 sections 2.2, 5 and 6.3).
    """
    parts = _Parts()
    parser = HttpResponseParser(parts)
    parser.set_dangerous_leniencies(
        lenient_headers=True,
        lenient_chunked_length=True,
        lenient_optional_cr_before_lf=True,
        lenient_spaces_after_chunk_size=True,
    )
    return parts, parser


def _decode(fields: list[tuple[bytes, bytes]]) -> Headers:
    return Headers((name.decode("latin-1"), value.decode("latin-1")) for name, value in fields)


def _why(error: HttpParserError) -> str:
    """Return the parser's words as the middle of a sentence."""
    words = str(error)
    return words[:1].lower() + words[1:]
