"""Resuming against servers that changed or lie: a file is complete only if that was proved."""

import gzip
import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest

from canned import canned
from stretta import http
from stretta.errors import InvalidReply, OutputError, ReplyEndedEarly, StrettaError, UsageError
from stretta.http.client.download import RESTARTED, UNVERIFIED, Download
from stretta.http.client.resume import PartMetadata
from stretta.http.message.url import parse_url
from stretta.options.http_client import HttpClientLimits, HttpRoute
from support import until

BODY = b"0123456789"
NEW = b"abcdefghijkl"


class NoProgress:
    def __init__(self, total, done):
        pass

    def show(self, done):
        pass

    def end(self):
        pass


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def reply(status, body=b"", **fields):
    lines = [b"HTTP/1.1 %d X" % status]
    fields = {"content_length": len(body), **fields}
    lines += [
        f"{name.replace('_', '-')}: {value}".encode()
        for name, value in fields.items()
        if value is not None
    ]
    return b"\r\n".join([*lines, b"", body])


def part(first, last, total, body=None, **fields):
    body = BODY[first : last + 1] if body is None else body
    return reply(206, body, content_range=f"bytes {first}-{last}/{total}", **fields)


def gone(total, **fields):
    return reply(416, content_range=f"bytes */{total}", **fields)


def resume(answer, have, *, path="x", **metadata):
    """Resume a part of ``have`` bytes; return what the download says, or the error."""
    with canned(answer) as server, http.Client(route=HttpRoute(proxy="")) as client:
        url = parse_url(server.url)
        Path("x.part").write_bytes(BODY[:have])
        if metadata:
            saved = PartMetadata(**{"url": str(url), **metadata})
            Path("x.part.json").write_text(json.dumps(asdict(saved)))
        try:
            download = Download(Path(path), url=url, resume=True, progress=NoProgress)
            request = client.make_request("GET", url, download.fields())
            with client.send(request) as stream:
                if download.complete_if_whole(stream.head):
                    return f"complete {download.note}".strip()
                if stream.head.status not in {200, 206}:
                    return f"status {stream.head.status}"
                download.save(stream)
                return f"saved {download.note}".strip()
        except StrettaError as error:
            return type(error)


TAG = {"etag": '"1"'}
DATE = {"last_modified": "Sun, 06 Nov 1994 08:49:37 GMT"}
KNOWN = {**TAG, "size": 10}

TABLE = {
    # what was saved, what the server answers, the outcome, FILE and FILE.part afterwards
    "the rest": (4, KNOWN, part(4, 9, 10, etag='"1"'), "saved", BODY, None),
    "the rest, by date": (4, {**DATE, "size": 10}, part(4, 9, 10, **DATE), "saved", BODY, None),
    "the rest, size unknown before": (4, TAG, part(4, 9, 10, **TAG), "saved", BODY, None),
    "the rest, size unknown now": (4, KNOWN, part(4, 9, "*", **TAG), "saved", BODY, None),
    "the rest, tag withheld": (4, KNOWN, part(4, 9, 10), f"saved {UNVERIFIED}", BODY, None),
    "the rest, same weak tag": (
        4, {"etag": 'W/"1"'}, part(4, 9, 10, etag='W/"1"'), f"saved {UNVERIFIED}", BODY, None),
    "the rest, size never known": (4, TAG, part(4, 9, "*"), ReplyEndedEarly, None, BODY),
    "the rest, no validator": (4, {"size": 10}, part(4, 9, 10), f"saved {UNVERIFIED}", BODY, None),
    "the rest, nothing known": (4, {}, part(4, 9, 10), f"saved {UNVERIFIED}", BODY, None),
    "the rest, weak tag": (4, {"etag": 'W/"1"'}, part(4, 9, 10), f"saved {UNVERIFIED}", BODY, None),
    "some of the rest": (4, KNOWN, part(4, 6, 10), ReplyEndedEarly, None, BODY[:7]),
    "range ignored": (4, KNOWN, reply(200, NEW, etag='"1"'), f"saved {RESTARTED}", NEW, None),
    "changed, sent whole": (4, KNOWN, reply(200, NEW, etag='"2"'), f"saved {RESTARTED}", NEW, None),
    "changed, sent whole, cut": (
        4, KNOWN, reply(200, NEW, content_length=20), ReplyEndedEarly, None, NEW),
    "another tag": (4, KNOWN, part(4, 9, 10, etag='"2"'), InvalidReply, None, BODY[:4]),
    "a weak tag now": (4, KNOWN, part(4, 9, 10, etag='W/"1"'), InvalidReply, None, BODY[:4]),
    "another date": (
        4, {**DATE, "size": 10}, part(4, 9, 10, last_modified="now"), InvalidReply, None, BODY[:4]),
    "grown": (4, KNOWN, part(4, 11, 12, NEW[4:]), InvalidReply, None, BODY[:4]),
    "shrunk": (4, KNOWN, part(4, 7, 8), InvalidReply, None, BODY[:4]),
    "grown, total hidden": (4, KNOWN, part(4, 11, "*", NEW[4:]), InvalidReply, None, BODY[:4]),
    "an earlier range": (4, KNOWN, part(0, 9, 10), InvalidReply, None, BODY[:4]),
    "a later range": (4, KNOWN, part(5, 9, 10), InvalidReply, None, BODY[:4]),
    "no Content-Range": (4, KNOWN, reply(206, BODY[4:]), InvalidReply, None, BODY[:4]),
    "several ranges": (
        4, KNOWN, reply(206, b"--x", content_type="multipart/byteranges; boundary=x"),
        InvalidReply, None, BODY[:4]),
    "a range in reverse": (4, KNOWN, part(4, 3, 10, BODY[4:]), InvalidReply, None, BODY[:4]),
    "a range past the end": (4, KNOWN, part(4, 10, 10, BODY[4:]), InvalidReply, None, BODY[:4]),
    "more than announced": (
        4, KNOWN, part(4, 5, 10, BODY[4:]), InvalidReply, None, BODY[:4]),
    "less than announced": (
        4, KNOWN, part(4, 9, 10, BODY[4:6]), InvalidReply, None, BODY[:4]),
    "cut": (
        4, KNOWN, part(4, 9, 10, BODY[4:6], content_length=6), ReplyEndedEarly, None, BODY[:6]),
    "cut at once": (
        4, KNOWN, part(4, 9, 10, b"", content_length=6), ReplyEndedEarly, None, BODY[:4]),
    "compressed": (
        4, KNOWN, part(4, 9, 10, BODY[4:], content_encoding="gzip"), InvalidReply, None, BODY[:4]),
    "complete": (10, KNOWN, gone(10), "complete", BODY, None),
    "complete, same tag": (10, KNOWN, gone(10, etag='"1"'), "complete", BODY, None),
    "complete, size unknown before": (10, TAG, gone(10), "complete", BODY, None),
    "complete, nothing known": (10, {}, gone(10), f"complete {UNVERIFIED}", BODY, None),
    "complete, a date that was not known": (
        10, KNOWN, gone(10, last_modified="now"), "complete", BODY, None),
    "complete, a tag that was not known": (
        10, {**DATE, "size": 10}, gone(10, etag='"9"'), "complete", BODY, None),
    "complete, same date": (10, {**DATE, "size": 10}, gone(10, **DATE), "complete", BODY, None),
    "416, another tag": (10, KNOWN, gone(10, etag='"2"'), "status 416", None, BODY),
    "416, another date": (
        10, {**DATE, "size": 10}, gone(10, last_modified="now"), "status 416", None, BODY),
    "416, smaller total than recorded": (4, KNOWN, gone(4), "status 416", None, BODY[:4]),
    "416, smaller total": (10, TAG, gone(4), "status 416", None, BODY),
    "416, larger total": (10, TAG, gone(12), "status 416", None, BODY),
    "416, zero total": (4, KNOWN, gone(0), "status 416", None, BODY[:4]),
    "416, no total": (10, KNOWN, reply(416), "status 416", None, BODY),
    "416, strange total": (10, KNOWN, gone("*"), "status 416", None, BODY),
    "404": (4, KNOWN, reply(404), "status 404", None, BODY[:4]),
    "a part of another URL": (
        4, {"url": "http://other/", **TAG}, part(4, 9, 10), UsageError, None, BODY[:4]),
    "a part that was decoded": (
        4, {**TAG, "decoded": True}, reply(200, NEW), f"saved {RESTARTED}", NEW, None),
    "an empty part": (0, KNOWN, reply(200, NEW), "saved", NEW, None),
}  # fmt: skip


@pytest.mark.parametrize(
    ("have", "metadata", "answer", "outcome", "file", "part_file"), TABLE.values(), ids=TABLE
)
def test_a_resumed_download_is_complete_only_if_that_was_proved(
    have, metadata, answer, outcome, file, part_file
):
    assert resume(answer, have, **metadata) == outcome
    for path, expected in (("x", file), ("x.part", part_file)):
        assert (Path(path).read_bytes() if Path(path).exists() else None) == expected
    assert not (file is not None and Path("x.part.json").exists())


def test_a_file_without_a_part_is_resumed_and_never_verified():
    Path("x").write_bytes(BODY[:4])
    with canned(part(4, 9, 10, etag='"1"')) as server, http.Client() as client:
        url = parse_url(server.url)
        download = Download(Path("x"), url=url, resume=True, progress=NoProgress)
        assert download.fields() == [("Range", "bytes=4-")]
        with client.send(client.make_request("GET", url, download.fields())) as stream:
            download.save(stream)
    assert (Path("x").read_bytes(), download.note) == (BODY, UNVERIFIED)


def test_the_hint_after_a_cut(folder):
    with canned(reply(200, BODY[:4], content_length=10)) as server, http.Client() as client:
        url = parse_url(server.url)
        download = Download(Path("x"), url=url, resume=False, progress=NoProgress)
        assert download.resume_hint() == ""
        with client.send(client.make_request("GET", url)) as stream:
            with pytest.raises(ReplyEndedEarly) as caught:
                download.save(stream)
    assert caught.value.hint == "4 bytes are in x.part. To resume: the same command with -c"
    assert download.resume_hint() == caught.value.hint


def test_the_hint_after_the_size_limit():
    limits = HttpClientLimits(max_size=6)
    head = b"HTTP/1.1 200 OK\r\n\r\n"

    def slowly(connection):
        connection.sendall(head + BODY[:4])
        until(lambda: Path("x.part").exists() and Path("x.part").stat().st_size == 4, "the part")
        connection.sendall(BODY[4:])

    with canned(slowly) as server, http.Client(limits=limits) as client:
        url = parse_url(server.url)
        download = Download(Path("x"), url=url, resume=False, progress=NoProgress)
        with client.send(client.make_request("GET", url)) as stream:
            with pytest.raises(ReplyEndedEarly) as caught:
                download.save(stream)
    assert caught.value.hint == (
        "Allow more with --max-size BYTES. 4 bytes are in x.part."
        " To resume: the same command with -c and a larger --max-size"
    )


def test_nothing_is_left_of_a_body_of_which_nothing_came(folder):
    with canned(reply(200, b"", content_length=10)) as server, http.Client() as client:
        url = parse_url(server.url)
        download = Download(Path("x"), url=url, resume=False, progress=NoProgress)
        with client.send(client.make_request("GET", url)) as stream:
            with pytest.raises(ReplyEndedEarly, match="Try again"):
                download.save(stream)
    assert list(folder.iterdir()) == []


def test_the_parts_of_an_interrupted_restart_belong_to_the_new_version():
    """The metadata of the new version is saved with the bytes of the new version."""
    cut = reply(200, NEW[:6], etag='"2"', content_length=12)
    assert resume(cut, 4, **KNOWN) == ReplyEndedEarly
    saved = json.loads(Path("x.part.json").read_text())
    assert (saved["etag"], saved["size"], Path("x.part").read_bytes()) == ('"2"', 12, NEW[:6])


def download_of(answer, path=None, *, resume=False, progress=NoProgress, limits=None, headers=()):
    """Do what -O does, or -o with a path; return the download and how it ended."""
    with canned(answer) as server:
        with http.Client(route=HttpRoute(proxy=""), limits=limits) as client:
            url = parse_url(server.url + "dir/name.txt")
            download = Download(path, url=url, resume=resume, progress=progress)
            fields = [*download.fields(), *headers]
            with client.send(client.make_request("GET", url, fields)) as stream:
                try:
                    if download.complete_if_whole(stream.head):
                        return download, "complete"
                    download.save(stream)
                except StrettaError as error:
                    return download, error
    return download, "saved"


def save_metadata(**fields):
    """Write the metadata of a part of the URL that ``download_of`` requests at that port."""
    Path("x.part.json").write_text(json.dumps(asdict(PartMetadata(**fields))))


def test_a_name_from_the_url_or_the_server_replaces_no_file(folder):
    Path("name.txt").write_text("mine")
    download, end = download_of(reply(200, BODY))
    assert (end, download.path, download.done) == ("saved", Path("name-1.txt"), 10)
    named = reply(200, BODY, content_disposition="attachment; filename=other")
    assert download_of(named)[0].path == Path("other")
    assert Path("name.txt").read_text() == "mine"
    assert sorted(path.name for path in folder.iterdir()) == ["name-1.txt", "name.txt", "other"]


def test_a_file_of_that_name_is_resumed_by_name_only():
    Path("name.txt").write_bytes(BODY[:4])
    download, error = download_of(part(4, 9, 10), resume=True)
    assert download.fields() == [("Range", "bytes=4-")]
    assert (type(error), error.what) == (InvalidReply, "cannot resume name.txt")
    assert "-c -o name.txt" in error.hint
    download, end = download_of(gone(4), resume=True)
    assert (end, download.path, download.done, download.note) == (
        "complete", Path("name.txt"), 4, UNVERIFIED)  # fmt: skip
    assert download_of(reply(200, NEW), resume=True)[0].path == Path("name-1.txt")
    assert Path("name.txt").read_bytes() == BODY[:4]


def test_a_part_with_another_name_is_found_by_its_url():
    def answer(connection):
        connection.sendall(part(4, 9, 10, etag='"1"'))

    with canned(answer) as server, http.Client(route=HttpRoute(proxy="")) as client:
        url = parse_url(server.url + "dir/name.txt")
        Path("x.part").write_bytes(BODY[:4])
        save_metadata(url=str(url), etag='"1"', size=10)
        download = Download(None, url=url, resume=True, progress=NoProgress)
        assert download.fields() == [("Range", "bytes=4-"), ("If-Range", '"1"')]
        with client.send(client.make_request("GET", url, download.fields())) as stream:
            download.save(stream)
    assert (download.path, Path("x").read_bytes(), download.note) == (Path("x"), BODY, "")


def test_without_resume_a_part_is_replaced(folder):
    Path("x.part").write_bytes(BODY[:4])
    save_metadata(url="http://other/", etag='"1"', size=10)
    download, end = download_of(reply(200, NEW), Path("x"))
    assert (end, download.fields(), download.note) == ("saved", [], "")
    assert [(path.name, path.read_bytes()) for path in folder.iterdir()] == [("x", NEW)]


def test_a_range_that_was_not_requested_is_refused():
    error = download_of(part(0, 3, 10), Path("x"))[1]
    assert (type(error), "without being asked" in error.why) == (InvalidReply, True)
    asked = download_of(part(0, 3, 10), Path("x"), headers=[("Range", "bytes=0-3")])
    assert (asked[1], Path("x").read_bytes()) == ("saved", BODY[:4])


def test_a_pipe_is_written_and_never_renamed_or_resumed(folder):
    os.mkfifo("fifo")
    reader = os.open("fifo", os.O_RDONLY | os.O_NONBLOCK)
    try:
        download, end = download_of(reply(200, BODY), Path("fifo"), resume=True)
        assert (end, download.fields(), os.read(reader, 99)) == ("saved", [], BODY)
    finally:
        os.close(reader)
    assert [path.name for path in folder.iterdir()] == ["fifo"]


def test_the_size_limit_counts_the_bytes_that_were_saved_before():
    Path("x").write_bytes(BODY[:4])
    limits = HttpClientLimits(max_size=9)
    error = download_of(part(4, 9, 10), Path("x"), resume=True, limits=limits)[1]
    assert "10 bytes arrived, and 9 is the limit" in error.why
    assert Path("x.part").read_bytes() == BODY[:4]


@pytest.mark.parametrize(
    ("answer", "have", "total", "shown"),
    [
        (reply(200, BODY), 0, 10, [10]),
        (part(4, 9, 10), 4, 10, [10]),
        (b"HTTP/1.1 200 OK\r\n\r\n" + BODY, 0, None, [10]),
        (reply(200, gzip.compress(BODY, mtime=0), content_encoding="gzip"), 0, 30, [30]),
    ],
)
def test_the_progress_of_a_download(answer, have, total, shown):
    seen = []

    class Progress(NoProgress):
        def __init__(self, total, done):
            seen.append((total, done))

        def show(self, done):
            seen.append(done)

        def end(self):
            seen.append("end")

    if have:
        Path("x").write_bytes(BODY[:have])
    assert download_of(answer, Path("x"), resume=bool(have), progress=Progress)[1] == "saved"
    assert seen == [(total, have), *shown, "end"]


@pytest.mark.parametrize("path", ["missing/x", "folder"])
@pytest.mark.parametrize("resume", [True, False])
def test_a_path_that_cannot_be_written(path, resume):
    Path("folder").mkdir()
    error = download_of(reply(200, BODY), Path(path), resume=resume)[1]
    assert (type(error), error.what) == (OutputError, f"cannot write {path}")
    assert error.why in {"no such file or directory", "is a directory"}
    assert error.hint == "Choose another place: -o FILE"
