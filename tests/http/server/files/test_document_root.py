"""Confinement on a real file system: nothing outside the root is opened."""

import errno
import os
import threading
from pathlib import Path

import pytest

from stretta.errors import CannotServe
from stretta.http.server.files.document_root import DocumentRoot


@pytest.fixture
def tree(tmp_path):
    """A folder with files, next to one with a secret."""
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    (outside / "deep").mkdir(parents=True)
    (inside / "deep" / "er").mkdir(parents=True)
    (outside / "secret").write_bytes(b"secret")
    (outside / "deep" / "secret").write_bytes(b"secret")
    (inside / "file").write_bytes(b"file")
    (inside / "deep" / "file").write_bytes(b"deep file")
    (inside / ".env").write_bytes(b"hidden")
    return inside


def contents(root, *names):
    with root.opened([os.fsencode(name) for name in names]) as opened:
        if opened.is_folder:
            return sorted(os.listdir(opened.descriptor))
        return os.read(opened.descriptor, 100)


def link(path, target):
    path.symlink_to(target)
    return path.name


def test_files_and_folders_within_the_root_are_opened(tree):
    root = DocumentRoot(tree)
    assert contents(root, "file") == b"file"
    assert contents(root, "deep", "file") == b"deep file"
    assert contents(root, "deep") == ["er", "file"]
    assert "deep" in contents(root)


def test_links_within_the_root_are_followed(tree):
    root = DocumentRoot(tree)
    link(tree / "relative", "deep/file")
    link(tree / "absolute", tree / "deep" / "file")
    link(tree / "deep" / "er" / "up", "../../file")
    link(tree / "to_folder", "deep/er/..")
    link(tree / "around", "deep/er/../../deep/./er/../file")
    link(tree / "itself", ".")
    for name in ("relative", "absolute", "around"):
        assert contents(root, name) == b"deep file"
    assert contents(root, "deep", "er", "up") == b"file"
    assert contents(root, "to_folder", "file") == b"deep file"
    assert contents(root, "itself", "itself", "file") == b"file"


def test_links_out_of_the_root_are_not_followed(tree):
    root = DocumentRoot(tree)
    links = {
        "relative": "../outside/secret",
        "absolute": tree.parent / "outside" / "secret",
        "folder": "../outside",
        "through": "deep/../../outside/secret",
        "twice": "relative",
        "proc": "/proc/self/environ",
        "round": "../inside/file",  # leaves the root and comes back
    }
    for name, target in links.items():
        link(tree / name, target)
        with pytest.raises(FileNotFoundError):
            contents(root, name)
    with pytest.raises(FileNotFoundError):
        contents(root, "folder", "secret")
    with pytest.raises(FileNotFoundError):
        contents(root, "..", "outside", "secret")


def test_loops_and_long_chains_of_links_end(tree):
    link(tree / "a", "b")
    link(tree / "b", "a")
    with pytest.raises(FileNotFoundError):
        contents(DocumentRoot(tree), "a")


def test_devices_sockets_and_missing_files_are_not_opened(tree):
    os.mkfifo(tree / "fifo")
    import socket  # noqa: PLC0415

    with socket.socket(socket.AF_UNIX) as sock:
        os.chdir(tree)  # a socket's path is short
        sock.bind("socket")
        for name in ("fifo", "socket", "missing", "file/x"):
            with pytest.raises(FileNotFoundError):
                contents(DocumentRoot(tree), *name.split("/"))


def test_hidden_names_are_opened_only_with_the_option(tree):
    with pytest.raises(FileNotFoundError):
        contents(DocumentRoot(tree), ".env")
    assert contents(DocumentRoot(tree, hidden=True), ".env") == b"hidden"


def test_links_to_hidden_names_are_not_followed(tree):
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
def test_a_name_is_one_path_component(tree, name):
    with pytest.raises(FileNotFoundError):
        contents(DocumentRoot(tree, hidden=True), name)


def test_a_replaced_root_is_opened_anew(tree):
    root = DocumentRoot(tree)
    tree.rename(tree.parent / "old")
    with pytest.raises(FileNotFoundError):
        contents(root, "file")
    tree.mkdir()
    (tree / "file").write_bytes(b"new")
    assert contents(root, "file") == b"new"


def test_the_root_may_be_a_link(tree):
    link(tree.parent / "current", "inside")
    root = DocumentRoot(tree.parent / "current")
    link(tree / "absolute", tree / "file")
    assert contents(root, "absolute") == b"file"


@pytest.mark.parametrize("step", ["file", "folder"])
def test_a_link_swapped_in_during_the_request_is_not_followed(tree, step):
    """A name alternates between a file (or folder) inside and a link to the outside."""
    root, stop = DocumentRoot(tree), threading.Event()
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
                seen[contents(root, *names)] += 1
            except FileNotFoundError:
                seen["nothing"] += 1
    finally:
        stop.set()
        flipping.join()
    assert seen["nothing"]


def test_no_descriptor_is_left_open(tree):
    root = DocumentRoot(tree)
    link(tree / "out", "../outside")
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    for names in (("file",), ("deep", "er"), ("out", "secret"), ("missing",), ("deep", "no", "no")):
        try:
            contents(root, *names)
        except FileNotFoundError:
            continue
    if before is not None:
        assert len(os.listdir("/proc/self/fd")) == before


def swap_before_open(monkeypatch, name, swap):
    """Call ``swap`` once, just before a name is opened: after it was looked at."""
    opens, done = os.open, []

    def swap_and_open(path, flags, *arguments, **more):
        if path == os.fsencode(name) and not done:
            done.append(path)
            swap()
        return opens(path, flags, *arguments, **more)

    monkeypatch.setattr(os, "open", swap_and_open)
    return done


def test_a_file_replaced_by_a_link_before_it_is_opened(tree, monkeypatch):
    def swap():
        (tree / "file").unlink()
        link(tree / "file", "../outside/secret")

    done = swap_before_open(monkeypatch, "file", swap)
    with pytest.raises(FileNotFoundError):
        contents(DocumentRoot(tree), "file")
    assert done


def test_a_folder_replaced_by_a_link_before_it_is_opened(tree, monkeypatch):
    def swap():
        (tree / "deep").rename(tree / "moved")
        link(tree / "deep", "../outside/deep")

    done = swap_before_open(monkeypatch, "deep", swap)
    with pytest.raises(FileNotFoundError):
        contents(DocumentRoot(tree), "deep", "secret")
    assert done


def test_a_file_replaced_by_a_fifo_before_it_is_opened(tree, monkeypatch):
    def swap():
        (tree / "file").unlink()
        os.mkfifo(tree / "file")

    done = swap_before_open(monkeypatch, "file", swap)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(FileNotFoundError):
        contents(DocumentRoot(tree), "file")  # without waiting for a writer
    assert done
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_folder_replaced_by_a_file_before_it_is_opened(tree, monkeypatch):
    def swap():
        (tree / "deep").rename(tree / "moved")
        (tree / "deep").touch()

    done = swap_before_open(monkeypatch, "deep", swap)
    with pytest.raises(FileNotFoundError):
        contents(DocumentRoot(tree), "deep", "file")
    assert done


def test_descriptors_are_not_inherited_by_programs(tree):
    root = DocumentRoot(tree)
    for names in ([b"file"], [b"deep"]):
        with root.opened(names) as opened:
            assert not os.get_inheritable(opened.descriptor)


@pytest.mark.parametrize("count", [1, 40, 41])
def test_as_many_links_as_linux_follows(tree, count):
    for number in range(count - 1):
        link(tree / f"link{number}", f"link{number + 1}")
    link(tree / f"link{count - 1}", "file")
    root = DocumentRoot(tree)
    if count > 40:
        with pytest.raises(FileNotFoundError):
            contents(root, "link0")
    else:
        assert contents(root, "link0") == b"file"
        with root.opened([b"link0"]) as opened:
            assert opened.linked
    with root.opened([b"file"]) as opened:
        assert not opened.linked


@pytest.mark.parametrize("names", [("deep", "..", "file"), (".", "file"), ("", "file"), ("..",)])
def test_dots_and_empty_names_are_not_names(tree, names):
    with pytest.raises(FileNotFoundError):
        contents(DocumentRoot(tree, hidden=True), *names)


def test_a_path_has_a_limited_number_of_names(tree, monkeypatch):
    monkeypatch.setattr("stretta.http.server.files.document_root.MAX_DEPTH", 2)
    root = DocumentRoot(tree)
    assert contents(root, "deep", "file") == b"deep file"
    with pytest.raises(FileNotFoundError):
        contents(root, "deep", "er", "file")
    with pytest.raises(FileNotFoundError, match="too many names"):
        root.open([b"deep", b"er", b"file"])


def test_paths():
    root = DocumentRoot("/srv/site")
    assert root.path_of([b"a", b"b"]) == b"/srv/site/a/b"
    assert root.path_of([]) == b"/srv/site"
    assert root.parents_of([b"a", b"b", b"c"]) == [b"/srv/site/a", b"/srv/site/a/b"]
    assert root.parents_of([b"a"]) == []
    assert root.is_hidden([b"a", b".b"])
    assert root.is_hidden([b".a", b"b"])
    assert not root.is_hidden([b"a.b", b"c"])
    assert not DocumentRoot("/srv/site", hidden=True).is_hidden([b".a"])


def test_a_root_that_cannot_be_served(tree, monkeypatch):
    DocumentRoot(tree).check()
    for path in (tree / "missing", tree / "file"):
        with pytest.raises(CannotServe, match="there is no such folder"):
            DocumentRoot(path).check()
    for refused in (os.R_OK, os.X_OK):
        monkeypatch.setattr(os, "access", lambda _, mode, refused=refused: not mode & refused)
        with pytest.raises(CannotServe, match="permission denied"):
            DocumentRoot(tree).check()


def test_without_descriptors_a_file_is_not_reported_as_missing(tree, monkeypatch):
    for number in (errno.EMFILE, errno.ENFILE, errno.ENOENT):

        def fail(*_, number=number, **__):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "stat", fail)
        expected = FileNotFoundError if number == errno.ENOENT else OSError
        with pytest.raises(expected) as caught:
            DocumentRoot(tree).open([b"file"])
        assert isinstance(caught.value, FileNotFoundError) is (number == errno.ENOENT)
