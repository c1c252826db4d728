"""The response cache: the same request bytes get the same response while its files are unchanged.

The key is the head of a request, byte for byte, so that a hit costs no parsing. An entry holds the
bytes of the response, or an open file, and their sources: the identity, size and times of each file
(FileStamp), the files whose absence mattered, and the folders on the way to them.

Freshness. A response must show every change that was made before its request was sent. Therefore an
entry is revalidated by stat(2), and the result holds for one event-loop iteration only:

- All requests that one iteration reads had arrived in the kernel when epoll_wait(2) returned, or
  arrive while the iteration runs. A request that began to arrive before the iteration's first
  stat(2) cannot expect a change made after it; one that arrives later is read by a later iteration,
  because each socket is read once.
- With MANY_CONNECTIONS or more, epoll_wait(2) reports the sockets of one iteration in several
  batches, and later batches see later requests. Then every request revalidates.
- TLS decrypts records later than the read that delivered them. Those that were sent in between
  start a new iteration (``begin_iteration``) for the same reason.

Races. File systems stamp changes with a coarse clock, so a second change can carry the same times
as the first. A response is stored only if its files have been at rest for longer than that clock's
step (``is_young``). A file behind a symbolic link is never cached, since its path does not identify
it; a folder that is replaced by a link invalidates the entries beneath it.

Dates. An entry keeps a response without its Date, which is filled in once a second. An entry whose
Last-Modified lies after the present, because the clock was set back, is not used: an origin server
must not send a Last-Modified later than its Date (RFC 9110 section 8.8.2.1).

Memory. Entries are evicted oldest first beyond MAX_SIZE bytes; open files are closed after a tick
without a request, so that the space of a deleted file is freed; other entries are dropped after
IDLE_SWEEP to twice IDLE_SWEEP seconds without one.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from stretta.http.server.access_log import LOGGED_HEADERS
from stretta.http.server.file_stamp import FileStamp, is_young
from stretta.http.server.files.file_body import FileBody
from stretta.http.server.files.file_version import ANY_FOLDER
from stretta.http.server.request import Request
from stretta.http.server.response import Response, encode_head

if TYPE_CHECKING:
    from stretta.http.server.server import HttpServer

__all__ = ["CachedResponse", "OpenFileBody", "ResponseCache"]

LONGEST_KEY = 4096
LARGEST_BODY = 256 * 1024
MAX_SIZE = 64 << 20
"""Bytes of all entries together."""

ENTRY_OVERHEAD = 1536
"""Bytes of an entry besides its response and twice its key, parts of which the log repeats."""

MAX_OPEN_FILES = 64
"""Entries that hold an open file instead of its bytes."""

MANY_CONNECTIONS = 1000
"""Open connections from which an iteration may read its sockets in batches (libuv: 1024)."""

IDLE_SWEEP = 120.0
"""Seconds between two sweeps that drop the entries not used in between."""

DATE = "Thu, 01 Jan 1970 00:00:00 GMT"
"""Stands for the Date in a stored response; every date is as long."""


class ParentDirectory:
    """A folder on the way to cached files, checked once an iteration for all of them."""

    __slots__ = ("__weakref__", "iteration", "stamp")

    def __init__(self, path: bytes) -> None:
        self.stamp = FileStamp(path, ANY_FOLDER)
        self.iteration = -1  # in which it was checked last


class OpenFileBody:
    """A byte range of a file that is kept open, so that its bytes need not be stored."""

    __slots__ = ("_ends", "_file", "_range", "_version", "descriptor", "size", "start")

    def __init__(self, body: FileBody, byte_range: range) -> None:
        assert body.file is not None  # noqa: S101 - for the type checker
        self._file, self._version, self._ends = body.file, body.version, body.record_ends()
        self._range = byte_range
        self.descriptor, self.start, self.size = body.fileno(), byte_range.start, len(byte_range)

    @property
    def weight(self) -> int:
        """The memory it takes, in bytes."""
        return sum(map(len, self._ends))

    def after(self, sent: int) -> FileBody:
        """Return a body of the bytes after the first ``sent``."""
        return FileBody(self._file, [self._range[sent:]], self._version, self._ends)


class CachedResponse:
    """One entry: ``payload`` is the head and, unless an open file is the ``body``, the body.

    ``size`` counts the bytes of the body. The entry is valid without a check during ``iteration``.
    """

    __slots__ = (
        "_date_at", "body", "checked", "date", "iteration", "keep_alive", "modified", "parents",
        "payload", "recent", "request", "size", "stamps", "status", "used",
    )  # fmt: skip

    def __init__(self, request: Request, response: Response, connection: str) -> None:
        self.status, self.keep_alive = response.status, request.keep_alive
        headers = {name: value for name, value in request.headers.items() if name in LOGGED_HEADERS}
        self.request = replace(request, headers=headers, body=b"")  # for the access log
        self.modified = response.modified
        self.date = DATE
        self.payload = encode_head(response, DATE, connection)
        self._date_at = self.payload.index(DATE.encode())
        self.body: OpenFileBody | None = None
        self.size = 0
        if request.method != "HEAD" and response.has_body:
            self.size = response.length or 0
            body = response.body
            if isinstance(body, bytes):
                self.payload += body
            elif isinstance(body, FileBody) and (single := body.single_range) is not None:
                self.body = OpenFileBody(body, single)
        self.parents: tuple[ParentDirectory, ...] = ()
        self.stamps: tuple[FileStamp, ...] = ()
        self.iteration = self.checked = -1
        self.used = True  # since the last tick, and
        self.recent = False  # before that, since the last sweep

    @property
    def weight(self) -> int:
        """The memory it takes, in bytes, estimated."""
        return ENTRY_OVERHEAD + len(self.payload) + (0 if self.body is None else self.body.weight)

    def set_date(self, date: str) -> None:
        """Replace the value of the Date header; bytes that wait to be sent keep theirs."""
        self.date = date
        payload, at = self.payload, self._date_at
        self.payload = b"".join((payload[:at], date.encode(), payload[at + len(DATE) :]))


class ResponseCache(dict[bytes, CachedResponse]):
    """Responses by the bytes of their requests.

    ``max_served`` requests of a connection can be answered without checking its other limits;
    ``hits`` counts those answered in this ``iteration``, until the next one adds them up.
    """

    __slots__ = (
        "_date", "_is_scheduled", "_now", "_open_files", "_parents", "_size", "_swept",
        "hits", "iteration", "max_served",
    )  # fmt: skip

    def __init__(self, max_served: int) -> None:
        super().__init__()
        self.iteration = self.hits = 0
        self.max_served = max_served
        self._size = 0
        self._is_scheduled = False  # the end of this iteration
        self._date, self._now = DATE, 0
        self._parents: WeakValueDictionary[bytes, ParentDirectory] = WeakValueDictionary()
        self._open_files: dict[bytes, CachedResponse] = {}
        self._swept = 0.0  # seconds since the last sweep

    def revalidate(self, cached: CachedResponse, server: HttpServer) -> bool:
        """Return whether an entry is still right, asking the file system once an iteration."""
        few = len(server.open) < MANY_CONNECTIONS
        if cached.checked == self.iteration and few:
            return True
        if not self._is_current(cached, few=few):
            return False
        if not self._is_scheduled:
            self._is_scheduled, self._date = True, server.clock.date()
            self._now = server.clock.second
            asyncio.get_running_loop().call_soon(self.begin_iteration, server)
        if cached.date is not self._date:
            if cached.modified > self._now:
                return False
            cached.set_date(self._date)
        cached.used = True
        if few:
            cached.checked = self.iteration
            if cached.keep_alive and server.access is None:
                cached.iteration = self.iteration
        return True

    def _is_current(self, cached: CachedResponse, *, few: bool) -> bool:
        for parent in cached.parents:
            if parent.iteration != self.iteration or not few:
                if not parent.stamp.is_current():
                    return False
                if few:
                    parent.iteration = self.iteration
        for stamp in cached.stamps:  # noqa: SIM110 - a generator takes twice as long
            if not stamp.is_current():
                return False
        return True

    def begin_iteration(self, server: HttpServer) -> None:
        """Forget every check made so far; count the hits."""
        self._is_scheduled = False
        self.iteration += 1
        server.counts["requests"] += self.hits
        self.hits = 0

    def store(self, key: bytes, request: Request, response: Response, connection: str) -> None:
        """Store a response that is small or one range of a file, if its files are at rest."""
        body = response.body
        if isinstance(body, bytes):
            if len(body) > LARGEST_BODY:
                return
        elif not isinstance(body, FileBody) or body.single_range is None:
            return
        depends, now = response.depends or (), time.time()
        if len(key) > LONGEST_KEY or any(
            version is not None and is_young(version, now) for _, version in depends
        ):
            return
        self.remove(key)
        cached = self[key] = CachedResponse(request, response, connection)
        cached.parents = tuple(self._parent(path) for path, found in depends if found is ANY_FOLDER)
        cached.stamps = tuple(
            FileStamp(path, found) for path, found in depends if found is not ANY_FOLDER
        )
        self._size += cached.weight + 2 * len(key)
        if cached.body is not None:
            self._open_files[key] = cached
            if len(self._open_files) > MAX_OPEN_FILES:
                self.remove(next(iter(self._open_files)))
        while self._size > MAX_SIZE:
            self.remove(next(iter(self)))

    def _parent(self, path: bytes) -> ParentDirectory:
        parent = self._parents.get(path)
        if parent is None:
            parent = self._parents[path] = ParentDirectory(path)
        return parent

    def tick(self, elapsed: float) -> None:
        """Drop the entries not used lately, ``elapsed`` seconds after the last call."""
        for key, cached in list(self._open_files.items()):
            if not cached.used:
                self.remove(key)
            cached.recent, cached.used = True, False
        self._swept += elapsed
        if self._swept >= IDLE_SWEEP:
            self._swept = 0.0
            self._sweep()

    def _sweep(self) -> None:
        for key, cached in list(self.items()):
            if not (cached.used or cached.recent):
                self.remove(key)
            cached.recent = False
            if cached.body is None:
                cached.used = False

    def remove(self, key: bytes) -> None:
        """Remove an entry, if there is one."""
        cached = self.pop(key, None)
        self._open_files.pop(key, None)
        if cached is not None:
            self._size -= cached.weight + 2 * len(key)

    def remove_all(self) -> None:
        """Remove every entry, and close the files."""
        self.clear()
        self._open_files.clear()
        self._size = 0
