"""A hundred responses, valid, unusual and invalid, and the verdict on each; no sockets.

curl 7.88 gives the same verdict on all but those in DIFFERENT.
"""

import pytest

from stretta.errors import InvalidReply, ReplyEndedEarly
from stretta.http.client.content_decoding import decoder_for
from stretta.http.client.response_parser import ResponseParser

H = b"HTTP/1.1 200 OK\n"
CIAO = b"ciao"

ACCEPTED = [
    ("length", H + b"Content-Length: 6", b"-foo-\n", b"-foo-\n"),
    ("length long", H + b"Content-Length: 3", b"-foo-\n", b"-fo"),
    ("length spaces", H + b"Content-Length:  4  ", b"ciao", CIAO),
    ("no space after colon", H + b"Content-Length:4", b"ciao", CIAO),
    ("until close", H + b"Server: x", b"ciao", CIAO),
    ("until close empty", H + b"Server: x", b"", b""),
    ("http 1.0", b"HTTP/1.0 200 OK\nServer: x", b"ciao", CIAO),
    (
        "http 1.0 chunked",
        b"HTTP/1.0 200 OK\nTransfer-Encoding: chunked",
        b"4\r\nciao\r\n0\r\n\r\n",
        CIAO,
    ),
    ("chunked", H + b"Transfer-Encoding: chunked", b"4\r\nciao\r\n0\r\n\r\n", CIAO),
    ("chunked ext", H + b"Transfer-Encoding: chunked", b"4;a=b\r\nciao\r\n0;c\r\n\r\n", CIAO),
    (
        "chunked ext quoted",
        H + b"Transfer-Encoding: chunked",
        b'4;a="b;c"\r\nciao\r\n0\r\n\r\n',
        CIAO,
    ),
    (
        "chunked trailer",
        H + b"Transfer-Encoding: chunked\nTrailer: t",
        b"4\r\nciao\r\n0\r\nt: x\r\nu: y\r\n\r\n",
        CIAO,
    ),
    (
        "chunked upper hex",
        H + b"Transfer-Encoding: chunked",
        b"A\r\n0123456789\r\n0\r\n\r\n",
        b"0123456789",
    ),
    (
        "chunked leading zeros",
        H + b"Transfer-Encoding: chunked",
        b"00000004\r\nciao\r\n000\r\n\r\n",
        CIAO,
    ),
    (
        "chunked space after size",
        H + b"Transfer-Encoding: chunked",
        b"4 \r\nciao\r\n0\r\n\r\n",
        CIAO,
    ),
    ("chunked data after", H + b"Transfer-Encoding: chunked", b"4\r\nciao\r\n0\r\n\r\nmore", CIAO),
    (
        "chunked and length",
        H + b"Transfer-Encoding: chunked\nContent-Length: 3",
        b"4\r\nciao\r\n0\r\n\r\n",
        CIAO,
    ),
    (
        "length and chunked",
        H + b"Content-Length: 3\nTransfer-Encoding: chunked",
        b"4\r\nciao\r\n0\r\n\r\n",
        CIAO,
    ),
    (
        "chunked twice",
        H + b"Transfer-Encoding: chunked\nTransfer-Encoding: chunked",
        b"4\r\nciao\r\n0\r\n\r\n",
        CIAO,
    ),
    ("chunked CASE", H + b"transfer-encoding: CHUNKED", b"4\r\nciao\r\n0\r\n\r\n", CIAO),
    (
        "te identity chunked",
        H + b"Transfer-Encoding: identity, chunked",
        b"4\r\nciao\r\n0\r\n\r\n",
        CIAO,
    ),
    ("te identity", H + b"Transfer-Encoding: identity", b"ciao", CIAO),
    ("204", b"HTTP/1.1 204 No Content\nContent-Length: 4", b"", b""),
    ("304", b"HTTP/1.1 304 Not Modified\nContent-Length: 4", b"", b""),
    ("404", b"HTTP/1.1 404 Not Found\nContent-Length: 4", b"ciao", CIAO),
    ("100 first", b"HTTP/1.1 100 Continue\n\n" + H + b"Content-Length: 4", b"ciao", CIAO),
    (
        "103 and 102",
        b"HTTP/1.1 103 Early\nLink: x\n\nHTTP/1.1 102 P\n\n" + H + b"Content-Length: 4",
        b"ciao",
        CIAO,
    ),
    ("no reason", b"HTTP/1.1 200\nContent-Length: 4", b"ciao", CIAO),
    ("reason long", b"HTTP/1.1 200 " + b"x" * 5000 + b"\nContent-Length: 4", b"ciao", CIAO),
    ("status 600", b"HTTP/1.1 600 OK\nContent-Length: 4", b"ciao", CIAO),
    ("status 999", b"HTTP/1.1 999 OK\nContent-Length: 4", b"ciao", CIAO),
    ("space before colon", H + b"Content-Length : 4", b"ciao", CIAO),
    ("high bytes", H + b"A: \xc3\xa9\xff\nContent-Length: 4", b"ciao", CIAO),
    ("control in value", H + b"A: b\x1b[1m\nContent-Length: 4", b"ciao", CIAO),
    ("tab in value", H + b"A:\tb\tc\nContent-Length: 4", b"ciao", CIAO),
    ("folded", H + b"A: b\n c\n\td\nContent-Length: 4", b"ciao", CIAO),
    ("folded first", H + b" Date: x\nServer: y\nContent-Length: 4", b"ciao", CIAO),
    ("empty value", H + b"A:\nContent-Length: 4", b"ciao", CIAO),
    (
        "many fields",
        H + b"".join(b"A%d: b\n" % i for i in range(900)) + b"Content-Length: 4",
        b"ciao",
        CIAO,
    ),
    ("long line", H + b"A: " + b"x" * 90000 + b"\nContent-Length: 4", b"ciao", CIAO),
    ("gzip empty", H + b"Content-Encoding: gzip\nContent-Length: 0", b"", b""),
    ("identity", H + b"Content-Encoding: identity", b"ciao", CIAO),
    ("none", H + b"Content-Encoding: none", b"ciao", CIAO),
    ("empty coding", H + b"Content-Encoding:", b"ciao", CIAO),
    ("connection close", H + b"Connection: close\nContent-Length: 4", b"ciao", CIAO),
]

REFUSED = [
    ("length short", H + b"Content-Length: 75\nConnection: close", b"-foo-\n"),
    ("negative length", H + b"Content-Length: -6\nContent-Type: text/html", b"ciao\n"),
    ("rubbish length", H + b"Content-Length: abc", b"ciao\n"),
    ("empty length", H + b"Content-Length:", b"ciao\n"),
    ("length plus", H + b"Content-Length: + 4", b"ciao"),
    ("length trailing junk", H + b"Content-Length: 4 bytes", b"ciao"),
    ("length 2^63", H + b"Content-Length: 9223372036854775808", b"ciao"),
    ("length 2^64", H + b"Content-Length: 18446744073709551616", b"ciao"),
    ("length 30 digits", H + b"Content-Length: 999999999999999999999999999999", b"ciao"),
    ("length twice same", H + b"Content-Length: 4\nContent-Length: 4", b"ciao"),
    ("length twice differs", H + b"Content-Length: 4\nContent-Length: 5", b"ciao!"),
    ("length list same", H + b"Content-Length: 4, 4", b"ciao"),
    ("length list differs", H + b"Content-Length: 4, 5", b"ciao!"),
    ("chunked LF", H + b"Transfer-Encoding: chunked", b"4\nciao\n0\n\n"),
    ("chunked trailer LF", H + b"Transfer-Encoding: chunked", b"4\nciao\n0\nt: x\n\n"),
    (
        "chunked bad size",
        H + b"Transfer-Encoding: chunked\nConnection: ciao",
        b"2\r\na\n\r\nILLEGAL\r\nbbbbb\r\n",
    ),
    ("chunked cut in data", H + b"Transfer-Encoding: chunked", b"41\r\naaaaa"),
    ("chunked cut before last", H + b"Transfer-Encoding: chunked", b"4\r\nciao\r\n"),
    ("chunked cut in last", H + b"Transfer-Encoding: chunked", b"4\r\nciao\r\n0\r\n"),
    ("chunked empty", H + b"Transfer-Encoding: chunked", b""),
    (
        "chunked huge size",
        H + b"Transfer-Encoding: chunked",
        b"fffffffffffffffff\r\nciao\r\n0\r\n\r\n",
    ),
    ("chunked negative", H + b"Transfer-Encoding: chunked", b"-4\r\nciao\r\n0\r\n\r\n"),
    ("chunked 0x", H + b"Transfer-Encoding: chunked", b"0x4\r\nciao\r\n0\r\n\r\n"),
    ("chunked too long data", H + b"Transfer-Encoding: chunked", b"2\r\nciao\r\n0\r\n\r\n"),
    ("te wrong order", H + b"Transfer-Encoding: chunked, gzip", b"0\r\n\r\n"),
    ("te unknown", H + b"Transfer-Encoding: xyz", b"ciao"),
    ("100 only", b"HTTP/1.1 100 Continue\nFoo: bar", b""),
    ("100 then junk", b"HTTP/1.1 100 Continue\nFoo: bar", b"Data\nData\nData\n"),
    ("status 4 digits", b"HTTP/1.1 1234 OK\nContent-Length: 4", b"ciao"),
    ("status negative", b"HTTP/1.1 -12 OK\nContent-Length: 4", b"ciao"),
    ("status 1 digit", b"HTTP/1.1 2 OK\nContent-Length: 4", b"ciao"),
    ("status 100 digits", b"HTTP/1.1 " + b"0123456789" * 10 + b" OK\nContent-Length: 4", b"ciao"),
    ("status 099", b"HTTP/1.1 099 OK\nContent-Length: 4", b"ciao"),
    ("status letters", b"HTTP/1.1 abc OK\nContent-Length: 4", b"ciao"),
    ("version 1.01", b"HTTP/1.0123 200 OK\nContent-Length: 4", b"ciao"),
    ("version 1.2", b"HTTP/1.2 200 OK\nContent-Length: 4", b"ciao"),
    ("version 2", b"HTTP/2 200 OK\nContent-Length: 4", b"ciao"),
    ("version 3.0", b"HTTP/3.0 200 OK\nContent-Length: 4", b"ciao"),
    ("version 9.9", b"HTTP/9.9 200 OK\nContent-Length: 4", b"ciao"),
    ("no status", b"HTTP/1.1\nContent-Length: 4", b"ciao"),
    ("lower case http", b"http/1.1 200 OK\nContent-Length: 4", b"ciao"),
    ("leading blank line", b"\nHTTP/1.1 200 OK\nContent-Length: 4", b"ciao"),
    ("no http", b"No headers at all, just data\n\nLet's get", b""),
    ("icy", b"ICY 200 OK\nContent-Length: 4", b"ciao"),
    ("ssh", b"SSH-2.0-OpenSSH_9.2", b""),
    ("no colon", H + b"Date: x\nServer test\nContent-Length: 6", b"hello\n"),
    ("no colon last", H + b"Content-Length: 6\nServer test", b"hello\n"),
    ("empty name", H + b": x\nContent-Length: 4", b"ciao"),
    ("nul in value", H + b"A: b\0c\nContent-Length: 4", b"ciao"),
    ("nul in name", H + b"A\0: b\nContent-Length: 4", b"ciao"),
    ("nul in status", b"HTTP/1.1 200 O\0K\nContent-Length: 4", b"ciao"),
    ("cr in value", H + b"A: b\rc\nContent-Length: 4", b"ciao"),
    ("odd name", H + b"A(b): c\nContent-Length: 4", b"ciao"),
    (
        "too many fields",
        H + b"".join(b"A%d: b\n" % i for i in range(6000)) + b"Content-Length: 4",
        b"ciao",
    ),
    ("too long line", H + b"A: " + b"x" * 110000 + b"\nContent-Length: 4", b"ciao"),
    (
        "too long head",
        H + b"".join(b"A%d: " % i + b"x" * 9000 + b"\n" for i in range(40)) + b"Content-Length: 4",
        b"ciao",
    ),
    ("101", b"HTTP/1.1 101 Switching\nUpgrade: x\nConnection: upgrade", b"ciao"),
]

DIFFERENT = {
    # mostly lengths of which curl takes the valid beginning, or which it ignores
    "chunked trailer LF",
    "version 2",
    "too many fields",
    "empty name",
    "lower case http",
    "length list same",
    "length twice same",
    "cr in value",
    "101",
    "folded first",
    "chunked LF",
    "length 30 digits",
    "odd name",
    "length trailing junk",
    "length twice differs",
    "length 2^64",
    "length list differs",
    "length 2^63",
    "length plus",
}


def outcome(head, body, lines):
    """Return the body of a response; raises when it is invalid."""
    parser = ResponseParser("GET")
    chunks = [*parser.feed(head.replace(b"\n", lines) + 2 * lines + body)]
    parser.finish()
    decoder = decoder_for(
        [*parser.head.headers.tokens("content-encoding"), *parser.transfer_codings]
    )
    if decoder is None:
        return b"".join(map(bytes, chunks))
    decoded = b"".join(bytes(part) for chunk in chunks for part in decoder.feed(chunk))
    if parser.received:
        decoder.finish()
    return decoded


@pytest.mark.parametrize("lines", [b"\r\n", b"\n"], ids=["CRLF", "LF"])
@pytest.mark.parametrize(
    ("head", "body", "expected"), [row[1:] for row in ACCEPTED], ids=[row[0] for row in ACCEPTED]
)
def test_these_are_accepted(head, body, expected, lines):
    assert outcome(head, body, lines) == expected


@pytest.mark.parametrize("lines", [b"\r\n", b"\n"], ids=["CRLF", "LF"])
@pytest.mark.parametrize(
    ("head", "body"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_these_are_refused(head, body, lines):
    with pytest.raises((InvalidReply, ReplyEndedEarly)):
        outcome(head, body, lines)


def test_the_names_in_different_exist():
    assert {row[0] for row in [*ACCEPTED, *REFUSED]} >= DIFFERENT
