"""Replies that are ready: the same bytes asked for again get the same answer, if nothing changed.

The key is a request's head, byte for byte, so that nothing about it need be parsed again. Whether
the files are still as they were is asked of the file system each time.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from stretta.http.server.access_log import LOGGED
from stretta.http.server.file_stamp import FileStamp, is_young
from stretta.http.server.files.file_body import FileBody
from stretta.http.server.files.file_version import ANY_FOLDER
from stretta.http.server.request_parser import Request
from stretta.http.server.response import Response, head

if TYPE_CHECKING:
    from stretta.http.server.server import HttpServer

__all__ = ["CachedResponse", "ResponseCache"]

LONGEST_KEY = 4096
LARGEST_BODY = 256 * 1024
MOST_BYTES = 64 << 20
"""Bytes of all ready replies together."""

EACH = 1536
"""Bytes that each takes beside its reply and twice its key, parts of which the log repeats."""

MOST_FILES = 64
"""Files that are kept open, so that their bytes need not be kept."""

AT_ONCE = 1000
"""Open connections below which an event loop learns at once who is ready (libuv: 1024)."""

DATE = "Thu, 01 Jan 1970 00:00:00 GMT"
"""As long as any other."""


class ParentDirectory:
    """A folder on the way to files, looked at once a iteration for all of them."""

    __slots__ = ("__weakref__", "iteration", "validator")

    def __init__(self, path: bytes) -> None:
        self.validator = FileStamp(path, ANY_FOLDER)
        self.iteration = -1


class OpenFileBody:
    """A stretch of a file that is kept open, so that its bytes need not be kept."""

    __slots__ = ("_ends", "_file", "_stretch", "_version", "descriptor", "size", "start")

    def __init__(self, pieces: FileBody, stretch: range) -> None:
        assert pieces.file is not None  # noqa: S101 - for the type checker
        self._file, self._version, self._ends = pieces.file, pieces.version, pieces.record_ends()
        self._stretch = stretch
        self.descriptor, self.start, self.size = pieces.fileno(), stretch.start, len(stretch)

    @property
    def weight(self) -> int:
        """The bytes it takes."""
        return sum(map(len, self._ends))

    def after(self, sent: int) -> FileBody:
        """Return what is left when so many bytes have been sent."""
        return FileBody(self._file, [self._stretch[sent:]], self._version, self._ends)


class CachedResponse:
    """One reply: ``out``, then ``size`` bytes from ``start`` on of a file, if it is the ``body``.

    It can be sent as it is in the event loop's ``iteration``.
    """

    __slots__ = (
        "_date_at",
        "body",
        "checked",
        "date",
        "iteration",
        "keep_alive",
        "out",
        "request",
        "size",
        "status",
        "used",
        "validators",
        "ways",
    )  # fmt: skip

    def __init__(self, request: Request, reply: Response, connection: str) -> None:
        self.status, self.keep_alive = reply.status, request.keep_alive
        headers = {name: value for name, value in request.headers.items() if name in LOGGED}
        self.request = replace(request, headers=headers, body=b"")
        self.date = DATE
        self.out = head(reply, DATE, connection)
        self._date_at = self.out.index(DATE.encode())
        self.body: OpenFileBody | None = None
        self.size = 0
        if request.method != "HEAD" and reply.has_body:
            self.size = reply.length or 0
            if isinstance(reply.body, bytes):
                self.out += reply.body
            elif isinstance(reply.body, FileBody) and (only := reply.body.single_range) is not None:
                self.body = OpenFileBody(reply.body, only)
        self.ways: tuple[ParentDirectory, ...] = ()
        self.validators: tuple[FileStamp, ...] = ()
        self.iteration = self.checked = -1
        self.used = True

    @property
    def weight(self) -> int:
        """The bytes it takes, about."""
        return EACH + len(self.out) + (0 if self.body is None else self.body.weight)

    def renew(self, date: str) -> None:
        """Let it say this date."""
        self.date = date
        out, at = self.out, self._date_at  # what waits to be sent goes on saying its own
        self.out = b"".join((out[:at], date.encode(), out[at + len(DATE) :]))


class ResponseCache(dict[bytes, CachedResponse]):
    """Replies by the request's bytes; the oldest go when there are too many.

    ``most`` requests of one connection can be answered without a further look at its limits;
    ``repeated`` have been, and are counted at the end of the ``iteration``.
    """

    __slots__ = (
        "_bytes",
        "_date",
        "_files",
        "_in_iteration",
        "_ways",
        "iteration",
        "most",
        "repeated",
    )

    def __init__(self, most: int) -> None:
        super().__init__()
        self.iteration = self.repeated = 0
        self.most = most
        self._bytes = 0
        self._in_iteration, self._date = False, DATE
        self._ways: WeakValueDictionary[bytes, ParentDirectory] = WeakValueDictionary()
        self._files: dict[bytes, CachedResponse] = {}

    def revalidate(self, ready: CachedResponse, server: HttpServer) -> bool:
        """Return whether a response is still valid; stat its files once per event-loop iteration.

        With AT_ONCE or more open connections every request stats them.
        """
        by_iteration = len(server.open) < AT_ONCE
        if ready.checked == self.iteration and by_iteration:
            return True
        for way in ready.ways:
            if way.iteration != self.iteration or not by_iteration:
                if not way.validator.is_current():
                    return False
                if by_iteration:
                    way.iteration = self.iteration
        for validator in ready.validators:
            if not validator.is_current():
                return False
        ready.used = True
        if not self._in_iteration:
            self._in_iteration, self._date = True, server.clock.date()
            asyncio.get_running_loop().call_soon(self.begin_iteration, server)
        if ready.date is not self._date:
            ready.renew(self._date)
        if by_iteration:
            ready.checked = self.iteration
            if ready.keep_alive and server.access is None:
                ready.iteration = self.iteration
        return True

    def begin_iteration(self, server: HttpServer) -> None:
        """Trust nothing any more that was seen so far."""
        self._in_iteration = False
        self.iteration += 1
        server.counts["requests"] += self.repeated
        self.repeated = 0

    def keep(self, key: bytes, request: Request, reply: Response, connection: str) -> None:
        """Keep a reply, if it is small or a file, and its files have been at rest for a moment."""
        body = reply.body
        if isinstance(body, bytes):
            if len(body) > LARGEST_BODY:
                return
        elif not isinstance(body, FileBody) or body.single_range is None:
            return
        depends, now = reply.depends or (), time.time()
        if len(key) > LONGEST_KEY or any(
            version is not None and is_young(version, now) for _, version in depends
        ):
            return
        self.drop(key)
        ready = self[key] = CachedResponse(request, reply, connection)
        ready.ways = tuple(self._way(path) for path, version in depends if version is ANY_FOLDER)
        ready.validators = tuple(
            FileStamp(path, version) for path, version in depends if version is not ANY_FOLDER
        )
        self._bytes += ready.weight + 2 * len(key)
        if ready.body is not None:
            self._files[key] = ready
            if len(self._files) > MOST_FILES:
                self.drop(next(iter(self._files)))
        while self._bytes > MOST_BYTES:
            self.drop(next(iter(self)))

    def _way(self, path: bytes) -> ParentDirectory:
        way = self._ways.get(path)
        if way is None:
            way = self._ways[path] = ParentDirectory(path)
        return way

    def tick(self) -> None:
        """Close the files that nobody has asked for since the last time: they may be deleted."""
        for key, ready in list(self._files.items()):
            if not ready.used:
                self.drop(key)
            ready.used = False

    def drop(self, key: bytes) -> None:
        """Forget a reply."""
        ready = self.pop(key, None)
        self._files.pop(key, None)
        if ready is not None:
            self._bytes -= ready.weight + 2 * len(key)

    def drop_all(self) -> None:
        """Forget every reply, and close what is open."""
        self.clear()
        self._files.clear()
        self._bytes = 0
