"""Content codings: from compressed bytes back to a body's own (RFC 9110 section 8.4). Pure."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

from stretta.errors import InvalidReply, ReplyEndedEarly
from stretta.escape import escape

__all__ = ["Decoder", "accepted", "decoder_for"]

MOST_CODINGS = 5
"""Codings that one body may have on top of each other."""

STEP = 256 * 1024
"""Bytes that one step of decompressing gives at most: a bomb is met a step at a time."""

SLICE = 1024
"""Bytes that are decompressed at a time where members end: what follows one is copied for each."""

MOST_EMPTY = 10_000
"""Members in a row that hold nothing: each costs as much as a thousand bytes."""

Piece = bytes | memoryview


class _Slices:
    """Cuts what comes into slices: short ones after the end of a member, else ever longer ones."""

    def __init__(self) -> None:
        self._size = STEP
        self._empty = 0

    def of(self, data: bytes) -> Iterator[bytes]:
        """Give the data in slices."""
        at = 0
        while at < len(data):
            end = at + self._size
            self._size = min(2 * self._size, STEP)
            yield data[at:end] if at or end < len(data) else data
            at = end

    def member_ended(self) -> None:
        """Take that another member follows. Raises InvalidReply where too many held nothing."""
        self._size = SLICE
        self._empty += 1
        if self._empty > MOST_EMPTY:
            raise InvalidReply(
                "the body cannot be decoded",
                f"more than {MOST_EMPTY} of its compressed members in a row hold nothing",
            )

    def gave(self) -> None:
        """Take that the member holds something."""
        self._empty = 0


class Decoder(Protocol):
    """Takes coded bytes as they come, gives what they stand for."""

    def feed(self, data: Piece) -> Iterator[Piece]:
        """Give what these bytes complete, piece by piece. Raises InvalidReply."""

    def finish(self) -> None:
        """Take the end of the body. Raises ReplyEndedEarly when that is too early."""


@cache
def accepted() -> list[str]:
    """Return the codings that can be undone here, as Accept-Encoding asks for them.

    br and zstd need a package of the extra ``compression``.
    """
    found = ["gzip", "deflate"]
    if _exists("brotli"):
        found.append("br")
    if any(map(_exists, ("compression.zstd", "backports.zstd"))):
        found.append("zstd")
    return found


def _exists(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even its parent
        return False


def decoder_for(codings: Sequence[str]) -> Decoder | None:
    """Return what undoes the codings, the last one first; None when nothing has to be undone.

    ``codings`` are the elements of Content-Encoding. Raises InvalidReply for an unknown one.

    >>> decoder = decoder_for(["deflate", "gzip"])
    >>> import gzip, zlib
    >>> b"".join(decoder.feed(gzip.compress(zlib.compress(b"ciao"))))
    b'ciao'
    """
    named = [coding for coding in codings if coding not in {"identity", "none"}]
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
    if coding in accepted():
        return BrotliDecoder() if coding == "br" else ZstdDecoder()
    raise InvalidReply(
        "the body cannot be decoded",
        f"its content coding {escape(coding)!r} is not known here, only {', '.join(accepted())}",
        "To ask for a body as it is: --no-compressed. To know br and zstd:"
        " pip install 'stretta[compression]'",
    )


class ZlibDecoder:
    """gzip of one or more members (RFC 1952), and both kinds of deflate (RFC 1950, RFC 1951)."""

    def __init__(self, coding: str) -> None:
        self.coding = coding
        self._zlib: Any = zlib.decompressobj(31) if coding == "gzip" else None
        self._held = b""
        self._fed = False
        self._slices = _Slices()

    def feed(self, data: Piece) -> Iterator[bytes]:
        data = self._held + bytes(data)
        self._held = b""
        for part in self._slices.of(data):
            yield from self._feed(part)

    def _feed(self, rest: bytes) -> Iterator[bytes]:
        if self._zlib is None:
            if len(rest) < 2:
                self._held = rest
                return
            # "deflate" means RFC 1950, but some servers send what it wraps: RFC 1951
            wrapped = rest[0] & 0x0F == 8 and (rest[0] << 8 | rest[1]) % 31 == 0
            self._zlib = zlib.decompressobj(15 if wrapped else -15)
        self._fed = self._fed or bool(rest)
        try:
            while rest or not self._zlib.eof:
                if self._zlib.eof:
                    if self.coding != "gzip":
                        raise _trailing(self.coding)
                    self._zlib = zlib.decompressobj(31)
                    self._slices.member_ended()
                piece = self._zlib.decompress(rest, STEP)
                rest = self._zlib.unconsumed_tail or self._zlib.unused_data
                if piece:
                    self._slices.gave()
                    yield piece
                elif not rest:
                    return
        except zlib.error as error:
            raise _undecodable(self.coding, error) from None

    def finish(self) -> None:
        if self._held or (self._fed and not self._zlib.eof):
            raise _cut(self.coding)


class BrotliDecoder:
    """br (RFC 7932)."""

    def __init__(self) -> None:
        brotli = import_module("brotli")
        self._error: type[Exception] = brotli.error
        self._brotli = brotli.Decompressor()
        if not hasattr(self._brotli, "can_accept_more_data"):
            raise InvalidReply(
                "the body cannot be decoded",
                "the package brotli here is too old to bound what a body becomes",
                "pip install 'brotli>=1.2'",
            )
        self._fed = False

    def feed(self, data: Piece) -> Iterator[bytes]:
        rest = bytes(data)
        self._fed = self._fed or bool(rest)
        try:
            if rest and self._brotli.is_finished():
                raise _trailing("br")
            while not self._brotli.is_finished():
                piece = self._brotli.process(rest, output_buffer_limit=STEP)
                rest = b""
                if piece:
                    yield piece
                elif self._brotli.can_accept_more_data():
                    return
        except self._error as error:
            raise _undecodable("br", error) from None

    def finish(self) -> None:
        if self._fed and not self._brotli.is_finished():
            raise _cut("br")


class ZstdDecoder:
    """zstd of one or more frames (RFC 8878)."""

    def __init__(self) -> None:
        self._module = import_module(
            "compression.zstd" if _exists("compression.zstd") else "backports.zstd"
        )
        # RFC 9659: a larger window than 8 MiB is not for the web
        self._options = {self._module.DecompressionParameter.window_log_max: 23}
        self._zstd = self._module.ZstdDecompressor(options=self._options)
        self._fed = False
        self._slices = _Slices()

    def feed(self, data: Piece) -> Iterator[bytes]:
        for part in self._slices.of(bytes(data)):
            yield from self._feed(part)

    def _feed(self, rest: bytes) -> Iterator[bytes]:
        self._fed = self._fed or bool(rest)
        try:
            while rest or not (self._zstd.needs_input or self._zstd.eof):
                if self._zstd.eof:
                    self._zstd = self._module.ZstdDecompressor(options=self._options)
                    self._slices.member_ended()
                piece = self._zstd.decompress(rest, STEP)
                rest = self._zstd.unused_data if self._zstd.eof else b""
                if piece:
                    self._slices.gave()
                    yield piece
        except self._module.ZstdError as error:
            raise _undecodable("zstd", error) from None

    def finish(self) -> None:
        if self._fed and not self._zstd.eof:
            raise _cut("zstd")


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
        "To ask for the body as it is: --no-compressed",
    )


def _trailing(coding: str) -> InvalidReply:
    return InvalidReply("the body cannot be decoded", f"more follows the end of its {coding} data")


def _cut(coding: str) -> ReplyEndedEarly:
    return ReplyEndedEarly("the response ended early", f"its {coding} data has no end")
