"""File stamps, in Python and compiled: every change of a file is noticed, at any time."""

import os

import pytest

from stretta.http.server import file_stamp
from stretta.http.server.file_stamp import is_young
from stretta.http.server.files.file_version import ANY_FOLDER, FileVersion, entity_tag

SECOND = 10**9
STAMPS = list({file_stamp.in_python, file_stamp.FileStamp})


@pytest.fixture
def path(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    return tmp_path / "file"


def version_of(path):
    return FileVersion.of(os.lstat(path))


def stamp_of(stamp, path, version):
    return stamp(os.fsencode(path), version)


@pytest.mark.parametrize("stamp", STAMPS)
class TestStamps:
    def test_a_file_as_it_was(self, stamp, path):
        assert stamp_of(stamp, path, version_of(path)).is_current() is True

    @pytest.mark.parametrize("field", FileVersion._fields)
    def test_every_field_counts(self, stamp, path, field):
        for step in (1, -1):
            other = version_of(path)
            other = other._replace(**{field: getattr(other, field) + step})
            assert stamp_of(stamp, path, other).is_current() is False

    @pytest.mark.parametrize(
        "seconds", [-(2**31), -1, 0, 2**31, 2**33, 9_223_372_036, 9_223_372_037, 15_032_385_535]
    )
    def test_times_before_1970_and_after_2262(self, stamp, path, seconds):
        os.utime(path, ns=(0, seconds * SECOND + 5))
        version = version_of(path)
        if version.modified != seconds * SECOND + 5:
            pytest.skip("the file system does not store this time")
        assert stamp_of(stamp, path, version).is_current() is True
        later = version._replace(modified=version.modified + SECOND)
        assert stamp_of(stamp, path, later).is_current() is False
        # 2^64 nanoseconds later: equal where only 64 bits are compared
        wrapped = version._replace(modified=version.modified + 2**64)
        assert stamp_of(stamp, path, wrapped).is_current() is False

    def test_a_missing_file(self, stamp, path):
        nothing = stamp_of(stamp, path, None)
        assert nothing.is_current() is False
        file = stamp_of(stamp, path, version_of(path))
        folder = stamp_of(stamp, path, ANY_FOLDER)
        path.unlink()
        assert nothing.is_current() is True
        assert file.is_current() is False
        assert folder.is_current() is False

    def test_a_folder_and_a_link_to_it(self, stamp, path):
        folder, link = path.parent / "folder", path.parent / "link"
        folder.mkdir()
        link.symlink_to("folder")
        assert stamp_of(stamp, folder, ANY_FOLDER).is_current() is True
        (folder / "new").touch()
        assert stamp_of(stamp, folder, ANY_FOLDER).is_current() is True
        assert stamp_of(stamp, link, ANY_FOLDER).is_current() is False
        assert stamp_of(stamp, path, ANY_FOLDER).is_current() is False

    def test_a_link_to_the_file_is_not_the_file(self, stamp, path):
        version = version_of(path)
        path.rename(path.parent / "moved")
        path.symlink_to("moved")
        assert stamp_of(stamp, path, version).is_current() is False


@pytest.mark.parametrize("second", [0, 1, 2, 9])
@pytest.mark.parametrize(("nanoseconds", "margin"), [(250_000_000, 0.1), (0, 2.1)])
def test_the_age_of_a_change(second, nanoseconds, margin):
    seconds = 1_700_000_000 + second
    changed = seconds * SECOND + nanoseconds
    at = seconds + nanoseconds / SECOND
    for version in (
        FileVersion(1, 1, 1, 0, changed),
        FileVersion(1, 1, 1, changed, nanoseconds),
    ):
        assert is_young(version, at + margin - 0.01)
        assert not is_young(version, at + margin + 0.01)
    assert is_young(FileVersion(1, 1, 1, 2 * changed, 1), at)  # of the future


def test_entity_tags_differ_with_every_field():
    version = FileVersion(1, 2, 3, 4, 5)
    tags = {entity_tag(version)}
    for field in version._fields:
        for value in (-1, 0, 9, 2**63, 2**64 - 1, 2**65):
            tags.add(entity_tag(version._replace(**{field: value})))
    assert len(tags) == 1 + 5 * 6
    assert all(len(tag) == 18 and tag.isalnum() for tag in tags)
