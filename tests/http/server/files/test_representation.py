"""Representations through a real server: entity tags, ranges, content codings, freshness."""

import email
import gzip
import http.client
import os
import time
import zlib

import brotli
import pytest
from http_raw import Raw
from hypothesis import given, settings
from hypothesis import strategies as st

from stretta import http as stretta_http
from stretta.http.server.file_stamp import YOUNG
from stretta.http.server.files.file_body import (
    MAX_COPIED_WITHOUT_SENDFILE,
    FileBody,
    FileChanged,
    OpenFile,
)
from stretta.http.server.files.file_version import FileVersion
from stretta.http.server.worker_pool import Overloaded, WorkerPool
from stretta.options import SiteOptions
from support import serving, until

TEXT = b"Nel mezzo del cammin di nostra vita\n" * 200
LARGE = os.urandom(2 * MAX_COPIED_WITHOUT_SENDFILE + 99)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("files")
    (path / "canto.txt").write_bytes(TEXT)
    (path / "large.bin").write_bytes(LARGE)
    (path / "digits").write_bytes(b"0123456789")
    (path / "photo.jpg").write_bytes(TEXT)
    (path / "empty.txt").write_bytes(b"")
    return path


@pytest.fixture(scope="module")
def server(folder):
    with serving(stretta_http.serve(folder)) as running:
        yield running


@pytest.fixture
def client(server):
    with Raw(server.port) as raw:
        yield raw


def test_conditional_requests(client):
    got = client.get("/canto.txt")
    tag = got.headers["ETag"]
    assert tag.startswith('"')
    again = client.get("/canto.txt", f"If-None-Match: {tag}")
    assert (again.status, again.body) == (304, b"")
    assert again.headers["ETag"] == tag
    assert again.headers["Vary"] == "Accept-Encoding"
    assert "Content-Length" not in again.headers
    assert client.get("/canto.txt", 'If-Match: "other"').status == 412
    assert client.get("/canto.txt", f"If-None-Match: {tag}", method="HEAD").status == 304


def test_one_range(client):
    got = client.get("/digits", "Range: bytes=2-4")
    assert (got.status, got.body) == (206, b"234")
    assert got.headers["Content-Range"] == "bytes 2-4/10"
    assert client.get("/digits", "Range: bytes=-3").body == b"789"
    assert client.get("/digits", "Range: bytes=9-").body == b"9"
    assert client.get("/digits", "Range: bytes=2-4", method="HEAD").status == 200
    whole = client.get("/digits", "Range: lines=1-2")
    assert (whole.status, whole.headers["Accept-Ranges"]) == (200, "bytes")


def test_an_unsatisfiable_range(client):
    got = client.get("/digits", "Range: bytes=10-")
    assert (got.status, got.headers["Content-Range"]) == (416, "bytes */10")
    tag = client.get("/digits").headers["ETag"]
    assert client.get("/digits", "Range: bytes=10-", f"If-None-Match: {tag}").status == 304


def parts_of(answer):
    head = f"Content-Type: {answer.headers['Content-Type']}\r\n\r\n".encode("latin-1")
    message = email.message_from_bytes(head + answer.body)
    return [(p["Content-Range"], p.get_payload(decode=True)) for p in message.get_payload()]


def test_several_ranges(client):
    got = client.get("/digits", "Range: bytes=7-8,0-1,99-")
    assert got.status == 206
    assert parts_of(got) == [("bytes 7-8/10", b"78"), ("bytes 0-1/10", b"01")]
    assert "Content-Range" not in got.headers
    half = len(LARGE) // 2
    got = client.get("/large.bin", f"Range: bytes={half}-,0-{half - 2}")  # more than one chunk
    assert [part[0] for part in parts_of(got)] == [
        f"bytes {half}-{len(LARGE) - 1}/{len(LARGE)}",
        f"bytes 0-{half - 2}/{len(LARGE)}",
    ]
    assert LARGE[half:] in got.body
    assert LARGE[: half - 1] in got.body
    assert client.get("/digits", "Range: bytes=" + "0-0," * 1000).body == b"0123456789"


def test_if_range(client, folder):
    os.utime(folder / "digits", (10**9, 10**9))  # a date proves nothing before its second is over
    got = client.get("/digits")
    for value, status in (
        (got.headers["ETag"], 206),
        (got.headers["Last-Modified"], 206),
        ('"old"', 200),
        (f"W/{got.headers['ETag']}", 200),
        ("Sat, 01 Jan 2000 00:00:00 GMT", 200),
    ):
        assert client.get("/digits", "Range: bytes=0-1", f"If-Range: {value}").status == status


@settings(max_examples=60, deadline=None)
@given(start=st.integers(0, len(LARGE) - 1), length=st.integers(1, len(LARGE)))
def test_every_range_gives_exactly_its_bytes(server, start, length):
    with Raw(server.port) as raw:
        got = raw.get("/large.bin", f"Range: bytes={start}-{start + length - 1}")
    assert got.body == LARGE[start : start + length]


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        ("gzip", "gzip"), ("br", "br"), ("gzip, br", "br"), ("gzip;q=1, br;q=0.5", "gzip"),
        ("*", "br"), ("identity", None), ("gzip;q=0", None), ("compress", None), ("", None),
        ("identity;q=1, gzip;q=0.5", None), ("GZIP", "gzip"), ("gzip;q=x", None),
    ],
)  # fmt: skip
def test_the_preferred_content_coding(client, accept, coding):
    got = client.get("/canto.txt", f"Accept-Encoding: {accept}")
    plain = {"gzip": gzip.decompress, "br": brotli.decompress, None: bytes}[coding]
    assert got.headers["Content-Encoding"] == coding
    assert plain(got.body) == TEXT
    assert got.headers["Vary"] == "Accept-Encoding"


def test_encoded_files_have_their_own_tags_and_no_ranges(client):
    plain = client.get("/canto.txt").headers["ETag"]
    packed = client.get("/canto.txt", "Accept-Encoding: gzip")
    assert packed.headers["ETag"] != plain
    assert "Accept-Ranges" not in packed.headers
    for tag, status in ((packed.headers["ETag"], 304), (plain, 200)):
        got = client.get("/canto.txt", "Accept-Encoding: gzip", f"If-None-Match: {tag}")
        assert got.status == status
    part = client.get("/canto.txt", "Accept-Encoding: gzip", "Range: bytes=0-2")
    assert (part.status, part.body) == (206, TEXT[:3])
    assert (part.headers["Content-Encoding"], part.headers["ETag"]) == (None, plain)


def test_compressed_formats_and_small_files_are_not_compressed(client):
    for path in ("/photo.jpg", "/digits", "/empty.txt"):
        assert client.get(path, "Accept-Encoding: gzip").headers["Content-Encoding"] is None
    assert client.get("/photo.jpg").headers["Vary"] is None


def test_a_precompressed_file_goes_first_unless_it_is_older(folder, client):
    path, sibling = folder / "ready.css", folder / "ready.css.gz"
    path.write_bytes(TEXT)
    sibling.write_bytes(zlib.compress(b"prepared", wbits=31))
    ask = ("/ready.css", "Accept-Encoding: gzip")
    got = client.get(*ask)
    assert gzip.decompress(got.body) == b"prepared"
    assert got.headers["Content-Type"] == "text/css; charset=utf-8"
    newer = sibling.stat().st_mtime + 5
    os.utime(path, (newer, newer))
    fresh = client.get(*ask)
    assert gzip.decompress(fresh.body) == TEXT
    assert fresh.headers["ETag"] != got.headers["ETag"]
    sibling.unlink()
    sibling.symlink_to("/etc/passwd")
    os.utime(path, (0, 0))
    assert gzip.decompress(client.get(*ask).body) == TEXT  # never a byte from outside
    assert gzip.decompress(client.get("/ready.css", "Accept-Encoding: gzip").body) == TEXT


def test_compression_can_be_turned_off(folder):
    options = SiteOptions(compress=False)
    with serving(stretta_http.serve(folder, options=options)) as server, Raw(server.port) as raw:
        got = raw.get("/canto.txt", "Accept-Encoding: gzip")
        assert got.body == TEXT
        assert got.headers["Vary"] is None


class TestFreshness:
    """A cached response is not used after any change of its files, however small."""

    def test_each_change_is_served_to_the_next_request(self, folder, server, client, monkeypatch):
        monkeypatch.setattr("stretta.http.server.file_stamp.YOUNG", -10.0)
        path = folder / "fresh.txt"
        path.write_bytes(b"one")
        for ask in (("/fresh.txt",), ("/fresh.txt", "Accept-Encoding: gzip")):
            for body in (b"one", b"two", b"longer than before", b""):
                path.write_bytes(body)
                assert [client.get(*ask).body for _ in range(3)] == [body] * 3
        path.write_bytes(b"kept")
        ready = server.cache
        assert client.get("/fresh.txt").body == b"kept"
        assert any(one.request.target == b"/fresh.txt" for one in ready.values())
        # the same size and the same age, but another file
        other = folder / "other"
        other.write_bytes(b"swap")
        age = path.stat()
        os.utime(other, ns=(age.st_atime_ns, age.st_mtime_ns))
        other.replace(path)
        assert client.get("/fresh.txt").body == b"swap"
        path.unlink()
        assert client.get("/fresh.txt").status == 404
        path.symlink_to("/etc/passwd")
        assert client.get("/fresh.txt").status == 404

    def test_a_new_index_or_precompressed_file_is_served_at_once(self, folder, client, monkeypatch):
        monkeypatch.setattr("stretta.http.server.file_stamp.YOUNG", -10.0)
        (folder / "sub").mkdir()
        (folder / "sub" / "index.htm").write_bytes(b"second choice")
        (folder / "page.css").write_bytes(TEXT)
        ask = ("/page.css", "Accept-Encoding: gzip")
        for _ in range(2):
            assert client.get("/sub/").body == b"second choice"
            assert gzip.decompress(client.get(*ask).body) == TEXT
        (folder / "sub" / "index.html").write_bytes(b"first choice")
        (folder / "page.css.gz").write_bytes(zlib.compress(b"prepared", wbits=31))
        for _ in range(2):
            assert client.get("/sub/").body == b"first choice"
            assert gzip.decompress(client.get(*ask).body) == b"prepared"

    def test_a_file_replaced_during_a_transfer_is_sent_in_one_version(self, folder, server):
        path = folder / "swapped.bin"
        path.write_bytes(LARGE)
        with Raw(server.port, SO_RCVBUF=4096) as raw:
            raw.send(b"GET /swapped.bin HTTP/1.1\r\nHost: a\r\n\r\n")
            assert raw.file.readline() == b"HTTP/1.1 200 OK\r\n"
            aside = folder / "aside"
            aside.write_bytes(bytes(len(LARGE)))
            aside.replace(path)
            headers = http.client.parse_headers(raw.file)
            assert raw.file.read(int(headers["Content-Length"])) == LARGE

    def test_a_file_overwritten_during_a_transfer_ends_it_early(self, folder):
        path = folder / "huge"
        with open(path, "wb") as file:
            file.truncate(64 << 20)
        with (
            serving(stretta_http.serve(folder)) as server,
            Raw(server.port, SO_RCVBUF=4096) as raw,
        ):
            raw.send(b"GET /huge HTTP/1.1\r\nHost: a\r\n\r\n")
            assert raw.file.readline() == b"HTTP/1.1 200 OK\r\n"
            with open(path, "r+b") as file:
                file.write(b"overwritten")
            got = 0
            try:
                while chunk := raw.sock.recv(1 << 20):
                    got += len(chunk)
            except ConnectionResetError:
                pass
            assert got < 64 << 20


def test_a_cached_response_answers_equal_requests_only(client, monkeypatch):
    monkeypatch.setattr("stretta.http.server.file_stamp.YOUNG", -10.0)
    for _ in range(2):
        assert client.get("/canto.txt").body == TEXT
        assert client.get("/canto.txt", method="HEAD").body == b""
        assert client.get("/canto.txt", "Accept-Encoding: gzip").body != TEXT
        assert client.get("/canto.txt", "Range: bytes=0-0").body == TEXT[:1]


def test_a_cached_response_closes_the_connection_when_requested(server, monkeypatch):
    monkeypatch.setattr("stretta.http.server.file_stamp.YOUNG", -10.0)
    asked = b"GET /canto.txt HTTP/1.1\r\nHost: closing\r\nConnection: close\r\n\r\n"
    for _ in range(3):
        with Raw(server.port) as raw:
            raw.send(asked)
            got = raw.answer()
            assert (got.body, got.headers["Connection"]) == (TEXT, "close")
            assert raw.rest() == b""
    assert asked in server.cache


def age(path):
    """Make a file old enough for its response to be cached."""
    old = time.time_ns() - 10**10
    os.utime(path, ns=(old, old))
    until(lambda: time.time() - path.stat().st_ctime > 2 * YOUNG)


@pytest.mark.parametrize("accept", ["identity", "gzip"])
def test_a_cached_response_is_not_used_after_its_folder_leads_outside(tmp_path, accept):
    site, outside = tmp_path / "site", tmp_path / "outside"
    (site / "dd" / "ee").mkdir(parents=True)
    outside.mkdir()
    for name in ("a.txt", "index.html"):
        (site / "dd" / "ee" / name).write_text("once inside")
        age(site / "dd" / "ee" / name)
    with serving(stretta_http.serve(site)) as server, Raw(server.port) as client:
        for path in ("/dd/ee/a.txt", "/dd/ee/"):
            for _ in range(2):
                assert client.get(path, f"Accept-Encoding: {accept}").body == b"once inside"
        (site / "dd").rename(outside / "dd")
        (site / "dd").symlink_to("../outside/dd")
        for path in ("/dd/ee/a.txt", "/dd/ee/"):
            assert client.get(path, f"Accept-Encoding: {accept}").status == 404


def test_a_file_behind_a_link_is_looked_up_each_time(tmp_path):
    (tmp_path / "old").write_text("old")
    (tmp_path / "new").write_text("new")
    (tmp_path / "current").symlink_to("old")
    for name in ("old", "new"):
        age(tmp_path / name)
    with serving(stretta_http.serve(tmp_path)) as server, Raw(server.port) as client:
        for _ in range(2):
            assert client.get("/current").body == b"old"
        (tmp_path / "aside").symlink_to("new")
        (tmp_path / "aside").rename(tmp_path / "current")
        assert client.get("/current").body == b"new"


CHANGES = {
    "grown": lambda old: old + b"more",
    "rewritten": lambda old: old[::-1],
    "rewritten longer": lambda old: b"x" * (2 * len(old)),
    "begins otherwise": lambda old: b"x" + old[1:] + b"more",
    "ends otherwise": lambda old: old[:-1] + b"more and more",
}


@pytest.mark.parametrize("parts", ["whole", "several"])
@pytest.mark.parametrize("change", CHANGES)
def test_overwriting_a_file_while_it_is_sent_is_noticed(tmp_path, change, parts):
    path, half = tmp_path / "file", len(LARGE) // 2
    path.write_bytes(LARGE)
    os.utime(path, (10**9, 10**9))
    ranges = [range(len(LARGE))] if parts == "whole" else [range(half), b"-", range(9), b"--"]
    wanted = b"".join(LARGE[s.start : s.stop] if isinstance(s, range) else s for s in ranges)
    descriptor = os.open(path, os.O_RDONLY)
    body = FileBody(OpenFile(descriptor), ranges, FileVersion.of(os.fstat(descriptor)))
    body.record_ends()
    try:
        got = [bytes(next(body))]
        path.write_bytes(CHANGES[change](LARGE))
        with pytest.raises(StopIteration if change == "grown" else FileChanged):
            while True:
                got.append(bytes(next(body)))
    finally:
        body.close()
    assert change != "grown" or b"".join(got) == wanted


class TestCompressionInWorkers:
    TEXT = b"Nel mezzo del cammin di nostra vita\n" * 3000

    @pytest.fixture
    def path(self, folder):
        (folder / "long.txt").write_bytes(self.TEXT)
        return folder / "long.txt"

    def test_a_long_text_is_compressed(self, client, path):
        plain = client.get("/long.txt").headers["ETag"]
        for coding, decode in (("gzip", gzip.decompress), ("br", brotli.decompress)):
            for _ in range(2):
                got = client.get("/long.txt", f"Accept-Encoding: {coding}")
                assert got.headers["Content-Encoding"] == coding
                assert got.headers["ETag"] == f'{plain[:-1]}-{coding}"'
                assert decode(got.body) == self.TEXT

    def test_it_is_compressed_once(self, server, client, path, monkeypatch):
        age(path)
        ask = ("/long.txt", "Accept-Encoding: gzip", "X-Number: 1")
        first = client.get(*ask)

        async def fail(*_, **__):
            raise AssertionError("compressed again")

        monkeypatch.setattr(WorkerPool, "run", fail)
        again = client.get("/long.txt", "Accept-Encoding: gzip", "X-Number: 2")
        assert (again.status, again.body) == (200, first.body)

    def test_when_the_workers_are_busy_it_is_sent_as_it_is(self, client, path, monkeypatch):
        async def refuse(*_, **__):
            raise Overloaded

        monkeypatch.setattr(WorkerPool, "run", refuse)
        got = client.get("/long.txt", "Accept-Encoding: zstd")
        assert (got.status, got.body) == (200, self.TEXT)
        assert got.headers["Content-Encoding"] is None
        assert got.headers["ETag"] == client.get("/long.txt").headers["ETag"]

    def test_a_condition_that_fails_needs_no_compression(self, client, path, monkeypatch):
        monkeypatch.setattr(WorkerPool, "run", None)
        tag = f'{client.get("/long.txt").headers["ETag"][:-1]}-zstd"'
        ask = ("/long.txt", "Accept-Encoding: zstd")
        assert client.get(*ask, f"If-None-Match: {tag}").status == 304
        assert client.get(*ask, 'If-Match: "other"').status == 412

    def test_random_bytes_are_sent_as_they_are(self, client, folder):
        for size in (2000, 50_000):  # in the event loop, in a worker
            (folder / "random.txt").write_bytes(os.urandom(size))
            plain = client.get("/random.txt")
            for number in range(2):
                got = client.get("/random.txt", "Accept-Encoding: br", f"X-Number: {number}")
                assert got.headers["Content-Encoding"] is None
                assert got.headers["ETag"] == plain.headers["ETag"]
                assert got.body == plain.body

    @pytest.mark.parametrize(("size", "compressed"), [(1023, False), (1024, True)])
    def test_the_smallest_file_that_is_compressed(self, client, folder, size, compressed):
        (folder / "size.txt").write_bytes(b"a" * size)
        got = client.get("/size.txt", "Accept-Encoding: gzip")
        assert (got.headers["Content-Encoding"] == "gzip") is compressed


def test_errors_have_the_accepted_type(client):
    for header in ("Range: bytes=10-", 'If-Match: "other"'):
        got = client.get("/digits", header, "Accept: application/json")
        assert got.headers["Content-Type"] == "application/json"
        assert b'"why": "The file ' in got.body


def test_the_parts_of_several_ranges_have_a_boundary_of_their_own(client):
    found = {
        client.get("/digits", "Range: bytes=0-1,3-4", f"X: {number}").headers["Content-Type"]
        for number in range(3)
    }
    assert len(found) == 3
    assert all(len(value.partition("boundary=")[2]) == 24 for value in found)


def test_a_type_that_is_not_known_varies_with_precompressed_files(client, folder):
    """Compression on request needs a known type; a compressed sibling can be sent of any file."""
    assert client.get("/digits").headers["Vary"] == "Accept-Encoding"
    (folder / "unknown").write_bytes(TEXT)
    assert client.get("/unknown", "Accept-Encoding: gzip").headers["Content-Encoding"] is None
    (folder / "unknown.gz").write_bytes(gzip.compress(TEXT, mtime=0))
    got = client.get("/unknown", "Accept-Encoding: gzip")
    assert got.headers["Content-Encoding"] == "gzip"
    assert got.headers["Content-Type"] == "application/octet-stream"
