"""The request parser: input whole, byte by byte and with bytes left over; malformed input."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stretta.http.server.request import Refused, Request
from stretta.http.server.request_parser import RequestParser
from stretta.options import HttpLimits


def parse(parser, data):
    """Return all that the parser finds in the data, now."""
    parser.receive(data)
    found = []
    while (item := parser.next_request()) is not None:
        found.append(item)
    return found


def read(data, *, step=None, most=1_000_000, limits=None):
    """Feed a parser ``step`` bytes at a time; return requests as tuples, refusals as statuses."""
    parser = RequestParser(limits or HttpLimits(), lambda _: (most, True))
    step = step or len(data)
    found = []
    for start in range(0, len(data), step):
        found += parse(parser, data[start : start + step])
    return [
        one.status
        if isinstance(one, Refused)
        else (one.method, one.target, one.body, one.keep_alive)
        for one in found
    ]


def post(*headers, body=b"", version=b"1.1"):
    lines = [b"POST / HTTP/" + version, b"Host: a", *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


CHUNKED = b"Transfer-Encoding: chunked"
GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
ANSWERED = ("GET", b"/x", b"", True)

REFUSED = {
    "both framings": (400, post(b"Content-Length: 5", CHUNKED, body=b"0\r\n\r\n")),
    "two lengths": (400, post(b"Content-Length: 5", b"Content-Length: 6", body=b"abcdef")),
    "plus": (400, post(b"Content-Length: +5", body=b"abcde")),
    "hexadecimal": (400, post(b"Content-Length: 0x5", body=b"abcde")),
    "underscore": (400, post(b"Content-Length: 5_0", body=b"abcde")),
    "empty length": (400, post(b"Content-Length: ", body=b"abcde")),
    "negative": (400, post(b"Content-Length: -1", body=b"abcde")),
    "length of 2^64": (400, post(b"Content-Length: 18446744073709551616")),
    "length of 2^64-1": (413, post(b"Content-Length: 18446744073709551615")),
    "not chunked at last": (400, post(b"Transfer-Encoding: chunked, gzip", body=b"0\r\n\r\n")),
    "gzip": (501, post(b"Transfer-Encoding: gzip", body=b"0\r\n\r\n")),
    "gzip and chunked": (501, post(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n")),
    "xchunked": (501, post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n")),
    "vertical tab": (400, post(b"Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n")),
    "chunked twice": (400, post(CHUNKED, CHUNKED, body=b"0\r\n\r\n")),
    "chunked in 1.0": (400, post(CHUNKED, body=b"0\r\n\r\n", version=b"1.0")),
    "bad chunk size": (400, post(CHUNKED, body=b"zz\r\nabc\r\n0\r\n\r\n")),
    "chunk size 0x": (400, post(CHUNKED, body=b"0x3\r\nabc\r\n0\r\n\r\n")),
    "negative chunk": (400, post(CHUNKED, body=b"-3\r\nabc\r\n0\r\n\r\n")),
    "chunk overflow": (400, post(CHUNKED, body=b"f" * 17 + b"\r\nabc\r\n0\r\n\r\n")),
    "chunk with a bare LF": (400, post(CHUNKED, body=b"3\nabc\r\n0\r\n\r\n")),
    "chunk without its end": (400, post(CHUNKED, body=b"3\r\nabcd\r\n0\r\n\r\n")),
    "LF in an extension": (400, post(CHUNKED, body=b"3;a\nb\r\nabc\r\n0\r\n\r\n")),
    "NUL in an extension": (400, post(CHUNKED, body=b"3;\0\r\nabc\r\n0\r\n\r\n")),
    "long extension": (400, post(CHUNKED, body=b"3;" + b"x" * 65536 + b"\r\nabc\r\n0\r\n\r\n")),
    "many trailers": (431, post(CHUNKED, body=b"0\r\n" + b"a: b\r\n" * 10_000 + b"\r\n")),
    "no host": (400, b"GET / HTTP/1.1\r\n\r\n"),
    "two hosts": (400, b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
    "bad host": (400, b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
    "host with a path": (400, b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    "a bad escape in the host": (400, b"GET / HTTP/1.1\r\nHost: a%zz\r\n\r\n"),
    "a cut escape in the host": (400, b"GET / HTTP/1.1\r\nHost: a%2\r\n\r\n"),
    "two double colons": (400, b"GET / HTTP/1.1\r\nHost: [1::2::3]\r\n\r\n"),
    "a short IPv6 address": (400, b"GET / HTTP/1.1\r\nHost: [1:2]\r\n\r\n"),
    "an open bracket": (400, b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"),
    "a zone": (400, b"GET / HTTP/1.1\r\nHost: [fe80::1%25eth0]\r\n\r\n"),
    "a port of letters": (400, b"GET / HTTP/1.1\r\nHost: a:http\r\n\r\n"),
    "a slash in a future address": (400, b"GET / HTTP/1.1\r\nHost: [v1.a/b]\r\n\r\n"),
    "no target": (400, b"GET HTTP/1.1\r\nHost: a\r\n\r\n"),
    "no target, complete": (400, b"GET HTTP/1.1\r\n"),
    "an over-long method": (501, b"A" * 9000 + b" / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "an endless method": (501, b"A" * 9000),
    "HTTP/2.0": (505, b"GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
    "HTTP/0.1": (505, b"GET / HTTP/0.1\r\nHost: a\r\n\r\n"),
    "HTTP/1.10": (400, b"GET / HTTP/1.10\r\nHost: a\r\n\r\n"),
    "no host in 1.2": (400, b"GET / HTTP/1.2\r\n\r\n"),
    "folded": (400, b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n"),
    "space before the colon": (400, b"GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
    "NUL": (400, b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n"),
    "bare CR": (400, b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n"),
    "bare LF": (400, b"GET / HTTP/1.1\nHost: a\n\n"),
    "bare LF in the head": (400, b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n"),
    "HTTP/0.9": (505, b"GET /\r\n"),
    "HTTP/9.9": (505, b"GET / HTTP/9.9\r\nHost: a\r\n\r\n"),
    "HTTP/2": (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "TLS": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    "RTSP": (400, b"GET / RTSP/1.0\r\n\r\n"),
    "two spaces": (400, b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "only empty lines": (400, b"\r\n" * 10),
    "unknown method": (501, b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a method of RTSP": (501, b"DESCRIBE / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "another of RTSP": (501, b"SET_PARAMETER / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "the method of HTTP/2's preface": (501, b"PRI / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "lower case method": (501, b"get / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "no path": (400, b"GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n"),
    "long request line": (414, b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"),
    "endless request line": (414, b"GET /" + b"a" * 9000),
    "long header": (431, b"GET / HTTP/1.1\r\nX: " + b"a" * 9000 + b"\r\nHost: a\r\n\r\n"),
    "endless header": (431, b"GET / HTTP/1.1\r\nX: " + b"a" * 50_000),
    "many headers": (431, b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 101 + b"\r\n"),
    "large head": (431, b"GET / HTTP/1.1\r\n" + (b"X: " + b"a" * 4000 + b"\r\n") * 9 + b"\r\n"),
}


@pytest.mark.parametrize("step", [None, 1])
@pytest.mark.parametrize("name", REFUSED)
def test_a_malformed_request_is_refused_in_any_segmentation_and_ends_the_input(name, step):
    status, data = REFUSED[name]
    assert read(data + GET, step=step) == [status]
    assert read(GET + data + GET, step=step) == [ANSWERED, status]


def test_the_request_after_a_body_starts_at_the_right_byte():
    for body in (post(b"Content-Length: 4", body=b"\r\n\r\n"), post(CHUNKED, body=b"0\r\n\r\n")):
        assert read(body + GET)[1:] == [ANSWERED]
        assert read(body + b"GET  / HTTP/1.1\r\n\r\n")[1:] == [400]


@pytest.mark.parametrize("step", [None, 1, 5])
def test_a_later_minor_version_is_processed_as_1_1(step):
    data = GET.replace(b"1.1", b"1.2") + post(CHUNKED, body=b"1\r\nx\r\n0\r\n\r\n", version=b"1.9")
    assert read(data + GET, step=step) == [ANSWERED, ("POST", b"/", b"x", True), ANSWERED]
    parser = RequestParser(HttpLimits(), lambda _: (0, False))
    (request,) = parse(parser, GET.replace(b"1.1", b"1.2"))
    assert request.version == "1.2"


@pytest.mark.parametrize(
    "host", [b"", b"a", b"a.b:80", b"a:", b"%41", b"[::1]:1", b"[1:2:3:4:5:6:7:8]", b"[::1.2.3.4]",
             b"[v1.a:b]", b"a_b", b"!$&'()*+,;=~"],
)  # fmt: skip
def test_every_valid_host_is_accepted(host):
    assert read(GET.replace(b"Host: a", b"Host: " + host)) == [ANSWERED]


def test_as_much_of_a_refused_request_as_was_understood_is_kept():
    for data, known in (
        (b"GET /x HTTP/1.1\r\nHost : a\r\n\r\n", ("GET", b"/x", "1.1")),
        (b"GET /x HTTP/3.0\r\n\r\n", ("GET", b"/x", "3.0")),
        (post(b"Content-Length: 99"), ("POST", b"/", "1.1")),
        (b"nonsense\r\n", ("-", b"-", "1.1")),
    ):
        parser = RequestParser(HttpLimits(), lambda _: (10, False))
        (refused,) = parse(parser, data)
        request = refused.request
        assert (request.method, request.target, request.version) == known


def test_the_request_being_read_is_known_before_it_is_complete():
    parser = RequestParser(HttpLimits(), lambda _: (10, True))
    for data, known in (
        (b"\r\n", "-"), (b"POST /x HT", "-"), (b"TP/1.1\r\n", "POST"), (b"Host: a\r\n", "POST"),
        (b"Content-Length: 2\r\n\r\n", "POST"), (b"x", "POST"),
    ):  # fmt: skip
        assert parse(parser, data) == []
        assert parser.current.method == known
        assert not parser.at_rest
    assert (parser.in_body, parser.body_received) == (True, 1)
    assert [request.body for request in parse(parser, b"y")] == [b"xy"]
    assert (parser.in_body, parser.at_rest, parser.current.method) == (False, True, "-")


def test_a_closed_parser_ignores_its_input():
    parser = RequestParser(HttpLimits(), lambda _: (10, True))
    parser.receive(GET)
    parser.close()
    assert parse(parser, GET) == []
    assert not parser.at_rest


def test_a_body_that_is_not_kept_is_counted_and_discarded():
    parser = RequestParser(HttpLimits(), lambda _: (10, False))
    assert [
        request.body for request in parse(parser, post(b"Content-Length: 5", body=b"abcde"))
    ] == [b""]


def test_100_continue_is_wanted_until_the_body_is_complete():
    parser = RequestParser(HttpLimits(), lambda _: (10, True))
    expecting = post(b"Expect: 100-Continue", b"Content-Length: 2")
    for data, wanted in ((expecting, True), (b"x", True), (b"y", False), (GET, False)):
        parse(parser, data)
        assert parser.wants_continue == wanted
    for old in (expecting.replace(b"1.1", b"1.0"), expecting.replace(b"100-Continue", b"x")):
        parser = RequestParser(HttpLimits(), lambda _: (10, True))
        parse(parser, old)
        assert not parser.wants_continue


def test_pipelined_requests_are_parsed_one_at_a_time():
    parser = RequestParser(HttpLimits(), lambda _: (10, True))
    parser.receive(GET * 3)
    for left in (2, 1, 0):
        assert parser.next_request().target == b"/x"
        assert parser.is_empty == (left == 0)
    assert parser.next_request() is None
    parser.receive(GET * 2)
    assert parser.next_request().target == b"/x"
    parser.receive(GET)  # behind what is not parsed yet
    assert [request.target for request in parse(parser, b"")] == [b"/x"] * 2


def test_an_upgrade_is_declined_and_the_body_read():
    upgrade = (b"Connection: Upgrade", b"Upgrade: h2c")
    for step in (None, 1):
        for framing, body in ((b"Content-Length: 3", b"abc"), (CHUNKED, b"3\r\nabc\r\n0\r\n\r\n")):
            assert read(post(*upgrade, framing, body=body) + GET, step=step) == [
                ("POST", b"/", b"abc", True),
                ANSWERED,
            ]
    assert read(GET[:-2] + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n" + GET) == [ANSWERED] * 2


def test_after_connection_close_nothing_is_read():
    closing = GET[:-2] + b"Connection: close\r\n\r\n"
    assert read(closing + GET) == [("GET", b"/x", b"", False)]
    assert read(closing + b"rubbish") == [("GET", b"/x", b"", False)]


def test_http_1_0_closes_unless_it_asks_to_keep_alive():
    assert read(b"GET / HTTP/1.0\r\n\r\n") == [("GET", b"/", b"", False)]
    assert read(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n") == [("GET", b"/", b"", True)]


def test_a_body_beyond_its_limit_is_refused_at_once():
    assert read(post(b"Content-Length: 11"), most=10) == [413]
    assert read(post(CHUNKED, body=b"b\r\n"), most=10) == []
    assert read(post(CHUNKED, body=b"b\r\n" + b"x" * 11), most=10) == [413]


def test_one_byte_chunks_are_read():
    assert read(post(CHUNKED, body=b"1\r\nx\r\n" * 100_000 + b"0\r\n\r\n")) == [
        ("POST", b"/", b"x" * 100_000, True)
    ]


def test_header_names_are_in_lower_case_and_repeated_ones_joined():
    parser = RequestParser(HttpLimits(), lambda _: (0, False))
    (request,) = parse(parser, b"GET / HTTP/1.1\r\nHOST: a\r\nX-A: 1\r\nx-a: \t2 \r\n\r\n")
    assert request.headers == {"host": "a", "x-a": "1, 2"}


BODIES = st.binary(max_size=60)


def encode(body, chunk):
    if chunk is None:
        return post(b"Content-Length: %d" % len(body), body=body)
    pieces = [body[at : at + chunk] for at in range(0, len(body), chunk)]
    coded = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return post(CHUNKED, body=coded + b"0\r\n\r\n")


@given(
    st.lists(st.tuples(BODIES, st.none() | st.integers(1, 40)), min_size=1, max_size=5),
    st.lists(st.integers(1, 50), min_size=1),
)
def test_any_segmentation_gives_the_same_requests(bodies, steps):
    data = b"".join(encode(body, chunk) for body, chunk in bodies)
    parser = RequestParser(HttpLimits(), lambda _: (1000, True))
    found, at, turn = [], 0, 0
    while at < len(data):
        step = steps[turn % len(steps)]
        found += parse(parser, data[at : at + step])
        at, turn = at + step, turn + 1
    assert [one.body for one in found if isinstance(one, Request)] == [body for body, _ in bodies]
    assert parser.at_rest


@given(st.binary(max_size=300), st.integers(1, 20))
def test_arbitrary_bytes_give_requests_or_a_refusal(data, step):
    for start in (b"", b"GET / HTTP/1.1\r\n", post(CHUNKED)):
        read(start + data, step=step)
