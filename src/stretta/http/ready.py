"""Replies that are ready: the same bytes asked for again get the same answer, if nothing changed.

The key is a request's head, byte for byte, so that nothing about it need be parsed again. Whether
the files are still as they were is asked of the file system each time.
"""

from __future__ import annotations

import asyncio
import os
import stat
import time

from stretta.http.folder import A_FOLDER
from stretta.http.reply import Depends, Reply, head
from stretta.http.request import Request

__all__ = ["AT_ONCE", "Ready", "ReadyReplies"]

LONGEST_KEY = 4096
LARGEST_BODY = 256 * 1024
MOST_BYTES = 64 << 20
"""Bytes of all ready replies together; a body counts twice, as one second's reply is kept whole."""

TOO_YOUNG = 0.1
"""Seconds for which a change is not trusted: the next may bear the same time of the file system."""

AT_ONCE = 1000
"""Open connections below which the event loop learns at once who is ready (libuv: 1024)."""

DATE = "\0"


class Ready:
    """One reply."""

    __slots__ = (
        "_after", "_before", "_date", "_wire", "depends", "request", "size", "status", "turn",
    )  # fmt: skip

    def __init__(self, request: Request, reply: Reply, connection: str, body: bytes) -> None:
        self.request, self.status = request, reply.status
        self.depends: Depends = reply.depends or ()
        self.size = len(body)
        before, after = head(reply, DATE, connection).split(DATE.encode())
        self._before, self._after = before, after + body
        self._date = self._wire = b""
        self.turn = -1  # of the event loop in which it was last found fresh

    @property
    def weight(self) -> int:
        """The bytes it takes."""
        return 2 * (len(self._before) + len(self._after))

    def is_fresh(self) -> bool:
        """Return whether every file it was made from is as it was."""
        for path, version in self.depends:
            try:
                now = os.lstat(path)  # what was reached through a link is not kept
            except OSError:
                if version is not None:
                    return False
                continue
            if version is A_FOLDER:
                if not stat.S_ISDIR(now.st_mode):
                    return False
            elif (
                version is None
                or now.st_mtime_ns != version.modified
                or now.st_ctime_ns != version.changed
                or now.st_size != version.size
                or now.st_ino != version.inode
                or now.st_dev != version.device
            ):
                return False
        return True

    def wire(self, date: str) -> bytes:
        """Return the reply as it goes out at this date; made once a second."""
        stamp = date.encode()
        if stamp != self._date:
            self._date, self._wire = stamp, b"".join((self._before, stamp, self._after))
        return self._wire


class ReadyReplies(dict[bytes, Ready]):
    """Replies by the request's bytes; the oldest go when there are too many."""

    def __init__(self) -> None:
        super().__init__()
        self._bytes = 0
        self.turn = 0
        self._turns = False

    def is_fresh(self, ready: Ready) -> bool:
        """Return whether a reply is still right; the files are asked once a turn of the event loop.

        That is enough: a request that is read in a turn began to arrive before the turn did, and so
        had every change that its sender can know of. Not so where more sockets are ready than the
        event loop asks for at once (AT_ONCE), or where TLS has kept a request for later.
        """
        if ready.turn == self.turn:
            return True
        if not ready.is_fresh():
            return False
        ready.turn = self.turn
        if not self._turns:
            self._turns = True
            asyncio.get_running_loop().call_soon(self._next_turn)
        return True

    def _next_turn(self) -> None:
        self._turns = False
        self.turn += 1

    def keep(self, key: bytes, request: Request, reply: Reply, connection: str) -> None:
        """Keep a reply, if it is small and its files have been at rest for a moment."""
        body = reply.body
        if not isinstance(body, bytes) or len(key) > LONGEST_KEY or len(body) > LARGEST_BODY:
            return
        youngest = (time.time() - TOO_YOUNG) * 1e9
        for _, version in reply.depends or ():
            if version is not None and max(version.modified, version.changed) > youngest:
                return
        self.drop(key)
        sent = body if request.method != "HEAD" and reply.has_body else b""
        ready = self[key] = Ready(request, reply, connection, sent)
        self._bytes += ready.weight + len(key)
        while self._bytes > MOST_BYTES:
            self.drop(next(iter(self)))

    def drop(self, key: bytes) -> None:
        """Forget a reply."""
        ready = self.pop(key, None)
        if ready is not None:
            self._bytes -= ready.weight + len(key)
