"""The HTTP client, blocking and not, against correct, faulty, slow and hostile servers."""

import asyncio
import gzip
import socket
import struct
import threading

import pytest

from canned import HELLO, canned, read_request
from stretta import http
from stretta.errors import (
    HttpStatus,
    InvalidReply,
    NetworkError,
    ReplyEndedEarly,
    TimedOut,
    UsageError,
)
from stretta.http.client.content_decoding import accepted
from stretta.options import HttpClientLimits, HttpPatience
from support import PATIENCE, free_port, naive_tcp_server


def get_async(url, **options):
    return asyncio.run(http.get_async(url, **options))


BOTH = pytest.mark.parametrize("get", [http.get, get_async])


def ask_blocking(method, url, body):
    with http.Client() as client:
        return client.request(method, url, body=body)


def ask_async(method, url, body):
    async def ask():
        async with http.AsyncClient() as client:
            return await client.request(method, url, body=body)

    return asyncio.run(ask())


BOTH_ASK = pytest.mark.parametrize("ask", [ask_blocking, ask_async])


def reply(head, body=b""):
    return b"HTTP/1.1 " + head.replace(b"\n", b"\r\n") + b"\r\n\r\n" + body


@BOTH
def test_a_response_and_its_phases(get):
    with canned(reply(b"200 Fine\nContent-Length: 4\nA: b", b"ciao")) as server:
        response = get(server.url + "x?y")
    assert (response.status, response.reason, response.body) == (200, "Fine", b"ciao")
    assert response.headers.get("a") == "b"
    assert response.url == server.url + "x?y"
    assert response.head.raw == b"HTTP/1.1 200 Fine\r\nContent-Length: 4\r\nA: b\r\n\r\n"
    assert [response.request_head] == server.requests
    assert response.server == ("127.0.0.1", server.port)
    phases = response.phases
    assert 0 <= phases.connected <= phases.sent <= phases.first_byte <= phases.ended


@BOTH
@pytest.mark.parametrize("size", [1500, 100_000, 5_000_000])
@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_bodies_of_every_size_and_framing(get, size, framing):
    body = bytes(range(256)) * (size // 256)
    if framing == "chunked":
        coded = b"".join(
            b"%x\r\n%b\r\n" % (len(part), part)
            for start in range(0, len(body), 70_001)
            if (part := body[start : start + 70_001])
        )
        answer = reply(b"200 OK\nTransfer-Encoding: chunked", coded + b"0\r\n\r\n")
    elif framing == "length":
        answer = reply(b"200 OK\nContent-Length: %d" % len(body), body)
    else:
        answer = reply(b"200 OK", body)
    with canned(answer) as server:
        assert get(server.url).body == body


@BOTH
def test_the_request_of_http_1_0_is_the_lectures(get):
    with canned(b"HTTP/1.0 200 OK\r\n\r\nciao") as server:
        assert get(server.url, version="1.0").body == b"ciao"
    assert server.requests == [b"GET / HTTP/1.0\r\n\r\n"]


@BOTH
def test_the_host_and_other_default_headers(get):
    with canned(HELLO) as server:
        get(f"http://localhost:{server.port}/", headers={"Accept": "text/plain", "User-Agent": ""})
    assert server.requests[0].split(b"\r\n")[:4] == [
        b"GET / HTTP/1.1",
        b"Host: localhost:%d" % server.port,
        b"Accept-Encoding: " + ", ".join(accepted()).encode(),
        b"Accept: text/plain",
    ]


@BOTH
def test_interim_responses_are_kept(get):
    early = reply(b"103 Early Hints\nLink: </a.css>")
    with canned(reply(b"100 Continue") + early + HELLO) as server:
        response = get(server.url)
    assert response.text == "ciao"
    assert [(head.status, head.headers.get("link")) for head in response.interim] == [
        (100, None),
        (103, "</a.css>"),
    ]


@BOTH
def test_a_compressed_body_is_decoded(get):
    coded = gzip.compress(b"ciao" * 1000, mtime=0)
    head = b"200 OK\nContent-Encoding: gzip\nContent-Length: %d" % len(coded)
    with canned(reply(head, coded)) as server:
        response = get(server.url)
    assert response.body == b"ciao" * 1000
    assert response.received == len(coded)


@BOTH
def test_a_compression_bomb_exceeds_the_size_limit(get):
    coded = gzip.compress(bytes(50_000_000), mtime=0)
    head = b"200 OK\nContent-Encoding: gzip\nContent-Length: %d" % len(coded)
    limits = HttpClientLimits(max_size=1_000_000)
    with canned(reply(head, coded)) as server, pytest.raises(ReplyEndedEarly, match="1000000 is"):
        get(server.url, limits=limits)


@BOTH
@pytest.mark.parametrize(("limit", "fits"), [(4, True), (3, False)])
def test_a_body_in_memory_has_a_default_limit(get, limit, fits, monkeypatch):
    for module in ("blocking", "asynchronous"):
        monkeypatch.setattr(f"stretta.http.client.{module}.MAX_IN_MEMORY", limit)
    with canned(HELLO) as server:
        if fits:
            assert get(server.url).text == "ciao"
        else:
            with pytest.raises(ReplyEndedEarly, match=f"{limit} is the limit"):
                get(server.url)
        assert get(server.url, limits=HttpClientLimits(max_size=4)).text == "ciao"


@BOTH
@pytest.mark.parametrize(
    "answer",
    [
        reply(b"200 OK\nContent-Length: 5", b"ciao"),
        reply(b"200 OK\nTransfer-Encoding: chunked", b"5\r\nciao"),
        reply(b"200 OK\nTransfer-Encoding: chunked", b"4\r\nciao\r\n"),
        reply(b"200 OK\nContent-Encoding: gzip", gzip.compress(b"ciao" * 99, mtime=0)[:-9]),
        b"HTTP/1.1 200 OK\r\nContent-",
    ],
)
def test_a_body_that_ends_early_is_an_error(get, answer):
    with canned(answer) as server, pytest.raises(ReplyEndedEarly) as caught:
        get(server.url)
    assert caught.value.status == 7
    assert (b"ciao" * 99).startswith(caught.value.reply)


@BOTH
@pytest.mark.parametrize("answer", [b"", b"220 mail ESMTP\r\n", b"\0" * 100])
def test_a_reply_that_is_not_http_is_an_error(get, answer):
    with canned(answer) as server, pytest.raises(InvalidReply) as caught:
        get(server.url)
    assert caught.value.status == 1


@BOTH
def test_a_refused_connection_is_an_error(get):
    with pytest.raises(NetworkError, match="connection refused"):
        get(f"http://127.0.0.1:{free_port()}/")


@BOTH
def test_a_reset_within_the_body_is_an_error(get):
    def slam(connection):
        connection.sendall(reply(b"200 OK\nContent-Length: 100", b"ciao"))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with canned(slam) as server, pytest.raises(ReplyEndedEarly, match="reset it after"):
        get(server.url)


@BOTH
def test_a_silent_server_exceeds_the_idle_timeout(get):
    done = threading.Event()
    patience = HttpPatience(idle_timeout=0.05)
    with canned(lambda _: done.wait(PATIENCE)) as server:
        with pytest.raises(TimedOut, match=r"silent for 0\.05 s"):
            get(server.url, patience=patience)
        done.set()


@BOTH
@pytest.mark.parametrize("drip", [b"HTTP/1.1 102 Wait\r\n\r\n", reply(b"200 OK")])
def test_a_slow_server_exceeds_the_total_timeout(get, drip):
    done = threading.Event()

    def answer(connection):
        connection.sendall(drip)
        while not done.wait(0.01):
            connection.sendall(b"x" if b"200" in drip else b"")

    with canned(answer) as server:
        with pytest.raises(TimedOut, match=r"longer than 0\.2 s"):
            get(server.url, patience=HttpPatience(timeout=0.2))
        done.set()


@BOTH
@pytest.mark.parametrize("url", ["", "http://a b/", "ftp://x/", "http://[::1/"])
def test_a_bad_url_is_refused_before_anything_is_sent(get, url):
    with pytest.raises(UsageError) as caught:
        get(url)
    assert caught.value.why


@pytest.mark.parametrize(("status", "exit_status"), [(301, 3), (304, 3), (404, 4), (503, 5)])
def test_check_makes_a_status_an_error(status, exit_status):
    with canned(reply(b"%d Odd\nContent-Length: 0" % status)) as server:
        response = http.get(server.url)
    with pytest.raises(HttpStatus) as caught:
        response.check()
    assert (caught.value.code, caught.value.status) == (status, exit_status)


def test_a_client_reuses_a_connection():
    with canned(HELLO, keep=True) as server, http.Client() as client:
        assert [client.get(server.url).text for _ in range(3)] == ["ciao"] * 3
        assert client.request("POST", server.url, body=b"abc").text == "ciao"
    assert server.connections == 1
    assert server.requests[3].endswith(b"Content-Length: 3\r\n\r\nabc")


def test_an_async_client_reuses_a_connection():
    async def thrice(url):
        async with http.AsyncClient() as client:
            return [(await client.get(url)).text for _ in range(3)]

    with canned(HELLO, keep=True) as server:
        assert asyncio.run(thrice(server.url)) == ["ciao"] * 3
    assert server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        reply(b"200 OK", b"ciao"),
        HELLO + b"x",
        HELLO.replace(b"\r\n", b"\r\nConnection: close\r\n", 1),
    ],
)
def test_a_connection_is_reused_only_if_the_framing_allows_it(answer):
    with canned(answer) as server, http.Client() as client:
        assert client.get(server.url).text == "ciao"
        assert client.get(server.url).text == "ciao"
    assert server.connections == 2


def test_a_connection_that_the_server_closed_meanwhile_is_replaced():
    closed = threading.Event()

    def once(connection):
        connection.sendall(HELLO)  # promises to stay
        connection.shutdown(socket.SHUT_RDWR)
        closed.set()

    with canned(once) as server, http.Client() as client:
        for _ in range(3):
            closed.clear()
            assert client.get(server.url).text == "ciao"
            assert closed.wait(PATIENCE)
    assert len(server.requests) == 3


@BOTH
def test_the_error_for_a_reset_before_any_byte_mentions_tls(get):
    def reset(connection):
        connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with naive_tcp_server(reset) as port, pytest.raises(NetworkError, match="https://"):
        get(f"http://127.0.0.1:{port}/")


@BOTH
def test_an_excessive_content_length_is_an_error(get):
    answer = reply(b"200 OK\nContent-Length: 9223372036854775808", b"x")
    with canned(answer) as server, pytest.raises(InvalidReply, match="not valid HTTP"):
        get(server.url)


@BOTH
def test_an_empty_body_needs_no_known_coding(get):
    with canned(reply(b"200 OK\nContent-Encoding: foo\nContent-Length: 0")) as server:
        assert get(server.url).body == b""


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_an_idempotent_request_is_repeated_when_its_connection_closes(method):
    closing = threading.Event()
    bodies = []

    def serve(connection):
        if closing.is_set():
            bodies.append(read_request(connection))
            connection.sendall(HELLO)
            return
        read_request(connection)
        connection.sendall(HELLO)
        connection.recv(1)  # of the next request; the rest is never read
        closing.set()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with naive_tcp_server(serve) as port, http.Client() as client:
        url = f"http://127.0.0.1:{port}/"
        assert client.get(url).text == "ciao"
        assert client.request(method, url, body=b"abc").text == "ciao"
    assert [request[-3:] for request in bodies] == [b"abc"]


def test_a_post_is_not_repeated_when_its_connection_closes():
    requests = []

    def serve(connection):
        requests.append(read_request(connection))
        connection.sendall(HELLO)
        requests.append(read_request(connection))

    with naive_tcp_server(serve) as port, http.Client() as client:
        url = f"http://127.0.0.1:{port}/"
        assert client.get(url).text == "ciao"
        with pytest.raises(NetworkError, match=r"no response to POST came.* not sent again"):
            client.request("POST", url, body=b"abc")
    assert [request.split()[0] for request in requests] == [b"GET", b"POST"]


def test_the_transfer_phase_ends_with_the_last_byte(monkeypatch):
    with canned(HELLO) as server, http.Client() as client:
        with client.stream("GET", server.url) as stream:
            assert b"".join(stream) == b"ciao"
            phases = stream.exchange.phases
            assert phases.ended == phases.first_byte


def test_a_response_without_body_keeps_the_connection():
    with canned(reply(b"204 No Content"), keep=True) as server, http.Client() as client:
        for _ in range(2):
            with client.stream("GET", server.url) as stream:
                assert stream.head.status == 204
    assert server.connections == 1


def test_an_abandoned_body_closes_the_connection():
    big = reply(b"200 OK\nContent-Length: 5000000", bytes(5_000_000))
    with canned(big, HELLO) as server, http.Client() as client:
        with client.stream("GET", server.url) as stream:
            assert next(iter(stream))
        assert client.get(server.url).text == "ciao"
    assert server.connections == 2


def test_a_response_before_the_end_of_the_request_is_received():
    def refuse(connection):
        connection.sendall(reply(b"413 Too Large\nContent-Length: 0\nConnection: close"))
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1 << 20):
            pass

    def serve(connection):
        connection.recv(1000)
        refuse(connection)

    with naive_tcp_server(serve) as port, http.Client() as client:
        response = client.request("POST", f"http://127.0.0.1:{port}/", body=bytes(50_000_000))
    assert response.status == 413


@BOTH_ASK
@pytest.mark.parametrize("framing", [b"Content-Length: 4", b"A: b"])
def test_a_complete_response_ends_the_sending_of_an_unread_request(ask, framing):
    over = threading.Event()

    def serve(connection):
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\nciao")
        connection.shutdown(socket.SHUT_WR)
        over.wait(PATIENCE)

    with naive_tcp_server(serve) as port:
        try:
            response = ask("POST", f"http://127.0.0.1:{port}/", bytes(50_000_000))
        finally:
            over.set()
    assert response.text == "ciao"


@BOTH_ASK
def test_the_end_of_the_connection_ends_the_sending(ask):
    over = threading.Event()

    def serve(connection):
        connection.recv(1000)
        connection.shutdown(socket.SHUT_WR)
        over.wait(PATIENCE)

    with naive_tcp_server(serve) as port:
        try:
            with pytest.raises(InvalidReply, match="without a response"):
                ask("POST", f"http://127.0.0.1:{port}/", bytes(50_000_000))
        finally:
            over.set()


def test_a_server_that_sends_while_it_reads_causes_no_deadlock():
    size = 20_000_000

    def echo(connection):
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(1)
        connection.sendall(reply(b"200 OK\nContent-Length: %d" % size))
        left = size
        while left:
            piece = connection.recv(1 << 20)
            left -= len(piece)
            connection.sendall(piece)

    with naive_tcp_server(echo) as port, http.Client() as client:
        response = client.request("PUT", f"http://127.0.0.1:{port}/", body=b"x" * size)
    assert response.body == b"x" * size


@pytest.mark.parametrize("words", [("G ET", ()), ("GET", {"a b": "c"}), ("GET", {"a": "b\r\nc"})])
def test_a_request_that_would_split_is_refused(words):
    method, headers = words
    with http.Client() as client, pytest.raises(UsageError):
        client.request(method, ":1/", headers=headers)
