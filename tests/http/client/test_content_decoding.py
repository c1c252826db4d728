"""Content codings: what goes in comes out, however it is cut; bombs and rubbish do not."""

import gzip
import zlib
from itertools import islice

import brotli
import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from stretta.errors import InvalidReply, ReplyEndedEarly
from stretta.http.client.content_decoding import STEP, accepted, decoder_for


def bare_deflate(data):
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


CODINGS = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "x-gzip": lambda data: gzip.compress(data[:9], mtime=0) + gzip.compress(data[9:], mtime=0),
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstd.compress,
}
CASES = [*CODINGS.items(), ("deflate", bare_deflate)]


def decode(codings, *pieces):
    decoder = decoder_for(codings)
    data = b"".join(bytes(part) for piece in pieces for part in decoder.feed(piece))
    decoder.finish()
    return data


@pytest.mark.parametrize(("coding", "encode"), CASES)
@given(data=st.binary(max_size=3000), sizes=st.lists(st.integers(1, 500), max_size=30))
def test_what_was_encoded_comes_back_however_it_was_cut(coding, encode, data, sizes):
    coded, pieces = encode(data), []
    for size in sizes:
        pieces.append(coded[:size])
        coded = coded[size:]
    assert decode([coding], *pieces, coded) == data


@pytest.mark.parametrize(("coding", "encode"), [case for case in CASES if case[0] != "x-gzip"])
@given(data=st.binary(min_size=50, max_size=1000), cut=st.floats(0.05, 0.95))
def test_a_cut_body_is_an_error(coding, encode, data, cut):
    coded = encode(data)
    with pytest.raises((ReplyEndedEarly, InvalidReply)) as caught:
        decode([coding], coded[: max(1, int(len(coded) * cut))])
    assert caught.value.status in {1, 7}


@pytest.mark.parametrize(("coding", "encode"), CASES)
def test_a_bomb_goes_off_a_step_at_a_time(coding, encode):
    pieces = decoder_for([coding]).feed(encode(bytes(30_000_000)))
    assert all(len(piece) <= 16 * STEP for piece in islice(pieces, 5))


@pytest.mark.parametrize(("coding", "encode"), CASES)
def test_what_follows_the_end_is_an_error(coding, encode):
    with pytest.raises(InvalidReply):
        decode([coding], encode(b"ciao"), b"\xffmore")


@pytest.mark.parametrize("coding", CODINGS)
@given(data=st.binary(max_size=200))
def test_rubbish_meets_an_error_of_ours_and_nothing_else(coding, data):
    try:
        decode([coding], data)
    except (InvalidReply, ReplyEndedEarly) as error:
        assert error.why


@pytest.mark.parametrize(
    ("coding", "empty"),
    [("gzip", gzip.compress(b"", mtime=0)), ("zstd", zstd.compress(b"")),
     ("zstd", b"\x50\x2a\x4d\x18\0\0\0\0")],
)  # fmt: skip
def test_members_that_hold_nothing_are_bounded(coding, empty):
    full = CODINGS[coding](b"ciao")
    assert decode([coding], empty * 100 + full + empty * 100 + full) == b"ciaociao"
    with pytest.raises(InvalidReply, match="in a row are empty"):
        decode([coding], empty * 11_000)


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_members_of_all_sizes_come_back(coding):
    parts = [bytes([size % 251]) * size for size in (1, 3, 1000, 5000, 300_000, 2)] * 3
    assert decode([coding], b"".join(map(CODINGS[coding], parts))) == b"".join(parts)


def test_several_codings_are_undone_the_last_one_first():
    data = b"ciao" * 100
    coded = gzip.compress(brotli.compress(zlib.compress(data)), mtime=0)
    assert decode(["deflate", "identity", "br", "gzip"], coded) == data


def test_codings_are_counted_and_known():
    assert decoder_for([]) is None
    assert decoder_for(["identity", "none"]) is None
    assert accepted() == ["gzip", "deflate", "br", "zstd"]
    with pytest.raises(InvalidReply, match="5 is the limit"):
        decoder_for(["gzip"] * 6)
    with pytest.raises(InvalidReply, match="not supported"):
        decoder_for(["compress\x1b"])
