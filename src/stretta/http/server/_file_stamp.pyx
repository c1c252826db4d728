# cython: language_level=3
"""The compiled twin of ``file_stamp.py``: one lstat(2), and no Python object for its result."""

from posix.stat cimport S_ISDIR, lstat, struct_stat

from stretta.http.server.files.file_version import ANY_FOLDER

__all__ = ["FileStamp"]

cdef extern from "<sys/stat.h>" nogil:
    struct timespec:
        long long tv_sec
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
    FOLDER
    FILE_VERSION

cdef struct Time:  # 64 bits of nanoseconds would end in the year 2262
    long long seconds
    long nanoseconds


cdef class FileStamp:
    """A path and the version that was there: of a file, ANY_FOLDER, or None for nothing."""

    cdef bytes path
    cdef Kind kind
    cdef unsigned long long device, inode
    cdef long long size
    cdef Time modified, changed

    def __init__(self, bytes path, version):
        self.path = path
        self.kind = NOTHING if version is None else FOLDER if version is ANY_FOLDER else FILE_VERSION
        if self.kind == FILE_VERSION:
            self.device, self.inode, self.size, modified, changed = version
            self.modified.seconds, self.modified.nanoseconds = divmod(modified, 10**9)
            self.changed.seconds, self.changed.nanoseconds = divmod(changed, 10**9)

    def is_current(self):
        """Return whether the path still holds the version; a symbolic link there never does."""
        cdef struct_stat now
        if lstat(self.path, &now):
            return self.kind == NOTHING
        if self.kind == FOLDER:
            return bool(S_ISDIR(now.st_mode))
        return (
            self.kind == FILE_VERSION
            and is_equal(MODIFIED(now), self.modified)
            and is_equal(CHANGED(now), self.changed)
            and <long long>now.st_size == self.size
            and <unsigned long long>now.st_ino == self.inode
            and <unsigned long long>now.st_dev == self.device
        )


cdef inline bint is_equal(timespec now, Time known) noexcept nogil:
    return <long long>now.tv_sec == known.seconds and now.tv_nsec == known.nanoseconds
