"""File bodies: which bytes are sent, and how a change of the file is noticed."""

import os
import time
from itertools import pairwise

import pytest

from stretta.http.server.files import file_body
from stretta.http.server.files.file_body import (
    END_SIZE,
    HELD_BACK,
    MAX_CHUNK,
    MIN_CHUNK,
    SENDFILE_STEP,
    FileBody,
    FileChanged,
    OpenFile,
)
from stretta.http.server.files.file_version import FileVersion

SIZE = 3 * SENDFILE_STEP + 5
OLD = 10**9


class File:
    """A file on disk and an open descriptor of it."""

    def __init__(self, path, content, *, old=True):
        self.path, self.content = path, content
        path.write_bytes(content)
        if old:
            os.utime(path, (OLD, OLD))
        self.open = OpenFile(os.open(path, os.O_RDONLY))

    @property
    def version(self):
        return FileVersion.of(os.fstat(self.open.fileno()))

    def body(self, *parts):
        return FileBody(self.open, parts or [range(len(self.content))], self.version)

    def overwrite(self, content):
        with open(self.path, "r+b") as file:
            file.write(content)


@pytest.fixture
def small(tmp_path):
    return File(tmp_path / "small", os.urandom(1000))


@pytest.fixture
def large(tmp_path):
    return File(tmp_path / "large", os.urandom(SIZE))


@pytest.fixture
def never_young(monkeypatch):
    monkeypatch.setattr(file_body, "is_young", lambda *_: False)


@pytest.fixture
def always_young(monkeypatch):
    monkeypatch.setattr(file_body, "is_young", lambda *_: True)


def chunks(body):
    while True:
        try:
            yield bytes(next(body))
        except StopIteration:
            return


def test_a_descriptor_is_closed_with_its_last_reference(tmp_path):
    (tmp_path / "file").touch()
    descriptor = os.open(tmp_path / "file", os.O_RDONLY)
    file = OpenFile(descriptor)
    assert file.fileno() == descriptor
    del file
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


@pytest.mark.usefixtures("never_young")
class TestReading:
    def test_the_parts_in_their_order(self, small):
        body = small.body(range(10, 20), b"-", range(3), b"--")
        expected = small.content[10:20] + b"-" + small.content[:3] + b"--"
        assert body.read_all() == expected
        assert b"".join(chunks(small.body(range(10, 20), b"-", range(3), b"--"))) == expected

    def test_a_truncated_file(self, small):
        body = small.body()
        os.truncate(small.path, 999)
        assert body.read_now() == small.content[:999]
        with pytest.raises(FileChanged, match="while it was read"):
            body.read_all()
        with pytest.raises(FileChanged, match="while it was sent"):
            list(chunks(small.body(range(1000))))

    def test_a_short_reading_is_noticed_even_if_the_version_is_the_same(self, small, monkeypatch):
        monkeypatch.setattr(FileBody, "_check_version", lambda _: None)
        body = small.body()
        os.truncate(small.path, 999)
        with pytest.raises(FileChanged):
            body.read_all()

    def test_another_version(self, small):
        body = small.body()
        os.utime(small.path, (OLD + 1, OLD + 1))
        with pytest.raises(FileChanged):
            body.read_all()

    def test_chunks_grow_while_the_kernel_takes_them_whole_and_shrink_otherwise(self, large):
        body, sizes = large.body(), []
        for whole in (True,) * 6 + (False,) * 6:
            sizes.append(len(next(body)))
            body.taken(whole=whole)
        growing = [MIN_CHUNK << power for power in range(5)] + [MAX_CHUNK] * 2
        shrinking = [MAX_CHUNK >> power for power in range(1, 5)] + [MIN_CHUNK]
        assert sizes == growing + shrinking

    def test_chunks_share_a_buffer(self, large):
        body = large.body()
        first, second = next(body), next(body)
        assert first.obj is second.obj
        body.taken(whole=False)  # a slow reader does not keep a buffer
        assert next(body).obj is not second.obj

    def test_a_closed_body_releases_the_file(self, small):
        body = small.body()
        assert body.file is small.open
        assert body.fileno() == small.open.fileno()
        body.close()
        assert body.file is None

    def test_a_single_range(self, small):
        assert small.body(range(5)).single_range == range(5)
        assert small.body(b"-").single_range is None
        assert small.body(range(5), b"-").single_range is None


@pytest.mark.usefixtures("always_young")
class TestYoungFiles:
    def test_are_read_twice(self, small, monkeypatch):
        read, times = os.pread, []

        def pread(*arguments):
            times.append(arguments)
            return read(*arguments)

        monkeypatch.setattr(os, "pread", pread)
        assert small.body().read_all() == small.content
        assert len(times) == 2

    def test_half_written_content_is_noticed(self, small, monkeypatch):
        """The writer set the times before the file was opened, and writes between the readings."""
        body, read = small.body(), os.pread

        def pread_and_write(*arguments):
            found = read(*arguments)
            small.overwrite(b"x" * 500)
            os.utime(small.path, (OLD, OLD))
            return found

        monkeypatch.setattr(os, "pread", pread_and_write)
        monkeypatch.setattr(FileBody, "_check_version", lambda _: None)
        with pytest.raises(FileChanged):
            body.read_all()

    def test_a_change_after_the_second_reading_is_noticed(self, small, monkeypatch):
        body, read, times = small.body(), os.pread, []

        def pread(*arguments):
            times.append(arguments)
            if len(times) == 2:
                os.utime(small.path, (OLD + 1, OLD + 1))
            return read(*arguments)

        monkeypatch.setattr(os, "pread", pread)
        with pytest.raises(FileChanged):
            body.read_all()


def test_the_age_is_that_of_the_version(small, monkeypatch):
    asked = []
    monkeypatch.setattr(file_body, "is_young", lambda *given: asked.append(given))
    body = small.body()
    body.read_all()
    ((version, now),) = asked
    assert version == body.version
    assert abs(now - time.time()) < 60


def ranges(body):
    while (found := body.take_range()) is not None:
        yield found


@pytest.mark.usefixtures("never_young")
class TestSendfile:
    def test_ranges_cover_the_file_in_steps_and_hold_back_the_end(self, large):
        found = list(ranges(large.body()))
        assert [len(part) for part in found] == [
            SENDFILE_STEP, SENDFILE_STEP, SENDFILE_STEP + 5 - HELD_BACK, HELD_BACK,
        ]  # fmt: skip
        assert found[0].start == 0
        assert all(one.stop == other.start for one, other in pairwise(found))
        assert found[-1].stop == SIZE

    def test_bytes_between_ranges_are_chunks(self, large):
        body = large.body(b"a", range(100), b"b", range(50), b"c")
        assert body.take_range() is None
        assert next(body) == b"a"
        assert body.take_range() == range(100)
        assert next(body) == b"b"
        assert body.take_range() == range(50)
        assert next(body) == b"c"
        assert body.take_range() is None
        with pytest.raises(StopIteration):
            next(body)

    def test_a_range_before_another_one_holds_nothing_back(self, large):
        body = large.body(range(2 * HELD_BACK), range(10))
        assert body.take_range() == range(2 * HELD_BACK)

    def test_an_overwritten_file_is_noticed_before_its_end(self, large):
        body = large.body()
        assert [len(body.take_range()) for _ in range(3)]
        large.overwrite(b"x")
        with pytest.raises(FileChanged, match="while it was sent"):
            body.take_range()

    def test_an_overwritten_file_is_noticed_before_the_last_chunk(self, large):
        body = large.body(range(MIN_CHUNK + 1))
        next(body)
        large.overwrite(b"x")
        with pytest.raises(FileChanged, match="while it was sent"):
            next(body)

    def test_chunks_before_the_last_one_are_not_checked(self, large):
        body = large.body(range(3 * MIN_CHUNK))
        large.overwrite(b"x")
        assert len(next(body)) == MIN_CHUNK
        assert len(next(body)) == MIN_CHUNK
        with pytest.raises(FileChanged):
            next(body)


@pytest.mark.usefixtures("never_young")
class TestGrowth:
    """A longer file is the same version if it begins and ends as before."""

    def grow(self, file, content):
        body = file.body()
        ends = body.record_ends()
        assert ends == (file.content[:END_SIZE], file.content[-END_SIZE:])
        file.path.write_bytes(content)
        return list(chunks(body))

    def test_an_appended_file_is_sent_as_promised(self, large):
        assert b"".join(self.grow(large, large.content + b"more")) == large.content

    @pytest.mark.parametrize("at", [0, END_SIZE - 1, SIZE - END_SIZE, SIZE - 1])
    def test_a_longer_file_with_other_ends_is_another(self, large, at):
        other = bytearray(large.content + b"more")
        other[at] ^= 1
        with pytest.raises(FileChanged):
            self.grow(large, bytes(other))

    def test_a_file_of_the_same_size_is_another(self, large):
        with pytest.raises(FileChanged):
            self.grow(large, large.content)

    def test_without_recorded_ends_a_longer_file_is_another(self, large):
        body = large.body()
        large.path.write_bytes(large.content + b"more")
        with pytest.raises(FileChanged):
            list(chunks(body))

    def test_ends_are_recorded_of_the_version_only(self, large):
        body = large.body()
        large.overwrite(b"x")
        with pytest.raises(FileChanged, match="while it was read"):
            body.record_ends()
        assert body.record_ends(checked=False) == (
            b"x" + large.content[1:END_SIZE],
            large.content[-END_SIZE:],
        )

    def test_ends_are_recorded_once(self, large):
        body = large.body()
        ends = body.record_ends()
        large.overwrite(b"x")
        assert body.record_ends() is ends

    def test_an_append_that_has_set_the_time_but_not_the_size_is_waited_for(
        self, large, monkeypatch
    ):
        body = large.body()
        body.record_ends()
        now = FileVersion.of(os.fstat(large.open.fileno()))
        seen = []
        stat = os.fstat

        class HalfAppended:
            st_mtime_ns, st_size = now.modified + 1, now.size

        def fstat(descriptor):
            seen.append(descriptor)
            return HalfAppended if len(seen) == 1 else stat(descriptor)

        with open(large.path, "ab") as file:
            file.write(b"more")
        monkeypatch.setattr(os, "fstat", fstat)
        assert b"".join(chunks(body)) == large.content
        assert len(seen) == 2
