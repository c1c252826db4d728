"""Files in memory, by descriptor: nothing needs a writable folder, and nothing is left behind."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os

from stretta.lab.unavailable import os_error

__all__ = ["memory_file", "read_memory_file"]

FIRST_DESCRIPTOR = 200
"""Programs inherit the descriptors that strace writes to; they get numbers from here on."""


def memory_file(stack: contextlib.ExitStack, name: str) -> int:
    """Return the descriptor of a new file in memory, closed with the stack (memfd_create(2)).

    Raises LabUnavailable.
    """
    try:
        made = os.memfd_create(name)
        try:
            number = fcntl.fcntl(made, fcntl.F_DUPFD_CLOEXEC, FIRST_DESCRIPTOR)
        finally:
            os.close(made)
    except OSError as error:
        if error.errno == errno.EINVAL:  # fcntl(2): the limit is below FIRST_DESCRIPTOR
            error = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        raise os_error("no file in memory", error, what="cannot record") from error
    stack.callback(os.close, number)
    return number


def read_memory_file(descriptor: int) -> bytes:
    """Return the whole content of a file in memory."""
    with open(descriptor, "rb", closefd=False) as file:
        file.seek(0)
        return file.read()
