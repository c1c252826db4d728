"""An exchange over a scripted channel: valid and damaged responses in segments of any size."""

import gzip
import time
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from stretta.address import Endpoint
from stretta.errors import StrettaError
from stretta.http.client.blocking import make_request
from stretta.http.client.exchange import Exchange, Stopwatch
from stretta.net.client.channel.interface import Timer, run_now

GOOD = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nciao",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\nciao\r\n0\r\nA: b\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 No\r\nContent-Type: text/plain\r\n\r\nciao",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(b"ciao" * 9, mtime=0),
    b"HTTP/1.0 304 Not Modified\r\nETag: x\r\n\r\n",
]


class Scripted:
    """A channel on which the segments arrive, and then the end."""

    peer = Endpoint("127.0.0.1", 1)

    def __init__(self, segments):
        self.segments = [segment for segment in segments if segment]
        self.sent = b""
        self.closed = False

    async def send(self, data, timer):
        self.sent += data
        return len(data)

    async def receive(self, timer):
        return self.segments.pop(0) if self.segments else b""

    def is_quiet(self):
        return not self.segments

    def close(self):
        self.closed = True


def exchange(segments):
    """Return the body, whether the connection can be reused, and the channel."""
    channel, released = Scripted(segments), []
    subject = Exchange(
        make_request("GET", ":1/"),
        channel,
        Timer(None, None, time.monotonic),
        release=lambda _, reusable: released.append(reusable),
        stopwatch=Stopwatch(time.monotonic, None),
        max_size=100_000,
    )

    async def whole():
        await subject.begin()
        body = b""
        while segment := await subject.read():
            body += segment
        return body

    try:
        body = run_now(whole())
    finally:
        assert len(released) == 1
    return body, released[0], channel


@given(st.sampled_from(GOOD), st.lists(st.integers(1, 60)), st.data())
def test_a_damaged_response_gives_a_body_or_an_error_of_ours(reply, cuts, data):
    reply = bytearray(reply)
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(reply)))
        reply[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    segments, rest = [], bytes(reply)
    for cut in cuts:
        segments.append(rest[:cut])
        rest = rest[cut:]
    with suppress(StrettaError):
        body, _, channel = exchange([*segments, rest])
        assert len(body) <= 100_000
        assert channel.sent.startswith(b"GET / HTTP/1.1\r\n")


@given(st.sampled_from(GOOD), st.lists(st.integers(1, 60)))
def test_a_response_is_the_same_however_it_is_segmented(reply, cuts):
    segments, rest = [], reply
    for cut in cuts:
        segments.append(rest[:cut])
        rest = rest[cut:]
    assert exchange([*segments, rest])[:2] == exchange([reply])[:2]


def test_a_connection_is_reusable_after_a_complete_response_only():
    assert exchange([GOOD[0]])[1] is True
    assert exchange([GOOD[0] + b"x"])[1] is False
    assert exchange([GOOD[2]])[1] is False
