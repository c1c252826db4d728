"""The limits on a request, each at its edge, whole and one byte at a time."""

import pytest

from stretta.http.server.message_limits import ChunkMeter, FieldMeter
from stretta.http.server.request import Refused
from stretta.http.server.request_parser import RequestParser
from stretta.options import HttpLimits

LIMITS = HttpLimits(max_request_line=60, max_header=50, max_head=200, max_headers=12, max_body=30)
LINE = b"GET / HTTP/1.1\r\n"
HOST = b"Host: a\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
WHOLE = 1 << 20


def outcome(data, step=WHOLE):
    """Return what the parser makes of the data, and how many of its bytes it needed for that."""
    parser = RequestParser(LIMITS, lambda _: (LIMITS.max_body, True))
    for at in range(0, len(data), step):
        parser.receive(data[at : at + step])
        item = parser.next_request()
        if item is not None:
            return item.status if isinstance(item, Refused) else "ok", min(at + step, len(data))
    return None, len(data)


def fields(total, count=4):
    """Return so many lines of so many bytes together, none of them too long."""
    lines = [b"a: b\r\n"] * (count - 1)
    rest = total - sum(map(len, lines))
    lines += [b"x: " + b"y" * (rest - 5) + b"\r\n"]
    return b"".join(lines)


def spread(total, each):
    """Return lines of ``each`` bytes, and a shorter one, so many bytes together."""
    lines, left = [], total
    while left > each + 6:
        lines.append(b"x: " + b"y" * (each - 5) + b"\r\n")
        left -= each
    first = left // 2
    lines += [b"x: " + b"y" * (n - 5) + b"\r\n" for n in (first, left - first)]
    return b"".join(lines)


EDGES = {
    # name: (status beyond the edge, a request that is just small enough, one a byte too large,
    #        the byte of the latter at which it is refused)
    "request line": (
        414,
        b"GET /" + b"a" * (60 - 14) + b" HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /" + b"a" * (61 - 14) + b" HTTP/1.1\r\n" + HOST + b"\r\n",
        61,
    ),
    "one header": (
        431,
        LINE + HOST + fields(50, 1) + b"\r\n",
        LINE + HOST + fields(51, 1) + b"\r\n",
        len(LINE + HOST) + 51,
    ),
    "all headers": (
        431,
        LINE + HOST + spread(191, 40) + b"\r\n",
        LINE + HOST + spread(192, 40) + b"\r\n",
        len(LINE + HOST) + 192,
    ),
    "number of headers": (
        431,
        LINE + HOST + b"a: b\r\n" * 11 + b"\r\n",
        LINE + HOST + b"a: b\r\n" * 12 + b"\r\n",
        len(LINE + HOST) + 11 * 6 + 1,
    ),
    "one trailer": (
        431,
        CHUNKED + b"0\r\n" + fields(50, 1) + b"\r\n",
        CHUNKED + b"0\r\n" + fields(51, 1) + b"\r\n",
        len(CHUNKED) + 3 + 51,
    ),
    "all trailers": (
        431,
        CHUNKED + b"0\r\n" + spread(200, 40) + b"\r\n",
        CHUNKED + b"0\r\n" + spread(201, 40) + b"\r\n",
        len(CHUNKED) + 3 + 201,
    ),
    "number of trailers": (
        431,
        CHUNKED + b"0\r\n" + b"a: b\r\n" * 12 + b"\r\n",
        CHUNKED + b"0\r\n" + b"a: b\r\n" * 13 + b"\r\n",
        len(CHUNKED) + 3 + 12 * 6 + 1,
    ),
    "a chunk extension": (
        400,
        CHUNKED + b"1;" + b"e" * 49 + b"\r\nx\r\n0\r\n\r\n",
        CHUNKED + b"1;" + b"e" * 50 + b"\r\nx\r\n0\r\n\r\n",
        len(CHUNKED) + 1 + 51,
    ),
    "all chunk extensions": (
        400,
        CHUNKED + (b"1;" + b"e" * 24 + b"\r\nx\r\n") * 2 + b"0\r\n\r\n",
        CHUNKED + (b"1;" + b"e" * 24 + b"\r\nx\r\n") * 2 + b"0;\r\n\r\n",
        len(CHUNKED) + 62 + 2,
    ),
    "a chunk size": (
        400,
        CHUNKED + b"0" * 15 + b"1\r\nx\r\n0\r\n\r\n",
        CHUNKED + b"0" * 16 + b"1\r\nx\r\n0\r\n\r\n",
        len(CHUNKED) + 17,
    ),
    "a body": (
        413,
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 30\r\n\r\n" + bytes(30),
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 31\r\n\r\n" + bytes(31),
        48,
    ),
    "a chunked body": (
        413,
        CHUNKED + b"1e\r\n" + bytes(30) + b"\r\n0\r\n\r\n",
        CHUNKED + b"1e\r\n" + bytes(30) + b"\r\n1\r\nx\r\n0\r\n\r\n",
        len(CHUNKED) + 4 + 32 + 4,
    ),
    "empty lines": (
        400,
        b"\r\n" * 4 + LINE + HOST + b"\r\n",
        b"\r\n" * 5 + LINE + HOST + b"\r\n",
        10,
    ),
}


@pytest.mark.parametrize("step", [WHOLE, 7, 1])
@pytest.mark.parametrize("name", EDGES)
def test_each_limit_acts_exactly_at_its_edge(name, step):
    status, small, large, _ = EDGES[name]
    assert outcome(small, step)[0] == "ok"
    assert outcome(large, step)[0] == status


@pytest.mark.parametrize("name", EDGES)
def test_each_limit_acts_at_the_first_byte_beyond_it(name):
    status, _, large, at = EDGES[name]
    assert outcome(large, 1) == (status, at)


@pytest.mark.parametrize("name", ["one header", "all headers", "one trailer", "a chunk extension"])
def test_an_endless_field_is_refused_in_the_same_place(name):
    status, _, large, at = EDGES[name]
    assert outcome(large[:at], 1) == (status, at)
    assert outcome(large[:at] + b"z" * 10_000) == (status, at + 10_000)


def test_a_section_ends_after_its_empty_line_in_any_segmentation():
    data = b"a: b\r\nc: d\r\n\r\nGET"
    for first in range(len(data) - 3):
        meter = FieldMeter(LIMITS)
        ends = meter.section_end(data[:first], 0)
        assert (ends, meter.ended) == (first, False)
        assert (first + meter.section_end(data[first:], 0), meter.ended) == (len(data) - 3, True)


def test_an_empty_section_ends_at_once_though_another_follows():
    meter = FieldMeter(LIMITS)
    assert meter.section_end(b"x\r\n" + HOST + b"\r\n", 1) == 3
    assert meter.ended


def test_a_meter_begins_anew():
    meter = FieldMeter(LIMITS)
    for _ in range(3):
        meter.reset()
        assert not meter.ended
        assert meter.section_end(b"a: b\r\n" * 12, 0) == 72
        assert meter.section_end(b"\r\n", 0) == 2


@pytest.mark.parametrize(
    "line",
    [b"\r\n", b"g\r\n", b" 1\r\n", b"1 \r\n", b"1\n", b";a\r\n", b"-1\r\n", b"0x1\r\n", b"1\r"],
)
def test_a_malformed_chunk_size_is_refused(line):
    meter = ChunkMeter(LIMITS)
    with pytest.raises(Refused) as refused:
        meter.piece_end(line + b"x\r\n", 0)
    assert refused.value.status == 400


def test_a_chunked_body_ends_after_its_trailers_in_any_segmentation():
    data = b"5;a=b\r\n\r\n\r\n\r\r\nA\r\n0123456789\r\n0;c\r\nd: e\r\n\r\nGET"
    for first in range(len(data) - 3):
        meter = ChunkMeter(LIMITS)
        assert meter.piece_end(data[:first], 0) == first
        assert first + meter.piece_end(data[first:], 0) == len(data) - 3
        assert meter.in_trailers


def test_a_byte_costs_the_same_wherever_it_stands(monkeypatch):
    """The parser sees each byte once, the meters hold no more than one line."""
    limits = HttpLimits()
    fed = []
    parser = RequestParser(limits, lambda _: (1 << 20, False))
    feed = parser._feed
    monkeypatch.setattr(
        RequestParser, "_feed", lambda _, piece: (fed.append(len(piece)), feed(piece))
    )
    head = (
        b"POST / HTTP/1.1\r\nHost: a\r\nX: "
        + b"x" * 5000
        + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    data = head + b"1\r\nx\r\n" * 500 + b"0\r\nt: " + b"y" * 5000 + b"\r\n\r\n"
    for at in range(len(data)):
        parser.receive(data[at : at + 1])
        found = parser.next_request()
        assert len(parser._data) <= len(b"POST / HTTP/1.1\r\n")
    assert found is not None
    assert sum(fed) == len(data)
