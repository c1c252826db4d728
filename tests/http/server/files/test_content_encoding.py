"""Content codings: which one is chosen, and what it gives."""

import gzip as standard_gzip

import brotli
import pytest

from stretta.http.server.files.content_encoding import (
    CONTENT_CODINGS,
    acceptable_codings,
    gzip,
    is_compressible,
)


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (None, []),
        ("", []),
        ("gzip", ["gzip"]),
        ("x-gzip", ["gzip"]),
        ("gzip, br, zstd", ["br", "zstd", "gzip"]),
        ("gzip, br;q=0.9, zstd;q=0.8", ["gzip", "br", "zstd"]),
        ("*", ["br", "zstd", "gzip"]),
        ("*;q=0.5, gzip", ["gzip", "br", "zstd"]),
        ("*, br;q=0", ["zstd", "gzip"]),
        ("identity, gzip;q=0.9", []),
        ("identity;q=0.5, gzip;q=0.5", ["gzip"]),
        ("identity;q=0.5, gzip;q=0.4, br;q=0.6", ["br"]),
        ("gzip;q=0", []),
        ("deflate", []),
    ],
)
def test_acceptable_codings(field, expected):
    assert [coding.name for coding in acceptable_codings(field, CONTENT_CODINGS)] == expected


def test_a_coding_that_the_server_does_not_have_is_left_out():
    only_gzip = [coding for coding in CONTENT_CODINGS if coding.name == "gzip"]
    assert acceptable_codings("br, gzip;q=0.1", only_gzip) == only_gzip


def test_what_the_codings_give():
    codings = {coding.name: coding for coding in CONTENT_CODINGS}
    data = b"ciao " * 1000
    assert standard_gzip.decompress(gzip(data)) == data
    assert gzip(data) == gzip(data)
    assert gzip(data)[4:8] == bytes(4)  # no time
    assert brotli.decompress(codings["br"].compress(data)) == data
    assert codings["zstd"].compress(data)[:4] == b"\x28\xb5\x2f\xfd"
    assert [codings[name].extension for name in ("br", "zstd", "gzip")] == [b".br", b".zst", b".gz"]


@pytest.mark.parametrize(
    ("media_type", "compressible"),
    [
        ("text/html; charset=utf-8", True), ("text/x-unheard-of", True),
        ("application/json", True), ("application/ld+json", True), ("application/json; a=b", True),
        ("application/geo+json", True), ("image/svg+xml", True), ("font/otf", True),
        ("application/xml", True), ("application/wasm", True), ("image/bmp", True),
        ("image/png", False), ("application/zip", False), ("application/octet-stream", False),
        ("font/woff2", False), ("video/mp4", False), ("application/jsonx", False),
    ],
)  # fmt: skip
def test_compressible_media_types(media_type, compressible):
    assert is_compressible(media_type) is compressible
