"""The HTTP server through real sockets."""

import asyncio
import http.client
import os
import socket
import struct
import threading
from email.utils import formatdate

import pytest
from http_raw import Raw

from stretta import http as stretta_http
from stretta.errors import CannotServe
from stretta.http.server.files.file_body import MAX_COPIED_WITHOUT_SENDFILE
from stretta.options import HttpLimits
from stretta.reports import Dropped, Serving
from support import serving, until

GET = b"GET /file.txt HTTP/1.1\r\nHost: a\r\n\r\n"
LARGE = os.urandom(3 * MAX_COPIED_WITHOUT_SENDFILE + 17)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "file.txt").write_bytes(b"ciao\n")
    (tmp_path / "large.bin").write_bytes(LARGE)
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "page.html").write_bytes(b"<p>page")
    (tmp_path / "indexed").mkdir()
    (tmp_path / "indexed" / "index.html").write_bytes(b"<p>index")
    return tmp_path


@pytest.fixture
def server(folder):
    with serving(stretta_http.serve(folder)) as running:
        yield running


@pytest.fixture
def client(server):
    with Raw(server.port) as raw:
        yield raw


def test_a_file_is_sent_whole_with_its_media_type(client, folder):
    os.utime(folder / "file.txt", (86400, 86400))
    got = client.get("/file.txt")
    assert (got.status, got.body) == (200, b"ciao\n")
    assert got.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert got.headers["Last-Modified"] == "Fri, 02 Jan 1970 00:00:00 GMT"
    assert got.headers["Date"]
    assert client.get("/large.bin").body == LARGE
    assert client.get("/empty").body == b""


def test_head_returns_the_same_headers_without_a_body(client):
    for path in ("/file.txt", "/large.bin", "/sub/", "/missing", "/sub"):
        got, bare = client.get(path), client.get(path, method="HEAD")
        assert bare.body == b""
        assert {**got.headers, "Date": ""} == {**bare.headers, "Date": ""}
        assert got.status == bare.status


def test_a_folder_without_its_slash_is_redirected_within_the_server(client):
    assert client.get("/sub?x=1").headers["Location"] == "/sub/?x=1"
    assert client.get("/sub").status == 301
    assert client.get("//sub").headers["Location"] == "/sub/"
    assert client.get("/sub/page.html/").status == 404


def test_an_index_is_served_for_its_folder(client):
    assert client.get("/indexed/").body == b"<p>index"


def test_a_listing_names_every_entry_and_its_links_work(client, folder):
    (folder / "sub" / ".hidden").write_bytes(b"")
    (folder / "sub" / "out").symlink_to("/etc")
    names = [b"<script>.txt", b"new\nline", b"bad\xff", b"co:lon", b"#hash?q&a", b"a b'\"", b"%41"]
    for name in names:
        with open(os.path.join(os.fsencode(folder), b"sub", name), "wb"):
            pass
    got = client.get("/sub/")
    assert got.headers["Content-Type"] == "text/html; charset=utf-8"
    assert b"<script>.txt" not in got.body
    rows = got.body.split(b"<tbody>")[1].split(b"</tbody>")[0]
    links = [part.split(b'"')[0] for part in rows.split(b'href="')[1:]]
    assert len(links) == len(names) + 1  # neither the hidden one nor the one that leaves
    for href in links:
        assert client.get("/sub/" + href.decode()).status == 200


@pytest.mark.parametrize("name", ["missing", ".hidden", "fifo", "leaves", "unreadable"])
def test_a_hidden_or_unreadable_file_looks_like_a_missing_one(client, folder, name):
    (folder / ".hidden").write_bytes(b"x")
    os.mkfifo(folder / "fifo")
    (folder / "leaves").symlink_to("/etc/passwd")
    (folder / "unreadable").write_bytes(b"x")
    (folder / "unreadable").chmod(0)
    if name == "unreadable" and os.geteuid() == 0:
        pytest.skip("root may read everything")
    missing = client.get("/nothing")
    got = client.get(f"/{name}")
    assert (got.status, got.body) == (missing.status, missing.body) == (404, missing.body)


@pytest.mark.parametrize(
    "target", ["/../file.txt", "/%2e%2e/x", "/..%2fx", "/%00", "/%", "/%252e%252e/x", "/..%5cx"]
)
def test_no_path_leads_outside(client, target):
    assert client.get(target).status in (400, 404)


def test_a_change_is_served_on_the_next_request(client, folder):
    path = folder / "file.txt"
    for body in (b"one", b"two", b"longer", b""):
        path.write_bytes(body)
        assert client.get("/file.txt").body == body
    path.unlink()
    assert client.get("/file.txt").status == 404


@pytest.mark.parametrize("seconds", [0, -5, 4e9])
def test_unusual_modification_times_give_valid_headers(client, folder, seconds):
    os.utime(folder / "file.txt", (seconds, seconds))
    headers = client.get("/file.txt").headers
    expected = {4e9: headers["Date"]}.get(seconds, formatdate(0, usegmt=True))
    assert headers["Last-Modified"] == expected  # never later than now (RFC 9110 8.8.2.1)


def test_an_unchanged_file_is_not_sent_again(client, folder):
    since = client.get("/file.txt").headers["Last-Modified"]
    got = client.get("/file.txt", f"If-Modified-Since: {since}")
    assert (got.status, got.body) == (304, b"")
    assert client.get("/file.txt", "If-Modified-Since: yesterday").status == 200
    os.utime(folder / "file.txt", (0, 0))
    assert (
        client.get("/file.txt", f"If-Modified-Since: {formatdate(-10, usegmt=True)}").status == 200
    )


def test_pipelined_requests_are_answered_in_order(client):
    paths = ["/file.txt", "/large.bin", "/missing", "/sub/", "/empty"] * 20
    client.send(b"".join(f"GET {p} HTTP/1.1\r\nHost: a\r\n\r\n".encode() for p in paths))
    sizes = {"/file.txt": 5, "/large.bin": len(LARGE), "/empty": 0}
    for path in paths:
        got = client.answer()
        assert got.status == (404 if path == "/missing" else 200)
        assert len(got.body) == sizes.get(path, len(got.body))


def test_requests_before_a_malformed_one_are_answered_first(client):
    client.send(GET + b"GET / HTTP/3.0\r\n\r\n" + GET)
    assert client.answer().body == b"ciao\n"
    refused = client.answer()
    assert refused.status == 505
    assert refused.headers["Connection"] == "close"
    assert client.rest() == b""


@pytest.mark.parametrize(
    "rest",
    [
        b"/../x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"/ HTTP/1.1\r\n\r\n",
        b"/ HTTP/9.9\r\nHost: a\r\n\r\n",
        b"/ HTTP/1.1\r\nHost : a\r\n\r\n",
        b"/ HTTP/1.1\r\nHost: a\r\nExpect: miracles\r\n\r\n",
    ],
)
def test_the_error_response_to_a_head_request_has_no_body(client, rest):
    client.send(b"HEAD " + rest)
    head, _, body = client.rest().partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 4", b"HTTP/1.1 505" if b"9.9" in rest else b"HTTP/1.1 4"))
    assert body == b""


def test_half_a_request_behind_a_slow_download_does_not_end_it(folder):
    limits = HttpLimits(header_timeout=0.2)
    with (
        serving(stretta_http.serve(folder, limits=limits)) as server,
        Raw(server.port, SO_RCVBUF=4096) as raw,
    ):
        raw.send(b"GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\nGET /file.txt HTTP/1.1\r\nHo")
        assert raw.file.readline() == b"HTTP/1.1 200 OK\r\n"
        with Raw(server.port) as silent:
            assert silent.rest() == b""  # the time limit is over for one that came later
        headers = http.client.parse_headers(raw.file)
        assert raw.file.read(int(headers["Content-Length"])) == LARGE
        raw.send(b"st: a\r\n\r\n")
        assert raw.answer().body == b"ciao\n"


def test_http_1_0_is_supported(server):
    with Raw(server.port) as raw:
        raw.send(b"GET /file.txt HTTP/1.0\r\n\r\n")
        assert raw.answer().body == b"ciao\n"
        assert raw.rest() == b""
    with Raw(server.port) as raw:
        for _ in range(2):
            raw.send(b"GET /file.txt HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            got = raw.answer()
            assert (got.body, got.headers["Connection"]) == (b"ciao\n", "keep-alive")


def test_methods(client):
    assert client.get("/", method="OPTIONS").headers["Allow"] == "GET, HEAD, OPTIONS"
    assert client.get("*", method="OPTIONS").status == 204
    got = client.get("/", method="POST", body=b"x")
    assert (got.status, got.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")
    assert client.get("/", method="DELETE").status == 405
    assert client.get("/", method="BREW").status == 501


def test_the_body_of_a_get_is_discarded(client):
    assert client.get("/file.txt", body=b"GET /missing HTTP/1.1\r\n\r\n").body == b"ciao\n"
    assert client.get("/file.txt").body == b"ciao\n"
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n")
    assert client.answer().status == 413


def test_a_half_closed_client_gets_all_responses(client):
    client.send(GET * 3)
    client.sock.shutdown(socket.SHUT_WR)
    assert client.rest().count(b"ciao\n") == 3


def test_a_file_truncated_while_it_is_sent_ends_the_connection_early(folder):
    path = folder / "huge"
    with open(path, "wb") as file:
        file.truncate(64 << 20)
    with serving(stretta_http.serve(folder)) as server, Raw(server.port, SO_RCVBUF=4096) as raw:
        raw.send(b"GET /huge HTTP/1.1\r\nHost: a\r\n\r\n")
        assert raw.file.readline() == b"HTTP/1.1 200 OK\r\n"
        os.truncate(path, 1)
        got = 0
        try:
            while piece := raw.sock.recv(1 << 20):
                got += len(piece)
        except ConnectionResetError:
            pass
        assert got < 64 << 20
        until(lambda: server.counts["failed"])


def test_a_file_that_grows_while_it_is_sent_keeps_the_promised_length(folder):
    path = folder / "large.bin"
    with serving(stretta_http.serve(folder)) as server, Raw(server.port, SO_RCVBUF=4096) as raw:
        raw.send(b"GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n" + GET)
        assert raw.file.readline() == b"HTTP/1.1 200 OK\r\n"
        with open(path, "ab") as file:
            file.write(b"more")
        headers = http.client.parse_headers(raw.file)
        assert raw.file.read(int(headers["Content-Length"])) == LARGE
        assert raw.answer().body == b"ciao\n"


def test_a_client_that_does_not_read_is_reset_and_others_are_served(folder):
    limits = HttpLimits(stall_timeout=0.4)
    with open(folder / "huge", "wb") as file:
        file.truncate(64 << 20)
    with serving(stretta_http.serve(folder, limits=limits)) as server:
        with Raw(server.port, SO_RCVBUF=4096) as lazy, Raw(server.port) as good:
            lazy.send(b"GET /huge HTTP/1.1\r\nHost: a\r\n\r\n")
            until(lambda: good.get("/file.txt").status == 200 and server.counts["stalled"])
            assert good.get("/file.txt").body == b"ciao\n"


def test_a_slow_reader_gets_everything(folder):
    with serving(stretta_http.serve(folder)) as server, Raw(server.port, SO_RCVBUF=4096) as raw:
        raw.send(b"GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
        for _ in range(3):
            assert raw.answer().body == LARGE


class TestServices:
    def test_a_post_is_answered_by_the_service(self, folder):
        with serving(stretta_http.serve(folder, service=bytes.upper)) as server:
            with Raw(server.port) as raw:
                assert raw.get("/any/path", method="POST", body=b"ciao").body == b"CIAO"
                raw.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
                raw.send(b"2\r\nci\r\n2\r\nao\r\n0\r\nTrailer: x\r\n\r\n")
                assert raw.answer().body == b"CIAO"
                assert raw.get("/file.txt").body == b"ciao\n"
                assert "POST" in raw.get("/", method="OPTIONS").headers["Allow"]

    def test_an_async_service_answers_in_order(self, folder):
        async def later(data):
            await asyncio.sleep(0)
            return data[::-1]

        with serving(stretta_http.serve(folder, service=later)) as server, Raw(server.port) as raw:
            for n in range(10, 60):
                raw.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n%d" % n + GET)
            for n in range(10, 60):
                assert raw.answer().body == str(n)[::-1].encode()
                assert raw.answer().body == b"ciao\n"

    def test_expect_100_continue(self, folder):
        post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: %b\r\n\r\n"
        with serving(stretta_http.serve(folder, service=bytes.upper)) as server:
            with Raw(server.port) as raw:
                raw.send(post % b"100-continue")
                assert raw.file.readline() == b"HTTP/1.1 100 Continue\r\n"
                assert raw.file.readline() == b"\r\n"
                raw.send(b"ciao")
                assert raw.answer().body == b"CIAO"
                raw.send(post % b"miracles")
                assert raw.answer().status == 417
        with serving(stretta_http.serve(folder)) as server, Raw(server.port) as raw:
            raw.send(post % b"100-continue")
            assert raw.answer().status == 405

    def test_a_failing_service_gives_500_and_one_report(self, folder):
        def fails(data):
            raise RuntimeError("on purpose")

        reports = []
        with serving(stretta_http.serve(folder, service=fails, watch=reports.append)) as server:
            with Raw(server.port) as raw:
                assert raw.get("/", method="POST", body=b"x").status == 500
                assert raw.get("/file.txt").status == 200
        assert [r.why for r in reports if isinstance(r, Dropped)] == [
            "the service failed with RuntimeError: on purpose"
        ]

    def test_a_service_without_a_reply_gives_204(self, folder):
        with serving(stretta_http.serve(folder, service=lambda _: None)) as server:
            with Raw(server.port) as raw:
                assert raw.get("/", method="POST", body=b"x").status == 204


class TestTimeLimits:
    def test_a_head_that_does_not_end_gets_408(self, folder):
        limits = HttpLimits(header_timeout=0.2)
        with serving(stretta_http.serve(folder, limits=limits)) as server:
            with Raw(server.port) as raw:
                raw.send(GET + b"GET / HTTP/1.1\r\nHo")
                assert raw.answer().status == 200
                assert raw.answer().status == 408
                assert raw.rest() == b""
            with Raw(server.port) as raw:  # nothing was asked: nothing is answered
                assert raw.rest() == b""

    def test_a_body_that_stops_or_drips_gets_408(self, folder):
        limits = HttpLimits(body_timeout=0.2, body_rate=10_000)
        with serving(stretta_http.serve(folder, service=bytes.upper, limits=limits)) as server:
            with Raw(server.port) as raw:
                raw.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n123")
                assert raw.answer().status == 408
            with Raw(server.port) as raw:
                raw.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
                stop = threading.Event()

                def drip():
                    while not stop.wait(0.02):
                        try:
                            raw.send(b"x")
                        except OSError:
                            return

                dripping = threading.Thread(target=drip)
                dripping.start()
                try:
                    assert raw.answer().status == 408
                finally:
                    stop.set()
                    dripping.join()

    def test_an_idle_connection_is_closed(self, folder):
        limits = HttpLimits(idle_timeout=0.2)
        with serving(stretta_http.serve(folder, limits=limits)) as server, Raw(server.port) as raw:
            assert raw.get("/file.txt").status == 200
            assert raw.rest() == b""
            assert server.counts["idle"] == 1

    def test_a_connection_is_closed_after_its_last_request(self, folder):
        limits = HttpLimits(max_requests=3)
        with serving(stretta_http.serve(folder, limits=limits)) as server, Raw(server.port) as raw:
            raw.send(GET * 4)
            heads = [raw.answer().headers["Connection"] for _ in range(3)]
            assert heads == [None, None, "close"]
            assert raw.rest() == b""


def test_a_drain_waits_for_the_response_being_made(folder):
    reports = []
    started, go_on = threading.Event(), threading.Event()

    async def slow(data):
        started.set()
        await asyncio.get_running_loop().run_in_executor(None, go_on.wait)
        return data

    async def main():
        server = stretta_http.serve(folder, service=slow, watch=reports.append)
        await server.start()
        loop = asyncio.get_running_loop()

        def talk():
            with Raw(server.port) as raw, Raw(server.port) as idle:
                raw.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nciao")
                started.wait()
                loop.call_soon_threadsafe(stopping.set)
                assert idle.rest() == b""  # nothing was under way there
                go_on.set()
                got = raw.answer()
                assert (got.body, got.headers["Connection"]) == (b"ciao", "close")
                assert raw.rest() == b""

        stopping = asyncio.Event()
        talking = loop.run_in_executor(None, talk)
        await stopping.wait()
        await server.stop()
        await talking

    asyncio.run(main())


def test_resets_at_any_point_leave_nothing_behind(server, caplog):
    asked = [
        GET,
        b"GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n" * 3,
        b"GET /sub/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /?format=zip HTTP/1.1\r\nHost: a\r\n\r\n",
        b"nonsense\r\n",
        b"GET / HT",
    ]
    for turn in range(120):
        with Raw(server.port, SO_RCVBUF=4096) as raw:
            raw.send(asked[turn % len(asked)])
            if turn % 4 == 0 and turn % len(asked) != len(asked) - 1:
                raw.file.readline()
            raw.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with Raw(server.port) as raw:
        assert raw.get("/file.txt").body == b"ciao\n"
    until(lambda: not server.open)
    assert "trouble" not in server.counts
    assert not caplog.records  # such as: write() called after connection lost


def reset(sock):
    """Close so that the peer gets a RST (RFC 9293 section 3.10.4)."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def test_a_reset_right_behind_data_is_noticed(folder):
    limits = HttpLimits(stall_timeout=0.4)  # four looks at the clock in that time
    with stretta_http.serve(folder, limits=limits).in_background() as server:
        for _ in range(20):
            sock = socket.create_connection(("127.0.0.1", server.port))
            sock.sendall(b"GET / HT")
            reset(sock)
        until(lambda: server.counts["connections"] and not server.open)
        assert not server.counts["slow_head"]


def test_the_server_reports_its_url_and_refuses_a_missing_folder(folder):
    reports = []
    with serving(stretta_http.serve(folder, watch=reports.append)) as server:
        (said,) = [r for r in reports if isinstance(r, Serving)]
        assert said.urls == [f"http://127.0.0.1:{server.port}/"]
        assert str(said).startswith(f"Serving at port {server.port}/tcp ...\n")
    with pytest.raises(CannotServe, match="there is no such folder"):
        asyncio.run(stretta_http.serve(folder / "missing").start())
