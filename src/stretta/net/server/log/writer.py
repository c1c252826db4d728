"""Log output that never blocks: a full pipe or a stopped terminal delays no connection.

The file descriptor is opened anew where the system allows it (/proc/self/fd), so that O_NONBLOCK
applies to this process alone and not to all that share the terminal or the pipe.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
import stat
import time
from contextlib import suppress

from stretta.net.server.log.buffer import LogBuffer

__all__ = ["LogWriter", "flush_all", "write_error"]

LIMIT = 1024 * 1024
"""Bytes kept while nothing can be written."""

PIPE_BUF = 4096
"""Bytes that a pipe takes as a whole or not at all (pipe(7)): lines of workers do not mix."""

LAST_FLUSH = 1.0
"""Seconds that the end of a process waits for a slow reader of its log."""

_writers: dict[int, LogWriter] = {}


class LogWriter:
    """Writes text to a file descriptor without blocking; what has to wait is bounded by LIMIT."""

    def __init__(self, descriptor: int) -> None:
        self._buffer = LogBuffer(LIMIT)
        self._watching = False
        self._socket: socket.socket | None = None
        mode = os.fstat(descriptor).st_mode
        self._piece = PIPE_BUF if stat.S_ISFIFO(mode) else LIMIT
        self._file = self._given = descriptor
        if stat.S_ISSOCK(mode):
            self._socket = socket.socket(fileno=os.dup(descriptor))
        elif stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
            with suppress(OSError):  # no /proc, or another user's terminal
                flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
                self._file = os.open(f"/proc/self/fd/{descriptor}", flags)
        _writers[descriptor] = self
        os.register_at_fork(after_in_child=self._buffer.clear)  # the parent writes what it holds

    def write(self, text: str) -> None:
        """Write text, now or later. Raises OSError when the descriptor cannot be written."""
        self._buffer.add(text.encode("utf-8", "backslashreplace"))
        self.flush()

    def flush(self) -> bool:
        """Write what can be written at once; return whether nothing is left. Raises OSError."""
        buffer = self._buffer
        while buffer:
            piece = buffer.peek(self._piece)
            try:
                buffer.advance(self._write(piece))
            except (BlockingIOError, InterruptedError):
                self._watch()
                return False
            except OSError:
                buffer.clear()
                raise
        return True

    def close(self, timeout: float) -> None:
        """Wait up to ``timeout`` seconds until everything is written."""
        end = time.monotonic() + timeout
        with suppress(OSError):
            while not self.flush() and (left := end - time.monotonic()) > 0:
                poll = select.poll()
                poll.register(self._file, select.POLLOUT)
                poll.poll(left * 1000)

    def _write(self, piece: bytes) -> int:
        if self._socket is not None:
            return self._socket.send(piece, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        if self._file == self._given and self._piece == PIPE_BUF:  # it may block: ask before
            poll = select.poll()
            poll.register(self._file, select.POLLOUT)
            if not poll.poll(0):
                raise BlockingIOError
        return os.write(self._file, piece)

    def _watch(self) -> None:
        """Flush as soon as the descriptor can be written, where an event loop runs."""
        if self._watching:
            return
        with suppress(RuntimeError, OSError):  # no event loop, or one that cannot watch it
            loop = asyncio.get_running_loop()
            loop.add_writer(self._file, self._on_writable, loop)
            self._watching = True

    def _on_writable(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            done = self.flush()
        except OSError:
            done = True
        if done:
            loop.remove_writer(self._file)
            self._watching = False


def write_error(text: str) -> None:
    """Write text to standard error without blocking; drop it where that fails."""
    with suppress(OSError):
        (_writers.get(2) or LogWriter(2)).write(text)


def flush_all() -> None:
    """Give the readers of all logs a last moment to read what is left."""
    for writer in _writers.values():
        writer.close(LAST_FLUSH)
