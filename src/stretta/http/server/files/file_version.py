"""The version of a file: the facts from stat(2) that change when the file changes. Pure."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import os

__all__ = ["ANY_FOLDER", "FileVersion", "entity_tag"]


class FileVersion(NamedTuple):
    """The file's identity, its size in bytes, its modification and change times in nanoseconds."""

    device: int
    inode: int
    size: int
    modified: int
    changed: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileVersion:
        """Return the version that a stat(2) saw."""
        return cls(
            status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
        )


ANY_FOLDER = FileVersion(0, 0, 0, 0, 0)
"""Matches every folder, and no symbolic link to one."""


def entity_tag(version: FileVersion) -> str:
    """Return the strong entity tag of a version, without its quotes (RFC 9110 section 8.8.3).

    It covers the inode, the size and both times in nanoseconds: a file that is replaced by another
    of the same size and modification time gets another tag.
    """
    packed = b"".join(number.to_bytes(12, "little", signed=True) for number in version)
    return blake2b(packed, digest_size=9).hexdigest()
