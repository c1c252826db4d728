"""The state of an exchange: bytes and times in, decisions out; no channel, no clock."""

import gzip

import pytest

from stretta.errors import InvalidReply, NetworkError, ReplyEndedEarly
from stretta.http.client import exchange_state
from stretta.http.client.blocking import make_request
from stretta.http.client.exchange_state import BodyTooLarge, ExchangeState

HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nciao"
CODED = gzip.compress(b"ciao" * 1000, mtime=0)


def start(method="GET", *, url=":1/", headers=(), version="1.1", **options):
    return ExchangeState(make_request(method, url, headers, version=version), **options)


def coded(body=CODED, field=b"Content-Encoding: gzip", *, size=None):
    length = b"Content-Length: %d" % (len(body) if size is None else size)
    return b"HTTP/1.1 200 OK\r\n" + length + b"\r\n" + field + b"\r\n\r\n" + body


def chunks(state):
    """Return the chunks that are there, and whether the body has ended."""
    found = []
    while chunk := state.next_chunk():
        found.append(bytes(chunk))
    return b"".join(found), chunk is not None


def test_an_exchange_from_its_start_to_its_end():
    state = start()
    assert state.request_head.startswith(b"GET / HTTP/1.1\r\n")
    assert not state.reusable
    state.request_sent()
    assert not state.reusable
    assert state.receive(HELLO[:-2], 1.0) == []
    assert chunks(state) == (b"ci", False)
    assert state.phases.first_byte == 1.0
    assert state.phases.ended is None
    assert state.receive(HELLO[-2:], 2.0) == []
    assert state.reusable
    assert chunks(state) == (b"ao", True)
    assert (state.phases.first_byte, state.phases.ended) == (1.0, 2.0)
    assert (state.decoded, state.parser.received) == (4, 4)
    assert not state.is_decoding


def test_each_interim_head_is_returned_once():
    state = start()
    one = b"HTTP/1.1 100 Continue\r\n\r\n"
    assert [head.status for head in state.receive(one + one, 1.0)] == [100, 100]
    assert [head.status for head in state.receive(one.replace(b"100", b"103"), 2.0)] == [103]
    assert state.receive(HELLO, 3.0) == []
    assert chunks(state) == (b"ciao", True)


@pytest.mark.parametrize("sent", [True, False])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("connection", ["", "close", "keep-alive"])
def test_what_makes_a_connection_reusable(sent, version, connection):
    state = start(headers={"Connection": connection} if connection else {}, version=version)
    if sent:
        state.request_sent()
    state.receive(HELLO, 1.0)
    assert state.reusable is (sent and version == "1.1" and connection != "close")


@pytest.mark.parametrize(
    ("reply", "stops"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", False),
        (b"HTTP/1.1 100 Continue\r\n\r\n", False),
        (b"HTTP/1.1 299 OK\r\nContent-Length: 4\r\n\r\n", False),
        (b"HTTP/1.1 300 No\r\nContent-Length: 4\r\n\r\n", True),
        (b"HTTP/1.1 413 No\r\nContent-Length: 4\r\n\r\n", True),
        (HELLO, True),
    ],
)
def test_when_the_rest_of_a_request_is_useless(reply, stops):
    state = start("POST")
    assert not state.stops_sending
    state.receive(reply, 1.0, sending=True)
    assert state.stops_sending is stops


def test_chunks_that_come_while_sending_are_copies_in_their_order():
    state = start("POST")
    buffer = bytearray(HELLO[:-2])
    state.receive(memoryview(buffer), 1.0, sending=True)
    buffer[:] = bytes(len(buffer))
    state.receive(b"ao", 2.0, sending=True)
    assert chunks(state) == (b"ciao", True)


@pytest.mark.parametrize(("size", "fits"), [(10, True), (11, False)])
def test_a_response_may_be_ahead_of_its_request_by_a_limit(monkeypatch, size, fits):
    monkeypatch.setattr(exchange_state, "MAX_EARLY", 10)
    state = start("POST")
    state.receive(b"HTTP/1.1 200 OK\r\n\r\n", 1.0, sending=True)
    state.receive(bytes(size - 1), 1.0, sending=True)
    if fits:
        state.receive(b"x", 1.0, sending=True)
    else:
        with pytest.raises(InvalidReply, match="ahead of its request"):
            state.receive(b"x", 1.0, sending=True)


@pytest.mark.parametrize("sending", [True, False])
def test_a_compressed_body_is_decoded(sending):
    state = start()
    state.receive(coded(), 1.0, sending=sending)
    assert state.is_decoding
    assert chunks(state) == (b"ciao" * 1000, True)
    assert (state.decoded, state.parser.received) == (4000, len(CODED))


def test_a_compressed_body_stays_as_it_is_without_decoding():
    state = start(decode=False)
    state.receive(coded(), 1.0)
    assert chunks(state) == (CODED, True)


def test_a_transfer_coding_is_decoded_in_any_case():
    state = start(decode=False)
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"
    state.receive(head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(CODED), CODED), 1.0)
    assert chunks(state) == (b"ciao" * 1000, True)


def test_compressed_data_without_its_end_is_an_error():
    state = start()
    state.receive(coded(CODED[:-4]), 1.0)
    with pytest.raises(ReplyEndedEarly, match="gzip data is incomplete"):
        chunks(state)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_empty_body_needs_no_decoder(method):
    state = start(method)
    state.receive(coded(b"", b"Content-Encoding: unknown"), 1.0)
    assert chunks(state) == (b"", True)


def test_an_unknown_coding_of_a_body_is_an_error():
    with pytest.raises(InvalidReply, match="not supported"):
        start().receive(coded(b"x", b"Content-Encoding: unknown"), 1.0)


def test_a_discarded_body_is_neither_decoded_nor_returned():
    state = start()
    state.receive(coded(b"xx", size=4), 1.0)
    state.discard()
    state.receive(b"x", 2.0)
    assert not state.is_decoding
    state.discard()
    state.receive(b"x", 3.0)
    state.discard()
    assert chunks(state) == (b"", True)
    early = start()
    early.discard()
    early.receive(coded(b"x", b"Content-Encoding: unknown"), 1.0)
    assert not early.is_decoding


@pytest.mark.parametrize(("limit", "before", "fits"),
                         [(4, 0, True), (3, 0, False), (5, 1, True), (5, 2, False)])  # fmt: skip
def test_the_size_limit_counts_what_came_before(limit, before, fits):
    state = start(max_size=limit)
    state.resumed_at = before
    state.receive(HELLO, 1.0)
    if fits:
        assert chunks(state) == (b"ciao", True)
    else:
        with pytest.raises(BodyTooLarge, match=f"{4 + before} bytes arrived, and {limit} is"):
            chunks(state)


def test_compressed_bodies_have_a_limit_and_others_have_none_by_default(monkeypatch):
    monkeypatch.setattr(exchange_state, "MAX_DECODED", 3999)
    plain, compressed, larger = start(), start(), start(max_size=4000)
    plain.receive(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(5000), 1.0)
    assert chunks(plain) == (bytes(5000), False)
    compressed.receive(coded(), 1.0)
    with pytest.raises(BodyTooLarge, match=r"4000 decoded.*3999 is"):
        chunks(compressed)
    larger.receive(coded(), 1.0)
    assert chunks(larger)[1]


def test_check_size_takes_a_default():
    state = start()
    state.receive(HELLO, 1.0)
    chunks(state)
    state.check_size(None)
    state.check_size(4)
    with pytest.raises(BodyTooLarge):
        state.check_size(3)


def test_the_end_of_the_connection():
    complete = start()
    complete.receive(HELLO, 1.0)
    complete.end_of_stream(2.0)
    complete.end_of_stream(3.0, truncated=True)
    close = start()
    close.receive(b"HTTP/1.1 200 OK\r\n\r\nx", 1.0)
    close.end_of_stream(2.0)
    assert close.phases.ended == 2.0
    assert chunks(close) == (b"x", True)
    cut = start()
    cut.receive(b"HTTP/1.1 200 OK\r\n\r\nx", 1.0)
    with pytest.raises(ReplyEndedEarly, match="TLS connection was cut off"):
        cut.end_of_stream(2.0, truncated=True)
    with pytest.raises(InvalidReply, match="without a response"):
        start().end_of_stream(1.0)


def test_the_error_for_a_lost_connection():
    error = NetworkError("the connection broke", "the server reset it", "Ask again.")
    plain = start().connection_lost(error)
    assert (type(plain), plain.why) == (NetworkError, error.why)
    assert plain.hint == "Ask again. For TLS the URL begins with https://"
    assert start(url="https://a/").connection_lost(error) is error
    begun = start()
    begun.receive(b"H", 1.0)
    assert isinstance(begun.connection_lost(error), ReplyEndedEarly)
