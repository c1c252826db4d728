"""Content codings: decoding a compressed body while it arrives (RFC 9110 section 8.4). Pure."""

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

MAX_CODINGS = 5
"""Codings of one body."""

STEP = 256 * 1024
"""Bytes that one step of decompression returns at most, so that limits act early."""

MEMBER_STEP = 1024
"""Bytes that are decompressed at a time after the end of a member: zlib copies what follows it."""

MAX_EMPTY = 10_000
"""Empty members in a row; each costs as much as a thousand bytes."""

WITHOUT_CODING = "To get the body without a coding: --no-compressed"

Buffer = bytes | memoryview


class _Steps:
    """Cuts data into steps: short ones after the end of a member, then longer and longer ones."""

    def __init__(self) -> None:
        self._size = STEP
        self._empty = 0

    def of(self, data: bytes) -> Iterator[bytes]:
        """Yield the data in steps."""
        at = 0
        while at < len(data):
            end = at + self._size
            self._size = min(2 * self._size, STEP)
            yield data[at:end] if at or end < len(data) else data
            at = end

    def member_ended(self) -> None:
        """Record the start of another member. Raises InvalidReply after too many empty ones."""
        self._size = MEMBER_STEP
        self._empty += 1
        if self._empty > MAX_EMPTY:
            raise InvalidReply(
                "the body cannot be decoded",
                f"more than {MAX_EMPTY} compressed members in a row are empty",
                WITHOUT_CODING,
            )

    def member_has_data(self) -> None:
        """Record that the member is not empty."""
        self._empty = 0


class Decoder(Protocol):
    """Decodes bytes while they arrive."""

    def feed(self, data: Buffer) -> Iterator[Buffer]:
        """Yield the decoded bytes in chunks. Raises InvalidReply."""

    def finish(self) -> None:
        """Take the end of the body. Raises ReplyEndedEarly when the data is incomplete."""


@cache
def accepted() -> list[str]:
    """Return the codings that can be decoded, for Accept-Encoding.

    br and zstd need the packages of the extra ``compression``.
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
    except ModuleNotFoundError:  # nor its parent
        return False


def decoder_for(codings: Sequence[str]) -> Decoder | None:
    """Return a decoder for the codings, None if there is nothing to decode.

    ``codings`` are the elements of Content-Encoding, in the order in which they were applied.
    Raises InvalidReply for an unknown one.

    >>> decoder = decoder_for(["deflate", "gzip"])
    >>> import gzip, zlib
    >>> b"".join(decoder.feed(gzip.compress(zlib.compress(b"ciao"))))
    b'ciao'
    """
    applied = [coding for coding in codings if coding not in {"identity", "none"}]
    if len(applied) > MAX_CODINGS:
        raise InvalidReply(
            "the body cannot be decoded",
            f"it has {len(applied)} codings, and {MAX_CODINGS} is the limit",
            WITHOUT_CODING,
        )
    decoder: Decoder | None = None
    for coding in applied:
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
        f"its content coding {escape(coding)!r} is not supported, only {', '.join(accepted())}",
        "To get the body without a coding: --no-compressed. To support br and zstd:"
        " pip install 'stretta[compression]'",
    )


class ZlibDecoder:
    """gzip of one or more members (RFC 1952), and both kinds of deflate (RFC 1950, RFC 1951)."""

    def __init__(self, coding: str) -> None:
        self.coding = coding
        self._zlib: Any = zlib.decompressobj(31) if coding == "gzip" else None
        self._held = b""
        self._fed = False
        self._steps = _Steps()

    def feed(self, data: Buffer) -> Iterator[bytes]:
        data = self._held + bytes(data)
        self._held = b""
        for part in self._steps.of(data):
            yield from self._feed(part)

    def _feed(self, rest: bytes) -> Iterator[bytes]:
        if self._zlib is None:
            if len(rest) < 2:
                self._held = rest
                return
            # "deflate" means RFC 1950, but some servers send RFC 1951 without that wrapper
            has_header = rest[0] & 0x0F == 8 and (rest[0] << 8 | rest[1]) % 31 == 0
            self._zlib = zlib.decompressobj(15 if has_header else -15)
        self._fed = self._fed or bool(rest)
        try:
            while rest or not self._zlib.eof:
                if self._zlib.eof:
                    if self.coding != "gzip":
                        raise _trailing(self.coding)
                    self._zlib = zlib.decompressobj(31)
                    self._steps.member_ended()
                chunk = self._zlib.decompress(rest, STEP)
                rest = self._zlib.unconsumed_tail or self._zlib.unused_data
                if chunk:
                    self._steps.member_has_data()
                    yield chunk
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
                "the installed package brotli is too old to limit the decoded size",
                "pip install 'brotli>=1.2'",
            )
        self._fed = False

    def feed(self, data: Buffer) -> Iterator[bytes]:
        rest = bytes(data)
        self._fed = self._fed or bool(rest)
        try:
            if rest and self._brotli.is_finished():
                raise _trailing("br")
            while not self._brotli.is_finished():
                chunk = self._brotli.process(rest, output_buffer_limit=STEP)
                rest = b""
                if chunk:
                    yield chunk
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
        # RFC 9659 limits the window to 8 MiB
        self._options = {self._module.DecompressionParameter.window_log_max: 23}
        self._zstd = self._module.ZstdDecompressor(options=self._options)
        self._fed = False
        self._steps = _Steps()

    def feed(self, data: Buffer) -> Iterator[bytes]:
        for part in self._steps.of(bytes(data)):
            yield from self._feed(part)

    def _feed(self, rest: bytes) -> Iterator[bytes]:
        self._fed = self._fed or bool(rest)
        try:
            while rest or not (self._zstd.needs_input or self._zstd.eof):
                if self._zstd.eof:
                    self._zstd = self._module.ZstdDecompressor(options=self._options)
                    self._steps.member_ended()
                chunk = self._zstd.decompress(rest, STEP)
                rest = self._zstd.unused_data if self._zstd.eof else b""
                if chunk:
                    self._steps.member_has_data()
                    yield chunk
        except self._module.ZstdError as error:
            raise _undecodable("zstd", error) from None

    def finish(self) -> None:
        if self._fed and not self._zstd.eof:
            raise _cut("zstd")


class _Chain:
    """Two codings: ``outer`` was applied last and is decoded first."""

    def __init__(self, outer: Decoder, inner: Decoder) -> None:
        self._outer, self._inner = outer, inner

    def feed(self, data: Buffer) -> Iterator[Buffer]:
        for chunk in self._outer.feed(data):
            yield from self._inner.feed(chunk)

    def finish(self) -> None:
        self._outer.finish()
        self._inner.finish()


def _undecodable(coding: str, error: Exception) -> InvalidReply:
    reason = str(error).rpartition(": ")[2] or "the data is damaged"
    return InvalidReply(
        "the body cannot be decoded",
        f"it is not valid {coding}: {reason}",
        WITHOUT_CODING,
    )


def _trailing(coding: str) -> InvalidReply:
    return InvalidReply(
        "the body cannot be decoded", f"bytes follow the end of its {coding} data", WITHOUT_CODING
    )


def _cut(coding: str) -> ReplyEndedEarly:
    return ReplyEndedEarly(
        "the response ended early", f"its {coding} data is incomplete", "Try again."
    )
