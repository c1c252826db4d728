"""One request and its response as a state machine: bytes and times in, decisions out. Pure.

The owner of the connection says how much of the request it has sent, passes on what arrives, and
asks what comes next:

    sending    until ``request_sent`` is called, or ``stops_sending`` is true
    receiving  ``parser.head`` is None: interim responses (1xx) and the final head arrive
    body       ``next_chunk`` returns None: more bytes are needed
    ended      ``next_chunk`` returns b""; ``reusable`` says whether the connection can be kept
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from stretta.errors import InvalidReply, NetworkError, ReplyEndedEarly, StrettaError
from stretta.http.client.content_decoding import Decoder, decoder_for
from stretta.http.client.request import ClientRequest
from stretta.http.client.response_parser import Buffer, Head, HeadLimits, ResponseParser

__all__ = ["MAX_DECODED", "MAX_IN_MEMORY", "BodyTooLarge", "ExchangeState", "Phases"]

MAX_DECODED = 1 << 30
"""Bytes to which a compressed body may grow unless ``max_size`` is given."""

MAX_IN_MEMORY = 256 << 20
"""Bytes of a body that is kept in memory as a whole, unless ``max_size`` is given."""

MAX_EARLY = 64 << 20
"""Bytes of a response that are kept while its request is still being sent."""


class BodyTooLarge(ReplyEndedEarly):
    """A body is larger than its limit."""


@dataclass(slots=True, eq=False)
class Phases:
    """The times at which the phases of an exchange ended, in seconds since its start.

    A phase that did not take place is None. ``looked_up``: the name's addresses are known;
    ``connected``: TCP's three-way handshake is complete; ``secured``: the TLS handshake is
    complete; ``sent``: the request is with the kernel; ``first_byte`` and ``ended``: the first and
    the last byte of the response arrived.
    """

    looked_up: float | None = None
    connected: float | None = None
    secured: float | None = None
    sent: float | None = None
    first_byte: float | None = None
    ended: float | None = None


class ExchangeState:
    """The state of one exchange; all times are seconds since its start.

    ``decoded`` counts the bytes of the body as ``next_chunk`` returned them. ``resumed_at`` is the
    number of bytes that an earlier exchange brought of the same body. ``max_size`` limits the
    decoded body, with those bytes; None limits compressed bodies only (MAX_DECODED).
    """

    def __init__(
        self,
        request: ClientRequest,
        *,
        phases: Phases | None = None,
        limits: HeadLimits | None = None,
        max_size: int | None = None,
        decode: bool = True,
    ) -> None:
        self.request = request
        self.request_head = request.head()
        self.parser = ResponseParser(request.method, limits)
        self.phases = phases or Phases()
        self.bytes_sent = 0
        self.decoded = 0
        self.resumed_at = 0
        self._request_sent = False
        self._max_size = max_size
        self._decodes = decode
        self._decoder: Decoder | None = None
        self._decoder_chosen = False
        self._chunks: Iterator[Buffer] = iter(())
        self._early = 0

    @property
    def is_decoding(self) -> bool:
        """Whether the body arrives compressed and is decoded."""
        return self._decoder is not None

    @property
    def reusable(self) -> bool:
        """Whether another request may follow on the connection (RFC 9112 section 9.3)."""
        request = self.request
        keeps = request.version == "1.1" and "close" not in request.headers.tokens("connection")
        return keeps and self._request_sent and self.parser.keep_alive

    # the request

    def request_sent(self) -> None:
        """Record that all bytes of the request were sent."""
        self._request_sent = True

    @property
    def stops_sending(self) -> bool:
        """Whether the rest of the request is useless: the server has answered without it.

        After an error or a redirect the server reads no further (RFC 9112 section 9.5).
        """
        head = self.parser.head
        return self.parser.complete or (head is not None and head.status >= 300)

    # the response

    def receive(self, data: Buffer, now: float, *, sending: bool = False) -> list[Head]:
        """Take data that arrived; return the heads of interim responses in it.

        ``sending``: the request is still being sent, so the body's chunks are kept. Raises
        InvalidReply.
        """
        if self.phases.first_byte is None:
            self.phases.first_byte = now
        known = len(self.parser.interim)
        chunks: Iterable[Buffer] = self.parser.feed(data)
        if self.parser.complete:  # before decoding, which is no part of the transfer
            self.phases.ended = now
        if sending:
            chunks = self._copy(chunks)
        self._choose_decoder()
        if self._decoder is not None:
            chunks = chain.from_iterable(map(self._decoder.feed, chunks))
        self._chunks = chain(self._chunks, chunks) if sending else iter(chunks)
        return self.parser.interim[known:]

    def end_of_stream(self, now: float, *, truncated: bool = False) -> None:
        """Take the end of the connection.

        ``truncated``: nothing proves that the peer ended it (TLS without close_notify, RFC 9112
        section 9.8). Raises ReplyEndedEarly, or InvalidReply when no byte of a response came.
        """
        if truncated and not self.parser.complete:
            raise self.parser.cut("the TLS connection was cut off")
        self.parser.finish()
        self.phases.ended = now

    def connection_lost(self, error: NetworkError) -> StrettaError:
        """Return the error to report for a broken connection, by how much had arrived."""
        if self.parser.started:
            return self.parser.cut(error.why)
        if self.request.url.scheme == "https":
            return error
        hint = f"{error.hint} For TLS the URL begins with https://"
        return NetworkError(error.what, error.why, hint.strip())

    def next_chunk(self) -> Buffer | None:
        """Return the next chunk of the body, b"" at its end, None when more data is needed.

        A chunk is valid until the next call of ``receive``. Raises InvalidReply (data that cannot
        be decoded), BodyTooLarge, and ReplyEndedEarly (compressed data without its end).
        """
        for chunk in self._chunks:
            if chunk:
                self.decoded += len(chunk)
                self.check_size(None if self._decoder is None else MAX_DECODED)
                return chunk
        if not self.parser.complete:
            return None
        self.finish()
        return b""

    def finish(self) -> None:
        """Check that the decoded data has an end. Raises ReplyEndedEarly."""
        if self._decoder is not None and self.parser.received:
            self._decoder.finish()

    def discard(self) -> None:
        """Ignore the body from now on: it is neither decoded nor returned."""
        self._chunks, self._decoder, self._decoder_chosen = iter(()), None, True

    def check_size(self, default: int | None) -> None:
        """Raise BodyTooLarge when the body exceeds ``max_size``, else ``default``."""
        limit = default if self._max_size is None else self._max_size
        if limit is not None and self.resumed_at + self.decoded > limit:
            decoded = f" ({self.decoded} decoded)" if self.is_decoding else ""
            raise BodyTooLarge(
                "the body is too large",
                f"{self.resumed_at + self.parser.received} bytes arrived{decoded}, and {limit} is"
                " the limit",
                "Allow more with --max-size BYTES.",
            )

    def _copy(self, chunks: Iterable[Buffer]) -> list[Buffer]:
        """Return copies of chunks that have to outlive the next call. Raises InvalidReply."""
        copies: list[Buffer] = [bytes(chunk) for chunk in chunks]
        self._early += sum(map(len, copies))
        if self._early > MAX_EARLY:
            raise InvalidReply(
                "the response is ahead of its request",
                f"{self._early} bytes of it arrived before the request was sent",
                "Send a shorter body; the server should read a request before it answers.",
            )
        return copies

    def _choose_decoder(self) -> None:
        """Choose the decoder once the head is known; an empty body needs none."""
        parser = self.parser
        if self._decoder_chosen or parser.head is None:
            return
        if parser.complete and not parser.received:
            return
        self._decoder_chosen = True
        codings = parser.head.headers.tokens("content-encoding") if self._decodes else []
        self._decoder = decoder_for([*codings, *parser.transfer_codings])
