"""From a request for a file to which bytes of which of its representations."""

from __future__ import annotations

import os
import secrets
import struct
import time
from collections.abc import Awaitable, Sequence
from hashlib import blake2b
from typing import NamedTuple

from stretta.http.server.file_stamp import is_young
from stretta.http.server.files.conditional import evaluate_preconditions, range_applies
from stretta.http.server.files.content_encoding import (
    CONTENT_CODINGS,
    ContentCoding,
    acceptable_codings,
    is_compressible,
)
from stretta.http.server.files.document_root import (
    ANY_FOLDER,
    DocumentRoot,
    FileVersion,
    OpenedPath,
)
from stretta.http.server.files.mime_types import media_type_of
from stretta.http.server.files.ranges import RangeNotSatisfiable, parse_ranges
from stretta.http.server.pages import error_reply
from stretta.http.server.request_parser import Request
from stretta.http.server.response import Dependencies, Response, http_date
from stretta.http.server.worker_pool import Overloaded, WorkerPool

__all__ = ["WHOLE", "FileBody", "FileResponder", "OpenFile", "entity_tag"]

LEAST, MOST = 16 * 1024, 256 * 1024
"""Bytes read and written at a time: twice as many after each piece that the kernel took whole, half
as many after one that it did not, so that of a slow reader's file little is held. Where nothing is
encrypted sendfile(2) does the most of it: twice the time, when the bytes are copied instead."""

HELD = LEAST
"""Bytes at the end that go out only when it has been seen that all before is of one version."""

STEP = 1024 * 1024
"""Bytes that sendfile(2) is given at a time, before others get their turn."""

END = 4096
"""Bytes at both ends of a large file that tell whether a longer one is the same with more to it."""

WHOLE = 256 * 1024
"""Bytes of a reply that are read at once where they cannot be sent from the file."""

COPIED = 32 * 1024
"""Bytes of a reply that are always read: to copy them costs no more than to have them fetched."""

WORTH_COMPRESSING = range(1024, 8 << 20)
"""Sizes in bytes: below, the headers weigh more; above, the time does, and a file made once by
``gzip -k`` beside the original is the better way."""

AT_ONCE = 16 * 1024
"""Bytes that are compressed while others wait; more is done beside the event loop."""

COMPRESSING = (1, 8)
"""Bodies that are compressed at once, and that wait for it; others go out as they are."""

COMPRESSED_CACHE = 32 << 20
"""Bytes of compressed bodies that are kept."""

UNKNOWN = "application/octet-stream"


class FileChanged(OSError):
    """A file changed while it was read."""


class OpenFile:
    """An open file, closed when nobody holds it any more: a kept reply, a transport, a body."""

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        """Return its descriptor."""
        return self._descriptor

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)


Ends = tuple[bytes, bytes]


class FileBody:
    """Stretches of an open file with bytes between them, piece by piece.

    A piece is valid until the next: one buffer serves them all, since making a new one each time
    costs more than the copy. ``ends`` are those of the version, where they are known.
    """

    __slots__ = ("_buffer", "_descriptor", "_ends", "_parts", "_size", "file", "version")

    def __init__(
        self,
        file: OpenFile,
        parts: Sequence[bytes | range],
        version: FileVersion,
        ends: Ends | None = None,
    ) -> None:
        self.file: OpenFile | None = file
        self.version = version
        self._ends = ends
        self._descriptor = file.fileno()
        self._parts = list(reversed(parts))
        self._size = LEAST
        self._buffer = memoryview(b"")

    def __next__(self) -> bytes | memoryview:
        """Return the next piece; raises FileChanged where the file is no longer what it was."""
        if not self._parts:
            raise StopIteration
        part = self._parts.pop()
        if isinstance(part, bytes):
            return part
        if len(self._buffer) != self._size:
            self._buffer = memoryview(bytearray(self._size))
        size = os.preadv(self._descriptor, [self._buffer[: len(part)]], part.start)
        if not size or (size == len(part) and self._is_last() and self._was_overwritten()):
            raise FileChanged("the file was changed while it was sent")
        if size < len(part):
            self._parts.append(part[size:])
        return self._buffer[:size]

    def fileno(self) -> int:
        """Return the file's descriptor."""
        return self._descriptor

    @property
    def single_range(self) -> range | None:
        """The one stretch that it consists of, if it does, and nothing is taken of it yet."""
        first = self._parts[0]
        return first if len(self._parts) == 1 and isinstance(first, range) else None

    def read_all(self) -> bytes:
        """Return all that it would give; raises FileChanged when it may be of another version."""
        body = b"".join(
            part if isinstance(part, bytes) else os.pread(self._descriptor, len(part), part.start)
            for part in reversed(self._parts)
        )
        if len(body) != sum(len(part) for part in self._parts):
            raise FileChanged("the file was changed while it was read")
        self._check()
        return body

    def record_ends(self) -> Ends:
        """Return how its version begins and ends, by which it is known again in a longer file.

        Be called before the first of it goes out; raises FileChanged when it is too late already.
        """
        if self._ends is None:
            ends = self._read_ends()
            self._check()
            self._ends = ends
        return self._ends

    def _check(self) -> None:
        """Raise FileChanged when what was read so far may be of another version."""
        if FileVersion.of(os.fstat(self._descriptor)) != self.version:
            raise FileChanged("the file was changed while it was read")

    def take_range(self) -> range | None:
        """Take bytes that the kernel can send by itself, a step of what comes next.

        None at the end of a stretch, where ``next`` looks whether the file is still what it was.
        """
        part = self._parts[-1] if self._parts else b""
        if isinstance(part, bytes) or len(part) <= HELD:
            return None
        step = part[: min(len(part) - HELD, STEP)]
        self._parts[-1] = part[len(step) :]
        return step

    def taken(self, *, whole: bool) -> None:
        """Learn from how the kernel took the last piece."""
        if whole:
            self._size = min(2 * self._size, MOST)
        else:
            self._size = max(self._size // 2, LEAST)
            self._buffer = memoryview(b"")

    def _is_last(self) -> bool:
        """Return whether nothing of the file comes after the piece that was taken."""
        return all(isinstance(part, bytes) for part in self._parts)

    def _read_ends(self) -> Ends:
        last = max(0, self.version.size - END)
        return os.pread(self._descriptor, END, 0), os.pread(self._descriptor, END, last)

    def _was_overwritten(self) -> bool:
        """Return whether what was sent so far may be of two versions; seen before the last piece.

        Appending harms nobody: exactly what was promised is sent.
        """
        for _ in range(2):
            now = os.fstat(self._descriptor)
            if now.st_mtime_ns == self.version.modified:
                return False
            if now.st_size > self.version.size and self._ends is not None:
                begin, end = self._read_ends()
                return (begin, end[: len(self._ends[1])]) != self._ends
            os.sched_yield()  # who appends sets the time a moment before the size
        return True

    def close(self) -> None:
        """Let go of the file."""
        self.file = None


class Representation(NamedTuple):
    """One representation of a file: as it is, or in a content coding; read already, or open."""

    file: OpenFile | None
    version: FileVersion
    etag: str
    coding: str = ""
    made: bytes | None = None

    @property
    def modified(self) -> float:
        """When it was last written to, in seconds since 1970."""
        return self.version.modified / 1e9

    def pieces(self, parts: Sequence[bytes | range]) -> FileBody:
        """Return parts of it, and bytes between them; it must be open."""
        assert self.file is not None  # noqa: S101 - for the type checker
        return FileBody(self.file, parts, self.version)


class ResponseContext(NamedTuple):
    """What a reply is to, and what stands for it whatever representation is chosen."""

    request: Request
    media: str
    varies: bool
    depends: Dependencies | None
    more: tuple[tuple[str, str], ...]

    def on(
        self, path: bytes, version: FileVersion | None, *, linked: bool = False
    ) -> ResponseContext:
        """Return the same, hanging on one more file; behind a link it is looked up each time."""
        if self.depends is None or linked:
            return self._replace(depends=None)
        return self._replace(depends=(*self.depends, (path, version)))


class FileResponder:
    """Makes replies from open files; keeps what it has compressed."""

    def __init__(self, root: DocumentRoot, *, compress: bool = True) -> None:
        self.root = root
        self._codings = CONTENT_CODINGS if compress else ()
        self._made: dict[tuple[FileVersion, str], bytes] = {}
        self._made_size = 0
        self._work = WorkerPool(*COMPRESSING)

    def reply(
        self,
        request: Request,
        names: Sequence[bytes],
        opened: OpenedPath,
        depends: Dependencies = (),
        *more: tuple[str, str],
    ) -> Response | Awaitable[Response]:
        """Return the reply to a GET or HEAD for an open file, whose descriptor it takes over.

        ``depends`` is what the choice of this file hung on, ``more`` are further headers.
        """
        file = OpenFile(opened.descriptor)  # closed with whatever comes to hold it last
        media = media_type_of(names[-1].decode("utf-8", "replace"))
        version = FileVersion.of(opened.status)
        varies = bool(self._codings) and (is_compressible(media) or media == UNKNOWN)
        # a folder on the way that gives place to a link may lead the same path outside
        way: Dependencies = tuple((path, ANY_FOLDER) for path in self.root.parents_of(names))
        asked = ResponseContext(request, media, varies, way + depends, more)
        asked = asked.on(self.root.path_of(names), version, linked=opened.linked)
        plain = Representation(file, version, entity_tag(version))
        # a range is always one of the file as it is
        if not varies or "range" in request.headers:
            return self._finish(asked, plain)
        liked = acceptable_codings(request.headers.get("accept-encoding"), self._codings)
        for coding in liked:
            beside = (*names[:-1], names[-1] + coding.extension)
            ready = self._ready(beside, opened)
            if ready is None:
                asked = asked.on(self.root.path_of(beside), None)
                continue
            file, version = OpenFile(ready.descriptor), FileVersion.of(ready.status)
            asked = asked.on(self.root.path_of(beside), version, linked=ready.linked)
            etag = f"{entity_tag(version)}-{coding.name}"
            return self._finish(asked, Representation(file, version, etag, coding.name))
        makers = [coding for coding in liked if coding.compress is not None]
        if makers and is_compressible(media) and version.size in WORTH_COMPRESSING:
            return self._compressed(asked, plain, makers[0])
        return self._finish(asked, plain)

    def _ready(self, names: Sequence[bytes], original: OpenedPath) -> OpenedPath | None:
        """Return the compressed file that lies beside its original, if it is no older."""
        try:
            found = self.root.open(names)
        except FileNotFoundError:
            return None
        if found.is_folder or found.status.st_mtime < original.status.st_mtime:
            os.close(found.descriptor)
            return None
        return found

    # compressing

    def _compressed(
        self, asked: ResponseContext, plain: Representation, coding: ContentCoding
    ) -> Response | Awaitable[Response]:
        key = plain.version, coding.name
        coded = plain._replace(etag=f"{plain.etag}-{coding.name}", coding=coding.name)
        made = self._made.get(key)
        if made is not None:
            gained = len(made) < plain.version.size
            return self._finish(asked, coded._replace(made=made) if gained else plain)
        if evaluate_preconditions(asked.request.headers, coded.etag, plain.modified) != 200:
            return self._finish(asked, coded)  # which needs no body
        body = plain.pieces([range(plain.version.size)]).read_all()
        as_it_is, coded = plain._replace(file=None, made=body), coded._replace(file=None)

        def settle(made: bytes) -> Response:
            if not is_young(key[0], time.time()):
                self._keep(key, made)
            return self._finish(
                asked, coded._replace(made=made) if len(made) < len(body) else as_it_is
            )

        compress = coding.compress
        assert compress is not None  # noqa: S101 - for the type checker
        if len(body) <= AT_ONCE:
            return settle(compress(body))

        async def beside() -> Response:
            try:
                return settle(await self._work.run(lambda: compress(body), key, pure=True))
            except Overloaded:  # then it goes out as it is
                return self._finish(asked, as_it_is)

        return beside()

    def _keep(self, key: tuple[FileVersion, str], made: bytes) -> None:
        if key not in self._made:
            self._made[key] = made
            self._made_size += len(made)
            while self._made_size > COMPRESSED_CACHE:
                oldest = next(iter(self._made))
                self._made_size -= len(self._made.pop(oldest))

    # the reply to what was chosen

    def _finish(self, asked: ResponseContext, chosen: Representation) -> Response:
        wishes = asked.request.headers
        # RFC 9110 section 8.8.2.1: never later than the Date header
        modified = min(max(chosen.modified, 0), time.time())
        headers = [("ETag", f'"{chosen.etag}"'), ("Last-Modified", http_date(modified))]
        headers += asked.more
        if asked.varies:
            headers.append(("Vary", "Accept-Encoding"))
        try:
            verdict = evaluate_preconditions(wishes, chosen.etag, modified)
            if verdict == 304:
                return Response(304, headers, depends=asked.depends)
            if verdict == 412:
                why = "The file is not, or no longer, what you expect."
                return error_reply(412, why, accept=wishes.get("accept"))
            headers.append(
                ("Content-Encoding", chosen.coding) if chosen.coding else ("Accept-Ranges", "bytes")
            )
            if chosen.made is not None:
                reply = Response.of(200, asked.media, chosen.made, *headers)
            else:
                wanted = _wanted(asked.request, chosen, modified)
                reply = _stretches(chosen, wanted, asked.media, headers)
            reply.depends = asked.depends
            return reply
        except RangeNotSatisfiable:
            total = ("Content-Range", f"bytes */{chosen.version.size}")
            why = f"The file has {chosen.version.size} bytes."
            return error_reply(416, why, total, accept=wishes.get("accept"))


def _wanted(request: Request, chosen: Representation, modified: float) -> list[range] | None:
    """Return the ranges that a request asks for, None for the whole. Raises RangeNotSatisfiable."""
    header = request.headers.get("range")
    if header is None or request.method != "GET" or chosen.coding:
        return None
    if not range_applies(request.headers, chosen.etag, modified, time.time()):
        return None
    return parse_ranges(header, chosen.version.size)


def _stretches(
    chosen: Representation,
    wanted: list[range] | None,
    media: str,
    headers: list[tuple[str, str]],
) -> Response:
    """Return the reply that holds the whole, one stretch, or several (multipart/byteranges)."""
    size = chosen.version.size
    if wanted is None or len(wanted) == 1:
        one = range(size) if wanted is None else wanted[0]
        headers.insert(0, ("Content-Type", media))
        if wanted is not None:
            headers.append(("Content-Range", _content_range(one, size)))
        return _body_of(chosen, [one], 200 if wanted is None else 206, headers)
    boundary = secrets.token_hex(12)
    parts: list[bytes | range] = []
    for one in wanted:  # RFC 9110 section 14.6
        parts.append(
            f"\r\n--{boundary}\r\nContent-Type: {media}\r\n"
            f"Content-Range: {_content_range(one, size)}\r\n\r\n".encode("latin-1")
        )
        parts.append(one)
    parts.append(f"\r\n--{boundary}--\r\n".encode())
    headers.insert(0, ("Content-Type", f"multipart/byteranges; boundary={boundary}"))
    return _body_of(chosen, parts, 206, headers)


def _content_range(one: range, size: int) -> str:
    return f"bytes {one.start}-{one.stop - 1}/{size}"


def _body_of(
    chosen: Representation,
    parts: Sequence[bytes | range],
    status: int,
    headers: list[tuple[str, str]],
) -> Response:
    length = sum(len(part) for part in parts)
    pieces = chosen.pieces(parts)
    if length <= COPIED:
        return Response(status, headers, pieces.read_all(), length)
    pieces.record_ends()  # while another version can still be chosen
    return Response(status, headers, pieces, length)


def entity_tag(version: FileVersion) -> str:
    """Return the strong tag of a version, without its quotes: it changes whenever the file does.

    Times of writing and of change, in nanoseconds, and the inode go in: a file that is replaced
    by another of the same size and age has another tag.
    """
    return blake2b(struct.pack("<QQQqq", *version), digest_size=9).hexdigest()
