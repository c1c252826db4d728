"""Content codings: round trips however the data is segmented; bombs and invalid data."""

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


def decode(codings, *chunks):
    decoder = decoder_for(codings)
    data = b"".join(bytes(part) for chunk in chunks for part in decoder.feed(chunk))
    decoder.finish()
    return data


@pytest.mark.parametrize(("coding", "encode"), CASES)
@given(data=st.binary(max_size=3000), sizes=st.lists(st.integers(1, 500), max_size=30))
def test_round_trips_however_the_data_is_segmented(coding, encode, data, sizes):
    coded, chunks = encode(data), []
    for size in sizes:
        chunks.append(coded[:size])
        coded = coded[size:]
    assert decode([coding], *chunks, coded) == data


@pytest.mark.parametrize(("coding", "encode"), [case for case in CASES if case[0] != "x-gzip"])
@given(data=st.binary(min_size=50, max_size=1000), cut=st.floats(0.05, 0.95))
def test_an_incomplete_body_is_an_error(coding, encode, data, cut):
    coded = encode(data)
    with pytest.raises((ReplyEndedEarly, InvalidReply)) as caught:
        decode([coding], coded[: max(1, int(len(coded) * cut))])
    assert caught.value.status in {1, 7}


@pytest.mark.parametrize(("coding", "encode"), CASES)
def test_a_bomb_is_decoded_in_bounded_steps(coding, encode):
    chunks = decoder_for([coding]).feed(encode(bytes(30_000_000)))
    assert all(len(chunk) <= 16 * STEP for chunk in islice(chunks, 5))


@pytest.mark.parametrize(("coding", "encode"), CASES)
def test_data_after_the_end_is_an_error(coding, encode):
    with pytest.raises(InvalidReply):
        decode([coding], encode(b"ciao"), b"\xffmore")


@pytest.mark.parametrize("coding", CODINGS)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_decoded_or_give_an_error_of_ours(coding, data):
    try:
        decode([coding], data)
    except (InvalidReply, ReplyEndedEarly) as error:
        assert error.why


@pytest.mark.parametrize(
    ("coding", "empty"),
    [("gzip", gzip.compress(b"", mtime=0)), ("zstd", zstd.compress(b"")),
     ("zstd", b"\x50\x2a\x4d\x18\0\0\0\0")],
)  # fmt: skip
def test_the_limit_of_empty_members(coding, empty):
    full = CODINGS[coding](b"ciao")
    assert decode([coding], empty * 100 + full + empty * 100 + full) == b"ciaociao"
    with pytest.raises(InvalidReply, match="in a row are empty"):
        decode([coding], empty * 11_000)


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_members_of_all_sizes(coding):
    parts = [bytes([size % 251]) * size for size in (1, 3, 1000, 5000, 300_000, 2)] * 3
    assert decode([coding], b"".join(map(CODINGS[coding], parts))) == b"".join(parts)


def test_several_codings_are_decoded_in_reverse_order():
    data = b"ciao" * 100
    coded = gzip.compress(brotli.compress(zlib.compress(data)), mtime=0)
    assert decode(["deflate", "identity", "br", "gzip"], coded) == data


def test_the_limit_of_codings_and_unknown_ones():
    assert decoder_for([]) is None
    assert decoder_for(["identity", "none"]) is None
    assert accepted() == ["gzip", "deflate", "br", "zstd"]
    with pytest.raises(InvalidReply, match="5 is the limit"):
        decoder_for(["gzip"] * 6)
    with pytest.raises(InvalidReply, match="not supported"):
        decoder_for(["compress\x1b"])
