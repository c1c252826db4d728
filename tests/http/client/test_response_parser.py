"""The reader of responses: framings, cuts, limits, rubbish; no sockets."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stretta.errors import InvalidReply, ReplyEndedEarly
from stretta.http.client.response_parser import HeadLimits, ResponseParser


def read(*pieces, method="GET", limits=None):
    """Feed the pieces and the end; return the reader and the body."""
    reader = ResponseParser(method, limits)
    body = b"".join(bytes(part) for piece in pieces for part in reader.feed(piece))
    reader.finish()
    return reader, body


def message(head, body=b""):
    return b"HTTP/1.1 " + head.replace(b"\n", b"\r\n") + b"\r\n\r\n" + body


WHOLE = {
    "length": message(b"200 OK\nContent-Length: 4", b"ciao"),
    "empty": message(b"200 OK\nContent-Length: 0"),
    "chunked": message(
        b"200 OK\nTransfer-Encoding: chunked", b"1\r\nc\r\n3;x=y\r\niao\r\n0\r\n\r\n"
    ),
    "trailers": message(
        b"200 OK\nTransfer-Encoding: chunked", b"4\r\nciao\r\n0\r\nDigest: x\r\n\r\n"
    ),
    "interim": message(b"100 Continue")
    + message(b"103 Early\nLink: a")
    + message(b"200 OK\nContent-Length: 4", b"ciao"),
    "no content": message(b"204 No Content\nContent-Length: 4"),
    "not modified": message(b"304 Not Modified\nContent-Length: 4"),
    "no reason": message(b"200\nContent-Length: 4", b"ciao"),
    "line feeds alone": b"HTTP/1.1 200 OK\nContent-Length: 4\n\nciao",
    "folded": message(b"200 OK\nA: b\n c\nContent-Length: 4", b"ciao"),
    "space after size": message(b"200 OK\nTransfer-Encoding: chunked", b"4 \r\nciao\r\n0\r\n\r\n"),
}
BODY_LESS = {"empty", "no content", "not modified"}


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 10_000])
def test_a_response_is_the_same_however_it_was_cut(name, size):
    data = WHOLE[name]
    reader, body = read(*(data[i : i + size] for i in range(0, len(data), size)))
    assert body == (b"" if name in BODY_LESS else b"ciao")
    assert reader.complete
    assert reader.keep_alive
    assert reader.head.raw in data


@given(st.binary(max_size=2000), st.lists(st.integers(1, 400)))
def test_chunks_carry_any_bytes(body, sizes):
    coded, rest = b"", body
    for size in sizes:
        if rest:
            coded += b"%x\r\n%b\r\n" % (len(rest[:size]), rest[:size])
            rest = rest[size:]
    if rest:
        coded += b"%x\r\n%b\r\n" % (len(rest), rest)
    reader, found = read(message(b"200 OK\nTransfer-Encoding: chunked", coded + b"0\r\n\r\n"))
    assert found == body
    assert reader.received == len(body)


@given(st.binary(max_size=400))
def test_rubbish_meets_an_error_of_ours_and_nothing_else(data):
    for prefix in (b"", b"HTTP/1.1 200 OK\r\n", WHOLE["chunked"][:48]):
        with suppress(InvalidReply, ReplyEndedEarly):
            read(prefix + data)


def test_a_body_without_framing_ends_with_the_connection():
    reader, body = read(b"HTTP/1.0 200 OK\r\n\r\nciao", b" ciao")
    assert (body, reader.framing, reader.keep_alive) == (b"ciao ciao", "close", False)


def test_a_head_request_has_no_body_whatever_the_head_says():
    reader, body = read(message(b"200 OK\nContent-Length: 4"), method="HEAD")
    assert (body, reader.complete, reader.keep_alive) == (b"", True, True)


@pytest.mark.parametrize("cut", [1, 20, 45, 60, 70])
@pytest.mark.parametrize("name", ["length", "chunked"])
def test_a_response_that_ends_early_is_no_response(name, cut):
    with pytest.raises((ReplyEndedEarly, InvalidReply)) as caught:
        read(WHOLE[name][:-1][:cut])
    assert caught.value.status == 7


def test_what_came_and_what_was_promised_is_said():
    with pytest.raises(ReplyEndedEarly, match="2 of the 4 promised bytes"):
        read(WHOLE["length"][:-2])


def test_more_than_was_asked_for_spoils_the_connection():
    reader, body = read(WHOLE["length"] + b"more")
    assert (body, reader.excess, reader.keep_alive) == (b"ciao", True, False)
    reader, body = read(WHOLE["chunked"] + WHOLE["length"])
    assert (body, reader.excess, reader.keep_alive) == (b"ciao", True, False)


@pytest.mark.parametrize(
    ("head", "reusable"),
    [
        (b"HTTP/1.1 200 OK\r\nConnection: close", False),
        (b"HTTP/1.1 200 OK\r\nConnection: x, Close", False),
        (b"HTTP/1.0 200 OK", False),
        (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive", True),
    ],
)
def test_keep_alive_follows_version_and_header(head, reusable):
    assert read(head + b"\r\nContent-Length: 0\r\n\r\n")[0].keep_alive is reusable


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        message(b"200 OK\nContent-Length: -1"),
        message(b"200 OK\nContent-Length: rubbish"),
        message(b"200 OK\nContent-Length: 0x4"),
        message(b"200 OK\nContent-Length: 18446744073709551616"),
        message(b"200 OK\nContent-Length: 4\nContent-Length: 5"),
        message(b"200 OK\nno colon here"),
        message(b"200 OK\nA: b\0c"),
        message(b"200 OK\nA\0: b"),
        message(b"200 O\0K"),
        message(b"101 Switching Protocols\nUpgrade: x\nConnection: upgrade"),
        b"\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        message(b"200 OK\nTransfer-Encoding: chunked", b"zz\r\nciao"),
        message(b"200 OK\nTransfer-Encoding: chunked", b"ffffffffffffffffff\r\nciao"),
        message(b"200 OK\nTransfer-Encoding: chunked", b"2\r\nciao\r\n"),
        b"",
    ],
)
def test_what_is_no_http_is_refused(data):
    with pytest.raises(InvalidReply) as caught:
        read(data)
    assert caught.value.status == 1
    assert "\x00" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 1001 + b"\r\n", "1000 header fields"),
        (b"HTTP/1.1 200 OK\r\n" + (b"A: " + b"b" * 1000 + b"\r\n") * 400, "exceeds 307200 bytes"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"b" * 200_000 + b"\r\n\r\n", "exceeds 102400 bytes"),
        (message(b"100 Continue") * 101, "100 interim responses"),
    ],
)
def test_a_head_has_its_limits(data, why):
    with pytest.raises(InvalidReply, match=why):
        read(*(data[i : i + 65536] for i in range(0, len(data), 65536)))


@pytest.mark.parametrize("endless", [b"4;" + b"x" * 400_000, b"0\r\n" + b"A: b\r\n" * 60_000])
def test_chunk_extensions_and_trailers_have_their_limits(endless):
    reader = ResponseParser("GET")
    reader.feed(message(b"200 OK\nTransfer-Encoding: chunked"))
    with pytest.raises(InvalidReply, match="too long"):
        for start in range(0, len(endless), 65536):
            reader.feed(endless[start : start + 65536])


def test_transfer_encoding_wins_over_content_length_and_costs_the_connection():
    both = b"200 OK\nTransfer-Encoding: chunked\nContent-Length: 2"
    reader, body = read(message(both, b"4\r\nciao\r\n0\r\n\r\n"))
    assert (body, reader.keep_alive) == (b"ciao", False)


def test_a_small_limit_is_kept():
    with pytest.raises(InvalidReply, match="exceeds 20 bytes"):
        read(WHOLE["length"], limits=HeadLimits(total=20))
