# cython: language_level=3
"""Whether a path still leads to what was there: one lstat(2), and no object made for its result.

Compiled with Cython where a C compiler is; ``file_stamp.py`` does without it otherwise.
"""

from posix.stat cimport S_ISDIR, lstat, struct_stat

from stretta.http.server.files.file_version import ANY_FOLDER

__all__ = ["FileStamp"]

cdef extern from "<sys/stat.h>" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec

cdef extern from * nogil:
    """
    #define MODIFIED(s) ((s).st_mtim)
    #define CHANGED(s) ((s).st_ctim)
    """
    timespec MODIFIED(struct_stat status)
    timespec CHANGED(struct_stat status)

cdef enum Kind:
    NOTHING
    A_DIRECTORY
    A_FILE


cdef class FileStamp:
    """A path, and what a reply was made from there: a version, a folder, or nothing (None)."""

    cdef bytes path
    cdef Kind kind
    cdef unsigned long long device, inode
    cdef long long size, modified, changed  # times in nanoseconds

    def __init__(self, bytes path, version):
        self.path = path
        self.kind = NOTHING if version is None else A_DIRECTORY if version is ANY_FOLDER else A_FILE
        if self.kind == A_FILE:
            self.device, self.inode, self.size, self.modified, self.changed = version

    def is_current(self):
        """Return whether it is as it was; a link in its place is another thing."""
        cdef struct_stat now
        if lstat(self.path, &now):
            return self.kind == NOTHING
        if self.kind == A_DIRECTORY:
            return bool(S_ISDIR(now.st_mode))
        return (
            self.kind == A_FILE
            and nanoseconds(MODIFIED(now)) == self.modified
            and nanoseconds(CHANGED(now)) == self.changed
            and <long long>now.st_size == self.size
            and <unsigned long long>now.st_ino == self.inode
            and <unsigned long long>now.st_dev == self.device
        )


cdef inline long long nanoseconds(timespec time) noexcept nogil:
    return <long long>time.tv_sec * 1000000000 + time.tv_nsec
