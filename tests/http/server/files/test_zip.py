"""ZIP files of folders: readable by other programs, bounded in memory and in number."""

import io
import subprocess
import tracemalloc
import zipfile

import pytest
from http_raw import Raw

from stretta import http as stretta_http
from stretta.http.server import file_handler
from stretta.http.server.files.document_root import DocumentRoot
from stretta.http.server.files.zip import ZipBody
from stretta.http.server.files.zip_records import (
    MAX_16,
    MAX_32,
    central_record,
    data_descriptor,
    dos_time,
    end_records,
    local_header,
)
from support import serving, until


def chunks(body):
    while True:
        try:
            yield next(body)
        except StopIteration:
            return


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "sub" / "empty").mkdir(parents=True)
    (tmp_path / "file.txt").write_bytes(b"ciao\n")
    (tmp_path / "sub" / "perché").write_bytes(b"x" * 700_000)
    (tmp_path / "nothing").touch()
    return tmp_path


def test_unzip_accepts_the_file(folder, tmp_path_factory):
    archive = tmp_path_factory.mktemp("zip") / "a.zip"
    archive.write_bytes(b"".join(chunks(ZipBody(DocumentRoot(folder), ()))))
    tested = subprocess.run(["unzip", "-t", archive], capture_output=True, text=True, check=False)
    assert (tested.returncode, tested.stderr) == (0, "")
    assert "No errors detected" in tested.stdout
    with zipfile.ZipFile(archive) as opened:
        assert opened.getinfo("sub/empty/").is_dir()
        assert opened.read("sub/perché") == b"x" * 700_000
        assert opened.getinfo("file.txt").date_time[0] >= 2024


def test_memory_does_not_grow_with_the_number_of_files(tmp_path):
    for number in range(6000):
        (tmp_path / f"a file with quite a long name {number}").touch()
    body = ZipBody(DocumentRoot(tmp_path), ())
    tracemalloc.start()
    try:
        size = sum(map(len, chunks(body)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        body.close()
    assert size > 6000 * 100
    assert peak < 1_000_000


@pytest.mark.parametrize("limit", ["MAX_ZIPS", "MAX_ZIPS_OF_SOURCE"])
def test_the_number_of_zip_files_under_way_is_bounded(folder, monkeypatch, limit):
    monkeypatch.setattr(file_handler, limit, 2)
    with open(folder / "large", "wb") as large:
        large.truncate(64 << 20)
    with serving(stretta_http.serve(folder)) as server:
        clients = [Raw(server.port, SO_RCVBUF=4096) for _ in range(2)]
        for client in clients:
            client.send(b"GET /?format=zip HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.file.readline() == b"HTTP/1.1 200 OK\r\n"
        with Raw(server.port) as raw:
            refused = raw.get("/?format=zip")
            assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
            clients[0].sock.close()  # abandoned
            clients[0].file.close()
            until(lambda: raw.get("/?format=zip", method="HEAD").status == 200)
            assert raw.get("/?format=zip", method="HEAD").status == 200  # a HEAD takes no place
        clients[1].sock.close()


def test_a_body_gives_its_place_back_once(folder):
    closed = []
    body = ZipBody(DocumentRoot(folder), (), lambda: closed.append(1))
    next(body)
    body.close()
    body.close()
    assert closed == [1]
    ZipBody(DocumentRoot(folder), (), lambda: closed.append(2))  # dropped without close()
    assert closed == [1, 2]


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ((1979, 12, 31, 23, 59, 58), (1980, 1, 1, 0, 0, 0)),
        ((1980, 1, 1, 0, 0, 0), (1980, 1, 1, 0, 0, 0)),
        ((2026, 11, 25, 17, 31, 59), (2026, 11, 25, 17, 31, 58)),
        ((2107, 12, 31, 23, 59, 59), (2107, 12, 31, 23, 59, 58)),
        ((2108, 1, 1, 0, 0, 0), (2107, 12, 31, 23, 59, 58)),
    ],
)
def test_times(moment, expected):
    time = dos_time(moment)
    found = read(central_record(b"a", time, is_folder=False, checksum=0, size=0, offset=0))
    assert found[0].date_time == expected


def read(directory, offset=0, members=1):
    """Let zipfile read a central directory."""
    whole = directory + end_records(members, len(directory), 0)
    return zipfile.ZipFile(io.BytesIO(whole)).infolist()


@pytest.mark.parametrize("size", [0, 1, MAX_32 - 1, MAX_32, MAX_32 + 1, 1 << 45])
@pytest.mark.parametrize("offset", [0, MAX_32 - 1, MAX_32, 1 << 45])
def test_large_members_have_zip64_records(size, offset):
    record = central_record(
        "à".encode(), (0, 33), is_folder=False, checksum=7, size=size, offset=offset
    )
    (found,) = read(record)
    assert (found.filename, found.CRC, found.file_size, found.compress_size) == ("à", 7, size, size)
    assert found.header_offset == offset
    assert found.flag_bits == 0x808
    assert not found.is_dir()


def test_a_large_member_has_a_descriptor_of_64_bits():
    assert len(data_descriptor(1, 2, is_large=True)) == 24
    assert len(data_descriptor(1, 2, is_large=False)) == 16
    large = local_header(b"a", (0, 33), is_folder=False, is_large=True)
    assert large[18:26] == b"\xff" * 8
    assert large[30:35] == b"a\x01\x00\x10\x00"


def test_many_members_have_zip64_end_records():
    record = central_record(b"a", (0, 33), is_folder=False, checksum=0, size=0, offset=0)
    for members in (MAX_16 - 1, MAX_16, MAX_16 + 1):
        assert len(read(record * members, members=members)) == members
