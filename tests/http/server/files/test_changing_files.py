"""Files that change while they are read: one version under one tag, and never a 503."""

import os
import threading
import time
from email.utils import parsedate_to_datetime
from itertools import cycle

import pytest
from http_raw import Raw

from stretta import http as stretta_http
from stretta.http.server import file_handler
from stretta.http.server.files.document_root import DocumentRoot
from stretta.http.server.files.file_body import MAX_COPIED, FileBody, FileChanged
from stretta.http.server.files.representation import FileResponder
from stretta.http.server.request import Request
from stretta.http.server.response import Response
from stretta.options import SiteOptions
from support import serving

SMALL, LARGE = b"ciao " * 1000, b"x" * (MAX_COPIED + 1)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "small.txt").write_bytes(SMALL)
    (tmp_path / "large.bin").write_bytes(LARGE)
    return tmp_path


@pytest.fixture
def client(folder):
    with serving(stretta_http.serve(folder)) as server, Raw(server.port) as raw:
        yield raw


def change(monkeypatch, times):
    """Let each file seem changed at so many of its next readings."""
    left = [times]
    check = FileBody._check_version

    def changed(body):
        left[0] -= 1
        if left[0] >= 0:
            raise FileChanged("it was changed")
        check(body)

    monkeypatch.setattr(FileBody, "_check_version", changed)


@pytest.mark.parametrize("header", ["X-Other: 1", "Accept-Encoding: gzip", "Range: bytes=0-9"])
@pytest.mark.parametrize("path", ["/small.txt", "/large.bin"])
def test_a_file_that_changes_is_read_again(client, monkeypatch, path, header):
    usual = client.get(path, header)
    change(monkeypatch, len(file_handler.PAUSES))
    again = client.get(path, header)
    assert again.status == usual.status
    assert again.body == usual.body
    assert again.headers["ETag"] == usual.headers["ETag"]


@pytest.mark.parametrize(("path", "content"), [("/small.txt", SMALL), ("/large.bin", LARGE)])
def test_a_file_that_never_rests_is_sent_without_validators(client, monkeypatch, path, content):
    change(monkeypatch, 1000)
    for header in ("X-Other: 1", "Accept-Encoding: gzip", "Range: bytes=0-9"):
        got = client.get(path, header)
        assert (got.status, got.body) == (200, content)
        assert got.headers["ETag"] is None
        assert got.headers["Last-Modified"] is None
        assert got.headers["Accept-Ranges"] is None
        assert got.headers["Cache-Control"] == "no-store"


def test_the_index_of_a_site_that_never_rests(folder, monkeypatch):
    (folder / "index.html").write_bytes(b"index")
    with serving(stretta_http.serve(folder, options=SiteOptions(spa=True))) as server:
        with Raw(server.port) as raw:
            change(monkeypatch, 1000)
            for path in ("/", "/somewhere", "/small.txt/"):
                assert raw.get(path).body == b"index"


def test_a_file_shortened_before_it_is_read_is_sent_as_it_is(client, folder, monkeypatch):
    change(monkeypatch, 1000)
    read = FileBody.read_now

    def shorten(body):
        os.truncate(folder / "small.txt", 10)
        return read(body)

    monkeypatch.setattr(FileBody, "read_now", shorten)
    got = client.get("/small.txt")
    assert (got.status, got.body) == (200, SMALL[:10])


def test_no_tag_ever_names_two_contents(tmp_path):
    """A writer overwrites a file in place, as fast as it can, while it is fetched in two halves."""
    path, size = tmp_path / "file", 50_000
    path.write_bytes(b"A" * size)
    stop = threading.Event()

    def write():
        descriptor = os.open(path, os.O_WRONLY)
        for letter in cycle(b"ABCDEFGHIJ"):
            if stop.is_set():
                break
            os.pwrite(descriptor, bytes([letter]) * size, 0)
            stop.wait(0.001)
        os.close(descriptor)

    writer = threading.Thread(target=write)
    with serving(stretta_http.serve(tmp_path)) as server, Raw(server.port) as raw:
        writer.start()
        try:
            for _ in range(300):
                half = raw.get("/file", f"Range: bytes=0-{size // 2 - 1}")
                assert half.status in (200, 206)
                assert len(set(half.body)) == 1 or half.headers["ETag"] is None
                if half.status == 206:
                    tag = half.headers["ETag"]
                    rest = raw.get("/file", f"Range: bytes={size // 2}-", f"If-Range: {tag}")
                    whole = half.body + rest.body if rest.status == 206 else rest.body
                    assert len(whole) == size
                    assert len(set(whole)) == 1 or rest.headers["ETag"] is None
        finally:
            stop.set()
            writer.join()


@pytest.mark.parametrize("seconds", [-(2**31), -1, 0, 2**31, 9_223_372_037, 15_032_385_535])
def test_any_modification_time_gives_a_valid_response(client, folder, seconds):
    os.utime(folder / "small.txt", (0, seconds))
    for _ in range(2):
        got = client.get("/small.txt")
        assert (got.status, got.body) == (200, SMALL)
        assert client.get("/small.txt", f"If-None-Match: {got.headers['ETag']}").status == 304
        since = got.headers["Last-Modified"]
        assert since.endswith(" GMT")
        assert client.get("/small.txt", f"If-Modified-Since: {since}").status == 304
    assert client.get("/").status == 200


def test_the_last_modified_second_is_not_rounded_up(client, folder):
    os.utime(folder / "small.txt", ns=(0, 1_000_000_000_999_999_999))
    got = client.get("/small.txt")
    assert got.headers["Last-Modified"] == "Sun, 09 Sep 2001 01:46:40 GMT"


@pytest.mark.parametrize(
    "value",
    [
        "Sun, 09 Sep 2001 01:46:40 +0000", "Sun, 09 Sep 2001 01:46:40 CET", "1000000000", "x", "",
        "Fri, 31 Dec 99999 23:59:59 GMT", "Sun, 99 Sep 2001 01:46:40 GMT",
        "Sun, 09 Sep 2001 01:46:40 GMT, Sun, 09 Sep 2001 01:46:40 GMT",
        "Sun, 09 Sep 99999999999999999999 01:46:40 GMT", "Sun, 09 Sep 2001 01:46:40 +9999999999",
    ],
)  # fmt: skip
def test_a_conditional_date_that_is_not_a_date_is_ignored(client, folder, value):
    os.utime(folder / "small.txt", (10**9 - 5, 10**9 - 5))
    for name in ("If-Modified-Since", "If-Unmodified-Since"):
        assert client.get("/small.txt", f"{name}: {value}").status == 200
    assert client.get("/small.txt", "Range: bytes=0-1", f"If-Range: {value}").status == 200
    duplicate = "If-Modified-Since: Sun, 09 Sep 2001 01:46:40 GMT"
    assert client.get("/small.txt", duplicate).status == 304
    assert client.get("/small.txt", duplicate, duplicate).status == 200


def test_a_file_from_the_future_is_never_newer_than_the_response(client, folder):
    """Compressed on request or not, the conditions are evaluated with the time that is sent."""
    os.utime(folder / "small.txt", (2**33, 2**33))
    for header in ("X-Other: 1", "Accept-Encoding: gzip"):
        got = client.get("/small.txt", header)
        assert got.status == 200
        modified, date = (
            parsedate_to_datetime(got.headers[name]) for name in ("Last-Modified", "Date")
        )
        assert modified <= date
        later = "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT"
        assert client.get("/small.txt", header, later).status == 304
        earlier = "If-Modified-Since: Sun, 09 Sep 2001 01:46:40 GMT"
        assert client.get("/small.txt", header, earlier).body == got.body


@pytest.mark.parametrize(("sends_files", "most"), [(True, 64 * 1024), (False, 256 * 1024)])
def test_bodies_up_to_a_size_are_read_before_they_are_sent(tmp_path, sends_files, most):
    responder = FileResponder(DocumentRoot(tmp_path))
    request = Request("GET", b"/file", "1.1", {}, keep_alive=True)
    for size in (most, most + 1):
        (tmp_path / "file").write_bytes(b"x" * size)
        opened = responder.root.open([b"file"])
        response = responder.reply(request, [b"file"], opened, sends_files=sends_files)
        assert response.length == size
        assert isinstance(response.body, bytes) is (size == most)
        changing = responder.root.open([b"file"])
        response = responder.reply(
            request, [b"file"], changing, sends_files=sends_files, at_rest=False
        )
        assert isinstance(response.body, bytes) is (size == most)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="no /proc shows what is open")
def test_descriptors_of_files_that_are_not_sent_are_closed(folder):
    responder = FileResponder(DocumentRoot(folder))
    (folder / "small.txt.gz").write_bytes(b"old")
    os.utime(folder / "small.txt.gz", (0, 0))
    (folder / "small.txt.br").mkdir()
    request = Request("GET", b"/small.txt", "1.1", {"accept-encoding": "gzip, br"}, keep_alive=True)
    before = len(os.listdir("/proc/self/fd"))
    opened = responder.root.open([b"small.txt"])
    response = responder.reply(request, [b"small.txt"], opened, sends_files=True)
    assert dict(response.headers)["Content-Encoding"] == "br"
    assert len(os.listdir("/proc/self/fd")) == before


class TestCompressedBodies:
    """What the responder compresses where, and what it keeps."""

    @pytest.fixture
    def respond(self, folder, monkeypatch):
        responder = FileResponder(DocumentRoot(folder))
        monkeypatch.setattr("stretta.http.server.file_stamp.YOUNG", -10.0)
        monkeypatch.setattr("stretta.http.server.file_stamp.YOUNG_COARSE", -10.0)

        def respond(size=2000):
            (folder / "file.txt").write_bytes(b"a" * size)
            request = Request("GET", b"/", "1.1", {"accept-encoding": "gzip"}, keep_alive=True)
            opened = responder.root.open([b"file.txt"])
            return responder.reply(request, [b"file.txt"], opened, sends_files=True)

        respond.cache = responder._cache
        respond.responder = responder
        return respond

    def test_small_files_are_compressed_in_the_event_loop(self, respond):
        assert isinstance(respond(16 * 1024), Response)
        in_worker = respond(16 * 1024 + 1)
        assert not isinstance(in_worker, Response)
        in_worker.close()

    def test_the_largest_file_that_is_compressed(self, respond):
        at_most = respond((8 << 20) - 1)
        assert not isinstance(at_most, Response)
        at_most.close()
        assert dict(respond(8 << 20).headers).get("Content-Encoding") is None

    def test_a_compressed_body_is_kept_until_nobody_asks_for_it(self, respond, monkeypatch):
        respond()
        assert respond.cache.size > 0
        respond.responder.drop_idle()
        assert respond.cache.size > 0
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now + 200)
        respond.responder.drop_idle()
        assert respond.cache.size == 0

    def test_the_body_of_a_young_file_is_not_kept(self, respond, monkeypatch):
        monkeypatch.setattr("stretta.http.server.file_stamp.YOUNG", 10.0)
        monkeypatch.setattr("stretta.http.server.file_stamp.YOUNG_COARSE", 10.0)
        assert dict(respond().headers)["Content-Encoding"] == "gzip"
        assert respond.cache.size == 0
