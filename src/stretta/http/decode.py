"""Content codings: from compressed bytes back to a body's own (RFC 9110 section 8.4). Pure."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from stretta.errors import InvalidReply, ReplyEndedEarly

__all__ = ["ACCEPTED", "Decoder", "decoder_for"]

MOST_CODINGS = 5
"""Codings that one body may have on top of each other."""

STEP = 256 * 1024
"""Bytes that one step of decompressing gives at most: a bomb is met a step at a time."""

ACCEPTED = ["gzip", "deflate"]
"""The codings that a request asks for, as Accept-Encoding has them."""

Piece = bytes | memoryview


class Decoder(Protocol):
    """Takes coded bytes as they come, gives what they stand for."""

    def feed(self, data: Piece) -> Iterator[Piece]:
        """Give what these bytes complete, piece by piece. Raises InvalidReply."""

    def finish(self) -> None:
        """Take the end of the body. Raises ReplyEndedEarly when that is too early."""


def decoder_for(codings: Sequence[str]) -> Decoder | None:
    """Return what undoes the codings, the last one first; None when nothing has to be undone.

    ``codings`` are the elements of Content-Encoding. Raises InvalidReply for an unknown one.

    >>> decoder = decoder_for(["deflate", "gzip"])
    >>> import gzip, zlib
    >>> b"".join(decoder.feed(gzip.compress(zlib.compress(b"ciao"))))
    b'ciao'
    """
    named = [coding for coding in codings if coding != "identity"]
    if len(named) > MOST_CODINGS:
        raise InvalidReply(
            "the body cannot be decoded",
            f"it is coded {len(named)} times, and {MOST_CODINGS} is the limit",
        )
    decoder: Decoder | None = None
    for coding in named:
        one = _make(coding)
        decoder = one if decoder is None else _Chain(one, decoder)
    return decoder


def _make(coding: str) -> Decoder:
    if coding in {"gzip", "x-gzip", "deflate"}:
        return ZlibDecoder(coding.removeprefix("x-"))
    raise InvalidReply(
        "the body cannot be decoded",
        f"its content coding {coding!r} is not known here",
        "To get the bytes as they are: --no-compressed",
    )


class ZlibDecoder:
    """gzip of one or more members (RFC 1952), and both kinds of deflate (RFC 1950, RFC 1951)."""

    def __init__(self, coding: str) -> None:
        self.coding = coding
        self._zlib: Any = zlib.decompressobj(31) if coding == "gzip" else None
        self._held = b""
        self._fed = False

    def feed(self, data: Piece) -> Iterator[bytes]:
        rest = self._held + bytes(data)
        if self._zlib is None:
            if len(rest) < 2:
                self._held = rest
                return
            self._held = b""
            # "deflate" means RFC 1950, but some servers send what it wraps: RFC 1951
            wrapped = rest[0] & 0x0F == 8 and (rest[0] << 8 | rest[1]) % 31 == 0
            self._zlib = zlib.decompressobj(15 if wrapped else -15)
        self._fed = self._fed or bool(rest)
        try:
            while rest or not self._zlib.eof:
                if self._zlib.eof:
                    if self.coding != "gzip" or not rest.startswith(b"\x1f"):
                        return  # padding after the end
                    self._zlib = zlib.decompressobj(31)
                piece = self._zlib.decompress(rest, STEP)
                rest = self._zlib.unconsumed_tail or self._zlib.unused_data
                if piece:
                    yield piece
                elif not rest:
                    return
        except zlib.error as error:
            raise _undecodable(self.coding, error) from None

    def finish(self) -> None:
        if self._held or (self._fed and not self._zlib.eof):
            raise _cut(self.coding)


class _Chain:
    """One coding on top of another: ``outer`` was applied last, and is undone first."""

    def __init__(self, outer: Decoder, inner: Decoder) -> None:
        self._outer, self._inner = outer, inner

    def feed(self, data: Piece) -> Iterator[Piece]:
        for piece in self._outer.feed(data):
            yield from self._inner.feed(piece)

    def finish(self) -> None:
        self._outer.finish()
        self._inner.finish()


def _undecodable(coding: str, error: Exception) -> InvalidReply:
    words = str(error).rpartition(": ")[2] or "the data is broken"
    return InvalidReply(
        "the body cannot be decoded",
        f"it is no valid {coding}: {words}",
        "To get the bytes as they are: --no-compressed",
    )


def _cut(coding: str) -> ReplyEndedEarly:
    return ReplyEndedEarly("the response ended early", f"its {coding} data has no end")
