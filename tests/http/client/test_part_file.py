"""Files of a download: the name that the response gives, the part and its metadata."""

import errno
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stretta.errors import OutputError
from stretta.http.client.part_file import PartFile, download_name, is_special_file, resolve_link
from stretta.http.client.resume import PartMetadata
from stretta.http.message.headers import Headers
from stretta.http.message.url import parse_url

URL = parse_url("http://a.example/dir/file.txt?x=y")


def named(disposition, url=URL):
    return download_name(Headers([("Content-Disposition", disposition)]), url)


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('attachment; filename="a b.txt"', "a b.txt"),
        ("attachment; filename=plain", "plain"),
        ("attachment; filename*=UTF-8''perch%C3%A9.txt", "perché.txt"),
        ('attachment; filename="../../etc/passwd"', "passwd"),
        (r'attachment; filename="..\\..\\boot.ini"', "boot.ini"),
        ('attachment; filename="/etc/shadow"', "shadow"),
        ('attachment; filename=".bashrc"', "bashrc"),
        ('attachment; filename=".."', "file.txt"),
        ('attachment; filename=""', "file.txt"),
        ('attachment; filename="perch\u00c3\u00a9.txt"', "perché.txt"),
        ('attachment; filename="perch\u00e9.txt"', "perché.txt"),
        ("inline", "file.txt"),
        ("attachment; filename*=nonsense''%ff", "file.txt"),
        ("attachment; filename=a; filename*=UTF-8''b", "b"),
        ("attachment; filename*=UTF-8''b; filename=a", "b"),
        ("attachment; filename*=utf-8'it'b%20c", "b c"),
        ("attachment; filename*=iso-8859-1''perch%E9", "perché"),
        ("attachment; filename*=UTF-8''%ff; filename=a", "a"),
        ("attachment; filename*=UTF-8'b; filename=a", "a"),
        ("attachment; FileName = a ; x=y", "a"),
        ("attachment; filename=a; filename=b", "a"),
        (r'attachment; filename="a\"b;c=d"', 'a"b;c=d'),
        ('attachment; x="; filename=no"; filename=yes', "yes"),
        ("attachment;" + ";" * 9000 + "filename=a", "file.txt"),
        ("attachment; filename=" + "a" * 300 + ".txt", "a" * 196 + ".txt"),
        ('attachment; filename="a\x1b[31m\x9b\u202eb"', "a[31mb"),
    ],
)
def test_content_disposition_names_a_file_and_no_way_out(disposition, name):
    assert named(disposition) == name


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://a.example/", "index.html"),
        ("http://a.example/x/", "index.html"),
        ("http://a.example/%2e%2e%2fetc%2fpasswd", "passwd"),
        ("http://a.example/a%00b%0a", "ab"),
        ("http://a.example/x.txt#y", "x.txt"),
    ],
)
def test_a_url_names_a_file(url, name):
    assert download_name(Headers(), parse_url(url)) == name


@given(st.text())
def test_no_name_leaves_the_folder(text):
    for name in (named(f'attachment; filename="{text}"'), named(f"attachment; filename*={text}")):
        assert name
        assert not {"/", "\\", "\0", "\n", "\x1b"}.intersection(name)
        assert not name.startswith(".")
        assert len(name.encode(errors="replace")) <= 200


@pytest.mark.parametrize(
    "value",
    [
        "attachment" + ";" * 100_000,
        "attachment; filename=" + "(" * 100_000,
        "attachment; filename=" + '"' * 100_000,
        'attachment; filename="' + "\\" * 100_001,
        "attachment; a=" * 10_000,
        "attachment; filename*" + "*0=a; filename*" * 5_000,
    ],
)
def test_a_field_of_any_length_costs_one_look(value):
    assert named(value) == "file.txt"


# parts


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


METADATA = PartMetadata(url="http://a/", etag='"1"', size=10)


def test_a_part_keeps_its_metadata_until_it_is_complete(folder):
    part = PartFile(folder / "x")
    descriptor = part.open(0)
    os.write(descriptor, b"ciao")
    os.close(descriptor)
    part.save_metadata(METADATA)
    assert part.load_metadata() == METADATA
    assert stat.S_IMODE((folder / "x.part.json").stat().st_mode) == 0o600
    assert PartFile(folder / "y").load_metadata() is None
    part.replace_target()
    assert [(path.name, path.read_bytes()) for path in folder.iterdir()] == [("x", b"ciao")]


@pytest.mark.parametrize(
    "text",
    ["", "nonsense", "[]", "{}", '{"url": 1}', '{"url": "a", "size": "x"}', '{"url": "a", "b": 1}',
     "[" * 100_000, '{"url": "a", "etag": null}', "\udcff"],
)  # fmt: skip
def test_damaged_metadata_is_ignored(folder, text):
    (folder / "x.part.json").write_bytes(text.encode(errors="surrogateescape"))
    assert PartFile(folder / "x").load_metadata() is None


def test_a_part_is_opened_where_it_continues(folder):
    (folder / "x.part").write_bytes(b"ciaociao")
    part = PartFile(folder / "x")
    descriptor = part.open(4)
    os.write(descriptor, b"!")
    with pytest.raises(OutputError, match="another download is writing it"):
        part.open(0)
    os.close(descriptor)
    assert (folder / "x.part").read_bytes() == b"ciao!"
    part.save_metadata(METADATA)
    part.remove()
    part.remove()
    assert list(folder.iterdir()) == []


def test_a_part_is_as_private_as_the_file_that_it_replaces(folder):
    (folder / "x").touch(mode=0o600)
    (folder / "x.part").touch(mode=0o644)
    os.close(PartFile(folder / "x").open(0))
    assert stat.S_IMODE((folder / "x.part").stat().st_mode) == 0o600


def test_a_link_in_place_of_a_part_is_not_followed(folder):
    (folder / "victim").write_text("mine")
    (folder / "x.part").symlink_to("victim")
    with pytest.raises(OSError, match="symbolic links"):
        PartFile(folder / "x").open(0)
    assert (folder / "victim").read_text() == "mine"


def test_a_new_part_takes_the_first_name_that_nothing_uses(folder):
    for name in ("x.txt", "x-1.txt.part", "x-2.txt.part.json"):
        (folder / name).touch()
    (folder / "x-3.txt").symlink_to("nowhere")
    part, descriptor = PartFile.create("x.txt")
    assert part.path.name == "x-4.txt.part"
    with pytest.raises(OutputError, match="another download"):
        PartFile(part.target).open(0)
    os.close(descriptor)
    (folder / "x-4.txt").write_text("mine")
    assert part.take_free_name().name == "x-4-1.txt"
    assert (folder / "x-4.txt").read_text() == "mine"
    assert not (folder / "x-4.txt.part").exists()


def test_a_name_is_taken_on_file_systems_without_hard_links(folder, monkeypatch):
    def link(*_):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", link)
    (folder / "x").write_text("mine")
    (folder / "x.part").write_text("new")
    assert PartFile(Path("x")).take_free_name() == Path("x-1")
    assert (folder / "x").read_text() == "mine"
    assert (folder / "x-1").read_text() == "new"


def test_the_newest_part_of_a_url_is_found(folder):
    for name, url, when in (("a", "http://a/", 3), ("b.x", "http://a/", 5), ("c", "http://b/", 9),
                            ("d", "http://a/", 9)):  # fmt: skip
        part = PartFile(Path(name))
        part.save_metadata(PartMetadata(url=url))
        os.utime(f"{name}.part.json", (when, when))
        if name != "d":
            part.path.touch()
    assert PartFile.find("http://a/").target == Path("b.x")
    assert PartFile.find("http://c/") is None


def test_links_and_special_files(folder):
    (folder / "link").symlink_to(folder / "x")
    (folder / "loop").symlink_to("loop")
    os.mkfifo(folder / "fifo")
    (folder / "x").touch()
    assert resolve_link(folder / "link") == folder / "x"
    assert resolve_link(Path("x")) == Path("x")
    with pytest.raises(OSError, match="symbolic links"):
        resolve_link(folder / "loop").stat()
    special = {name: is_special_file(folder / name) for name in ("fifo", "x", "missing", "link")}
    assert special == {"fifo": True, "x": False, "missing": False, "link": False}
