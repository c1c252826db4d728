"""The response parser: framing, segmentation, limits, invalid input; no sockets."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stretta.errors import InvalidReply, ReplyEndedEarly
from stretta.http.client.response_parser import HeadLimits, ResponseParser


def parse(*segments, method="GET", limits=None):
    """Feed the segments and the end; return the parser and the body."""
    parser = ResponseParser(method, limits)
    body = b"".join(bytes(part) for segment in segments for part in parser.feed(segment))
    parser.finish()
    return parser, body


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
def test_a_response_is_the_same_however_it_is_segmented(name, size):
    data = WHOLE[name]
    parser, body = parse(*(data[i : i + size] for i in range(0, len(data), size)))
    assert body == (b"" if name in BODY_LESS else b"ciao")
    assert parser.complete
    assert parser.keep_alive
    assert parser.head.raw in data


@given(st.binary(max_size=2000), st.lists(st.integers(1, 400)))
def test_chunks_carry_any_bytes(body, sizes):
    coded, rest = b"", body
    for size in sizes:
        if rest:
            coded += b"%x\r\n%b\r\n" % (len(rest[:size]), rest[:size])
            rest = rest[size:]
    if rest:
        coded += b"%x\r\n%b\r\n" % (len(rest), rest)
    parser, found = parse(message(b"200 OK\nTransfer-Encoding: chunked", coded + b"0\r\n\r\n"))
    assert found == body
    assert parser.received == len(body)


@given(st.binary(max_size=400))
def test_any_bytes_give_a_response_or_an_error_of_ours(data):
    for prefix in (b"", b"HTTP/1.1 200 OK\r\n", WHOLE["chunked"][:48]):
        with suppress(InvalidReply, ReplyEndedEarly):
            parse(prefix + data)


def test_a_body_without_framing_ends_with_the_connection():
    parser, body = parse(b"HTTP/1.0 200 OK\r\n\r\nciao", b" ciao")
    assert (body, parser.framing, parser.keep_alive) == (b"ciao ciao", "close", False)


def test_a_head_request_has_no_body_whatever_the_head_says():
    parser, body = parse(message(b"200 OK\nContent-Length: 4"), method="HEAD")
    assert (body, parser.complete, parser.keep_alive) == (b"", True, True)


@pytest.mark.parametrize("cut", [1, 20, 45, 60, 70])
@pytest.mark.parametrize("name", ["length", "chunked"])
def test_a_response_that_ends_early_is_an_error(name, cut):
    with pytest.raises((ReplyEndedEarly, InvalidReply)) as caught:
        parse(WHOLE[name][:-1][:cut])
    assert caught.value.status == 7


def test_the_error_names_the_bytes_that_came_and_were_promised():
    with pytest.raises(ReplyEndedEarly, match="2 of the 4 promised bytes"):
        parse(WHOLE["length"][:-2])


def test_bytes_after_the_response_make_the_connection_unusable():
    parser, body = parse(WHOLE["length"] + b"more")
    assert (body, parser.excess, parser.keep_alive) == (b"ciao", True, False)
    parser, body = parse(WHOLE["chunked"] + WHOLE["length"])
    assert (body, parser.excess, parser.keep_alive) == (b"ciao", True, False)


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
    assert parse(head + b"\r\nContent-Length: 0\r\n\r\n")[0].keep_alive is reusable


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
def test_invalid_responses_are_refused(data):
    with pytest.raises(InvalidReply) as caught:
        parse(data)
    assert caught.value.status == 1
    assert "\x00" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 1001 + b"\r\n", "1000 lines"),
        (b"HTTP/1.1 200 OK\r\n" + (b"A: " + b"b" * 1000 + b"\r\n") * 400, "exceeds 307200 bytes"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"b" * 200_000 + b"\r\n\r\n", "exceeds 102400 bytes"),
        (message(b"100 Continue") * 101, "100 interim responses"),
    ],
)
def test_the_limits_of_a_head(data, why):
    with pytest.raises(InvalidReply, match=why):
        parse(*(data[i : i + 65536] for i in range(0, len(data), 65536)))


@pytest.mark.parametrize("endless", [b"4;" + b"x" * 400_000, b"0\r\n" + b"A: b\r\n" * 60_000])
def test_the_limit_of_chunk_extensions_and_trailers(endless):
    parser = ResponseParser("GET")
    parser.feed(message(b"200 OK\nTransfer-Encoding: chunked"))
    with pytest.raises(InvalidReply, match="too long"):
        for start in range(0, len(endless), 65536):
            parser.feed(endless[start : start + 65536])


def test_transfer_encoding_overrides_content_length_and_closes_the_connection():
    both = b"200 OK\nTransfer-Encoding: chunked\nContent-Length: 2"
    parser, body = parse(message(both, b"4\r\nciao\r\n0\r\n\r\n"))
    assert (body, parser.keep_alive) == (b"ciao", False)


def test_bytes_that_follow_later_make_the_connection_unusable():
    parser, _ = parse(WHOLE["length"])
    assert parser.keep_alive
    assert parser.feed(b"x") == ()
    assert (parser.excess, parser.keep_alive) == (True, False)


def test_the_end_of_the_connection_completes_a_body_without_framing():
    parser, body = parse(message(b"200 OK\nTransfer-Encoding: identity"), b"ciao")
    assert (body, parser.framing, parser.complete) == (b"ciao", "close", True)


@pytest.mark.parametrize(
    ("method", "status", "has_body"),
    [("CONNECT", 199 + 1, False), ("CONNECT", 299, False), ("CONNECT", 300, True),
     ("CONNECT", 407, True), ("GET", 200, True), ("HEAD", 404, False), ("GET", 205, True)],
)  # fmt: skip
def test_responses_without_a_body(method, status, has_body):
    parser = ResponseParser(method)
    parser.feed(message(b"%d X\nContent-Length: 4" % status))
    assert parser.complete is not has_body


@pytest.mark.parametrize("codings", [b"chunked, gzip", b"gzip, chunked, identity"])
def test_a_coding_after_chunked_is_refused(codings):
    with pytest.raises(InvalidReply):
        parse(message(b"200 OK\nTransfer-Encoding: " + codings, b"0\r\n\r\n"))


def test_the_repr_of_a_head_is_its_status_line():
    assert repr(parse(WHOLE["length"])[0].head) == "Head('HTTP/1.1 200 OK')"


def test_the_body_does_not_count_as_head():
    body = bytes(1000)
    data = message(b"200 OK\nContent-Length: 1000", body)
    _, found = parse(data, limits=HeadLimits(total=len(data) - 1000, line=30))
    assert found == body
    with pytest.raises(InvalidReply, match="its head exceeds"):
        parse(data, limits=HeadLimits(total=len(data) - 1001))


def test_the_status_line_is_canonical():
    assert parse(b"HTTP/1.1 200 \r\n\r\n")[0].head.status_line == "HTTP/1.1 200"
    assert parse(WHOLE["not modified"])[0].head.status_line == "HTTP/1.1 304 Not Modified"


@pytest.mark.parametrize("zeros", ["", "0" * 5000])
@pytest.mark.parametrize(("length", "fits"), [(0, True), (2**63 - 1, True), (2**63, False)])
def test_the_largest_content_length(length, fits, zeros):
    parser = ResponseParser("GET")
    if fits:
        parser.feed(message(b"200 OK\nContent-Length: %b%d" % (zeros.encode(), length)))
        assert parser.expected == length
    else:
        with pytest.raises(InvalidReply, match="exceeds any file's"):
            parser.feed(message(b"200 OK\nContent-Length: %b%d" % (zeros.encode(), length)))


def test_limits_can_be_chosen():
    with pytest.raises(InvalidReply, match="exceeds 20 bytes"):
        parse(WHOLE["length"], limits=HeadLimits(total=20))


# limits act while bytes arrive: each is tested at its edge, one byte at a time


def feed_bytes(data, limits=HeadLimits()):  # noqa: B008 - immutable
    """Feed one byte at a time; return the parser and how many bytes it took before it refused."""
    parser = ResponseParser("GET", limits)
    for at in range(len(data)):
        try:
            parser.feed(data[at : at + 1])
        except InvalidReply as error:
            return parser, at, error.why
    return parser, len(data), ""


START = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("limits", "data", "edge", "why"),
    [
        # a line without its end is refused at its first byte too many
        (HeadLimits(line=30), START + b"A: " + b"b" * 90, len(START) + 30, "a line of its head"),
        (HeadLimits(line=30), b"HTTP/1.1 200 " + b"x" * 90, 30, "a line of its head"),
        (HeadLimits(total=50), START + b"A: " + b"b" * 90, 50, "its head exceeds 50 bytes"),
        (HeadLimits(total=50), START + b"A:b\r\n" * 90, 50, "its head exceeds 50 bytes"),
        (HeadLimits(fields=3), START + b"A: b\r\n" * 9, len(START) + 4 * 6 - 1, "3 lines"),
        (
            HeadLimits(fields=3),
            START + b"A: b\r\n" + b" c\r\n" * 9,
            len(START) + 6 + 3 * 4 - 1,
            "3 lines",
        ),
        (HeadLimits(interim=2), b"HTTP/1.1 100 C\r\n\r\n" * 9, 18 * 3 - 1, "2 interim"),
        (HeadLimits(total=40), b"HTTP/1.1 100 C\r\n\r\n" * 9, 40, "its head exceeds 40 bytes"),
    ],
)
def test_a_limit_of_heads_acts_at_its_edge(limits, data, edge, why):
    _, taken, error = feed_bytes(data, limits)
    assert why in error
    assert taken == edge
    assert feed_bytes(data[:edge], limits)[1] == edge


@pytest.mark.parametrize(
    ("limits", "head"),
    [
        (HeadLimits(line=30), START + b"A: " + b"b" * 26 + b"\r\n\r\n"),
        (HeadLimits(total=len(START) + 8), START + b"A: b\r\n\r\n"),
        (HeadLimits(fields=3), START + b"A: b\r\n" * 3 + b"\r\n"),
        (HeadLimits(interim=2), b"HTTP/1.1 100 C\r\n\r\n" * 2 + START + b"\r\n"),
    ],
)
def test_a_head_at_its_limit_is_taken(limits, head):
    assert feed_bytes(head, limits)[0].head.status == 200
    assert parse(head, limits=limits)[0].head.status == 200


CHUNKED = START + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "endless",
    [b"4;" + b"x" * 200, b"0\r\n" + b"A: b\r\n" * 40, b"0\r\nA: " + b"b" * 200,
     b"0" * 15 + b"4" + b" " * 200],
)  # fmt: skip
def test_the_limit_of_chunk_framing_acts_at_its_edge(endless):
    _, taken, why = feed_bytes(CHUNKED + endless, HeadLimits(overhead=50))
    assert "too long" in why
    assert taken == len(CHUNKED) + 50


def test_each_chunk_may_have_an_ordinary_frame_and_no_more():
    """A long extension on every short chunk adds up; any number of short chunks does not."""
    plain = CHUNKED + b"1\r\nx\r\n" * 2000 + b"0\r\n\r\n"
    assert feed_bytes(plain, HeadLimits(overhead=50))[0].complete
    assert parse(plain, limits=HeadLimits(overhead=50))[1] == b"x" * 2000
    padded = CHUNKED + b"1;abcdefghijklmnop\r\nx\r\n" * 2000
    assert "too long" in feed_bytes(padded, HeadLimits(overhead=50))[2]
    with pytest.raises(InvalidReply, match="too long"):
        parse(padded, limits=HeadLimits(overhead=50))


@pytest.mark.parametrize("size", [1, 10])
@pytest.mark.parametrize("excess", [0, 1])
def test_the_ordinary_frame_of_a_chunk(size, excess):
    """Each chunk may have 16 bytes of framing, and 2 for each byte of its data."""
    parser = ResponseParser("GET", HeadLimits(overhead=0))
    parser.feed(CHUNKED)
    extension = b"e" * (16 + 2 * size - len(b"a;\r\n\r\n") + excess)
    chunk = b"%x;%b\r\n%b\r\n" % (size, extension, bytes(size))
    if excess:
        with pytest.raises(InvalidReply, match="too long"):
            parser.feed(chunk)
    else:
        assert b"".join(parser.feed(chunk)) == bytes(size)


def test_the_number_of_trailers_is_limited():
    trailers = CHUNKED + b"0\r\n" + b"A: b\r\n" * 4 + b"\r\n"
    assert len(parse(trailers, limits=HeadLimits(fields=4))[0].trailers) == 4
    with pytest.raises(InvalidReply, match="too long"):
        parse(trailers, limits=HeadLimits(fields=3))


@pytest.mark.parametrize("trailer", [b"A: b\0c", b"A\0: b"])
def test_a_trailer_with_a_nul_byte_is_refused(trailer):
    with pytest.raises(InvalidReply):
        parse(CHUNKED + b"0\r\n" + trailer + b"\r\n\r\n")


def test_a_folded_field_costs_at_most_its_lines():
    """The parser copies what it holds of a folded field for each of its lines."""
    folded = START + b"A: b\r\n" + b" c\r\n" * 998 + b"D: e\r\n"
    assert parse(folded + b"\r\n")[0].head.headers.get("d") == "e"
    with pytest.raises(InvalidReply, match="1000 lines"):
        parse(folded + b"F: g\r\n\r\n")


def test_the_default_limits():
    assert HeadLimits() == (100 * 1024, 300 * 1024, 1000, 100, 32 * 1024)


class Counting:
    """httptools' parser, and how many bytes it was given and holds of an unfinished field."""

    def __init__(self, parser):
        self.parser, self.bytes = parser, 0

    def feed_data(self, data):
        self.bytes += len(data)
        self.parser.feed_data(data)

    def __getattr__(self, name):
        return getattr(self.parser, name)


def test_a_head_costs_its_length_however_it_is_segmented():
    """The parser gets each byte once, in whole lines: it copies an unfinished line each time."""
    parser = ResponseParser("GET")
    counting = parser._parser = Counting(parser._parser)
    data = START + b"A: " + b"b" * 50_000 + b"\r\nC: d\r\n\r\n"
    for at in range(len(data)):
        calls = counting.bytes
        parser.feed(data[at : at + 1])
        assert counting.bytes == calls or data[at : at + 1] == b"\n"
    assert counting.bytes == len(data)
    assert len(parser.head.headers.get("a")) == 50_000
