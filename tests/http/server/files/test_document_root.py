"""Confinement on a real file system: what lies beneath is opened, and nothing else."""

import os
import threading
from pathlib import Path

import pytest

from stretta.http.server.files.document_root import DocumentRoot


@pytest.fixture
def tree(tmp_path):
    """A folder with files and links, and a secret beside it."""
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    (outside / "deep").mkdir(parents=True)
    (inside / "deep" / "er").mkdir(parents=True)
    (outside / "secret").write_bytes(b"secret")
    (outside / "deep" / "secret").write_bytes(b"secret")
    (inside / "file").write_bytes(b"file")
    (inside / "deep" / "file").write_bytes(b"deep file")
    (inside / ".env").write_bytes(b"hidden")
    return inside


def contents(folder, *names):
    with folder.opened([os.fsencode(name) for name in names]) as opened:
        if opened.is_folder:
            return sorted(os.listdir(opened.descriptor))
        return os.read(opened.descriptor, 100)


def link(path, target):
    path.symlink_to(target)
    return path.name


def test_files_and_folders_beneath_are_opened(tree):
    folder = DocumentRoot(tree)
    assert contents(folder, "file") == b"file"
    assert contents(folder, "deep", "file") == b"deep file"
    assert contents(folder, "deep") == ["er", "file"]
    assert "deep" in contents(folder)


def test_links_that_stay_inside_are_followed(tree):
    folder = DocumentRoot(tree)
    link(tree / "relative", "deep/file")
    link(tree / "absolute", tree / "deep" / "file")
    link(tree / "deep" / "er" / "up", "../../file")
    link(tree / "to_folder", "deep/er/..")
    link(tree / "around", "deep/er/../../deep/./er/../file")
    link(tree / "itself", ".")
    for name in ("relative", "absolute", "around"):
        assert contents(folder, name) == b"deep file"
    assert contents(folder, "deep", "er", "up") == b"file"
    assert contents(folder, "to_folder", "file") == b"deep file"
    assert contents(folder, "itself", "itself", "file") == b"file"


def test_links_that_leave_are_not_followed(tree):
    folder = DocumentRoot(tree)
    links = {
        "relative": "../outside/secret",
        "absolute": tree.parent / "outside" / "secret",
        "folder": "../outside",
        "through": "deep/../../outside/secret",
        "twice": "relative",
        "proc": "/proc/self/environ",
        "round": "../inside/file",  # it comes back, but it leaves
    }
    for name, target in links.items():
        link(tree / name, target)
        with pytest.raises(FileNotFoundError):
            contents(folder, name)
    with pytest.raises(FileNotFoundError):
        contents(folder, "folder", "secret")
    with pytest.raises(FileNotFoundError):
        contents(folder, "..", "outside", "secret")


def test_loops_and_long_chains_of_links_end(tree):
    link(tree / "a", "b")
    link(tree / "b", "a")
    with pytest.raises(FileNotFoundError):
        contents(DocumentRoot(tree), "a")


def test_what_is_no_file_is_not_opened(tree):
    os.mkfifo(tree / "fifo")
    import socket  # noqa: PLC0415

    with socket.socket(socket.AF_UNIX) as sock:
        os.chdir(tree)  # a socket's path is short
        sock.bind("socket")
        for name in ("fifo", "socket", "missing", "file/x"):
            with pytest.raises(FileNotFoundError):
                contents(DocumentRoot(tree), *name.split("/"))


def test_hidden_names_are_seen_only_if_asked(tree):
    with pytest.raises(FileNotFoundError):
        contents(DocumentRoot(tree), ".env")
    assert contents(DocumentRoot(tree, hidden=True), ".env") == b"hidden"


def test_what_is_hidden_is_not_seen_through_a_link_either(tree):
    (tree / ".git").mkdir()
    (tree / ".git" / "config").write_bytes(b"hidden")
    link(tree / "env.txt", ".env")
    link(tree / "pub", ".git")
    link(tree / "config", tree / ".git" / "config")
    for names in (("env.txt",), ("pub",), ("pub", "config"), ("config",)):
        with pytest.raises(FileNotFoundError):
            contents(DocumentRoot(tree), *names)
    assert contents(DocumentRoot(tree, hidden=True), "pub", "config") == b"hidden"


@pytest.mark.parametrize("name", ["deep/file", "deep/../../outside/secret", "..", ".", ""])
def test_a_name_is_one_step(tree, name):
    with pytest.raises(FileNotFoundError):
        contents(DocumentRoot(tree, hidden=True), name)


def test_a_folder_that_is_replaced_is_served_anew(tree):
    folder = DocumentRoot(tree)
    tree.rename(tree.parent / "old")
    with pytest.raises(FileNotFoundError):
        contents(folder, "file")
    tree.mkdir()
    (tree / "file").write_bytes(b"new")
    assert contents(folder, "file") == b"new"


def test_a_served_folder_may_be_a_link_itself(tree):
    link(tree.parent / "current", "inside")
    folder = DocumentRoot(tree.parent / "current")
    link(tree / "absolute", tree / "file")
    assert contents(folder, "absolute") == b"file"


@pytest.mark.parametrize("step", ["file", "folder"])
def test_a_link_that_is_swapped_in_meanwhile_gives_nothing_away(tree, step):
    """A name flips between a file (a folder) inside and a link outside, as fast as it can."""
    folder, stop = DocumentRoot(tree), threading.Event()
    target = tree / "flip"
    honest = tree / "honest"
    if step == "file":
        honest.write_bytes(b"file")
        names, evil = ("flip",), "../outside/secret"
    else:
        honest.mkdir()
        (honest / "secret").write_bytes(b"file")
        names, evil = ("flip", "secret"), "../outside"

    def flip():
        aside = Path(f"{target}.aside")
        while not stop.is_set():
            honest.rename(target)
            target.rename(honest)
            aside.symlink_to(evil)
            aside.rename(target)
            target.unlink()

    flipping = threading.Thread(target=flip)
    flipping.start()
    seen = {"nothing": 0, b"file": 0}
    try:
        for _ in range(3000):
            try:
                seen[contents(folder, *names)] += 1
            except FileNotFoundError:
                seen["nothing"] += 1
    finally:
        stop.set()
        flipping.join()
    assert seen["nothing"]


def test_no_descriptor_is_left_open(tree):
    folder = DocumentRoot(tree)
    link(tree / "out", "../outside")
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    for names in (("file",), ("deep", "er"), ("out", "secret"), ("missing",), ("deep", "no", "no")):
        try:
            contents(folder, *names)
        except FileNotFoundError:
            continue
    if before is not None:
        assert len(os.listdir("/proc/self/fd")) == before
