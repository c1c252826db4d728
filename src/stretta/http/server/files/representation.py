"""Select the representation of a file (content coding, byte ranges) and build the response."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Awaitable, Sequence
from typing import NamedTuple

from stretta.http.message.mime_types import media_type_of
from stretta.http.server.file_stamp import is_young
from stretta.http.server.files.compression_cache import CompressionCache
from stretta.http.server.files.conditional import evaluate_preconditions, range_applies
from stretta.http.server.files.content_encoding import (
    CONTENT_CODINGS,
    ContentCoding,
    acceptable_codings,
    is_compressible,
)
from stretta.http.server.files.document_root import DocumentRoot, OpenedPath
from stretta.http.server.files.file_body import (
    MAX_COPIED,
    MAX_COPIED_WITHOUT_SENDFILE,
    FileBody,
    OpenFile,
)
from stretta.http.server.files.file_version import ANY_FOLDER, FileVersion, entity_tag
from stretta.http.server.files.ranges import RangeNotSatisfiable, parse_ranges
from stretta.http.server.pages import error_reply
from stretta.http.server.request import Request
from stretta.http.server.response import Dependencies, Response, http_date
from stretta.http.server.worker_pool import Overloaded, WorkerPool

__all__ = ["FileResponder"]

COMPRESSED_SIZES = range(1024, 8 << 20)
"""Sizes in bytes of the files that are compressed on request. A smaller one gains nothing; a larger
one takes too long, and is better compressed once with ``gzip -k``."""

COMPRESS_INLINE = 16 * 1024
"""Largest file in bytes that is compressed in the event loop; the worker pool takes the others."""

COMPRESSION_WORKERS, COMPRESSION_QUEUE = 1, 8
"""When the queue is full, the file is sent uncompressed."""

UNKNOWN_TYPE = "application/octet-stream"


class Representation(NamedTuple):
    """A file as it is, or in a content coding: an open file, or a body already in memory."""

    file: OpenFile | None
    version: FileVersion
    etag: str
    coding: str = ""
    body: bytes | None = None

    def last_modified(self, now: float) -> int:
        """Return the modification time in whole seconds since 1970, at most ``now``.

        RFC 9110 section 8.8.2.1 demands a time that is not later than the Date field.
        """
        return min(max(self.version.modified // 10**9, 0), int(now))

    def select(self, parts: Sequence[bytes | range]) -> FileBody:
        """Return a body of byte ranges of the open file, and of bytes between them."""
        assert self.file is not None  # noqa: S101 - for the type checker
        return FileBody(self.file, parts, self.version)


class ResponseContext(NamedTuple):
    """The request, and the parts of its response that no choice of representation changes."""

    request: Request
    media_type: str
    varies: bool
    depends: Dependencies | None
    headers: tuple[tuple[str, str], ...]
    max_copied: int
    now: float

    def depending_on(
        self, path: bytes, version: FileVersion | None, *, linked: bool = False
    ) -> ResponseContext:
        """Return the context with one more dependency; with a link it cannot be cached at all."""
        if self.depends is None or linked:
            return self._replace(depends=None)
        return self._replace(depends=(*self.depends, (path, version)))


class FileResponder:
    """Builds responses from open files and caches the bodies that it compresses."""

    def __init__(self, root: DocumentRoot, *, compress: bool = True) -> None:
        self.root = root
        self._codings = CONTENT_CODINGS if compress else ()
        self._cache = CompressionCache()
        self._workers = WorkerPool(COMPRESSION_WORKERS, COMPRESSION_QUEUE)

    def reply(
        self,
        request: Request,
        names: Sequence[bytes],
        opened: OpenedPath,
        depends: Dependencies = (),
        *headers: tuple[str, str],
        sends_files: bool,
        at_rest: bool = True,
    ) -> Response | Awaitable[Response]:
        """Return the response to a GET or HEAD for an open file; takes over its descriptor.

        ``depends`` lists the files that led to this one, ``headers`` are added to the response.
        ``sends_files`` tells whether the connection can use sendfile(2). Raises FileChanged when
        the file changed meanwhile. When ``at_rest`` is false, a file that changes all the time is
        sent as it is at the moment, without validators and ranges.
        """
        file = OpenFile(opened.descriptor)  # closed with its last user
        media_type = media_type_of(names[-1].decode("utf-8", "replace"))
        version = FileVersion.of(opened.status)
        varies = bool(self._codings) and (is_compressible(media_type) or media_type == UNKNOWN_TYPE)
        # if a link replaces one of these folders, the same path may lead out of the root
        parents: Dependencies = tuple((path, ANY_FOLDER) for path in self.root.parents_of(names))
        max_copied = MAX_COPIED if sends_files else MAX_COPIED_WITHOUT_SENDFILE
        depends = parents + depends
        context = ResponseContext(
            request, media_type, varies, depends, headers, max_copied, time.time()
        )
        context = context.depending_on(self.root.path_of(names), version, linked=opened.linked)
        identity = Representation(file, version, entity_tag(version))
        if not at_rest:
            return _changing_response(context, identity)
        # byte ranges are always ranges of the uncompressed file
        if not varies or "range" in request.headers:
            return self._respond(context, identity)
        codings = acceptable_codings(request.headers.get("accept-encoding"), self._codings)
        for coding in codings:
            sibling = (*names[:-1], names[-1] + coding.extension)
            found = self._open_precompressed(sibling, opened)
            if found is None:
                context = context.depending_on(self.root.path_of(sibling), None)
                continue
            file, version = OpenFile(found.descriptor), FileVersion.of(found.status)
            context = context.depending_on(self.root.path_of(sibling), version, linked=found.linked)
            etag = f"{entity_tag(version)}-{coding.name}"
            return self._respond(context, Representation(file, version, etag, coding.name))
        possible = [coding for coding in codings if coding.compress is not None]
        if possible and is_compressible(media_type) and version.size in COMPRESSED_SIZES:
            return self._compress(context, identity, possible[0])
        return self._respond(context, identity)

    def drop_idle(self) -> None:
        """Drop the compressed bodies that nobody has asked for in some minutes."""
        self._cache.drop_idle(time.monotonic())

    def _open_precompressed(
        self, names: Sequence[bytes], original: OpenedPath
    ) -> OpenedPath | None:
        """Open the compressed sibling of a file, unless it is missing or older than the file."""
        try:
            found = self.root.open(names)
        except FileNotFoundError:
            return None
        if found.is_folder or found.status.st_mtime < original.status.st_mtime:
            os.close(found.descriptor)
            return None
        return found

    def _compress(
        self, context: ResponseContext, identity: Representation, coding: ContentCoding
    ) -> Response | Awaitable[Response]:
        version = identity.version
        encoded = identity._replace(etag=f"{identity.etag}-{coding.name}", coding=coding.name)
        cached = self._cache.get(version, coding.name, time.monotonic())
        if cached is not None:
            if len(cached) < version.size:
                return self._respond(context, encoded._replace(body=cached))
            return self._respond(context, identity)
        headers, modified = context.request.headers, identity.last_modified(context.now)
        if evaluate_preconditions(headers, encoded.etag, modified, context.now) != 200:
            return self._respond(context, encoded)  # a response without a body
        body = identity.select([range(version.size)]).read_all()
        identity, encoded = identity._replace(file=None, body=body), encoded._replace(file=None)

        def finish(compressed: bytes) -> Response:
            if not is_young(version, time.time()):
                self._cache.add(version, coding.name, compressed, time.monotonic())
            smaller = len(compressed) < len(body)
            return self._respond(
                context, encoded._replace(body=compressed) if smaller else identity
            )

        compress = coding.compress
        assert compress is not None  # noqa: S101 - for the type checker
        if len(body) <= COMPRESS_INLINE:
            return finish(compress(body))

        async def in_worker() -> Response:
            key = version, coding.name
            try:
                return finish(await self._workers.run(lambda: compress(body), key, pure=True))
            except Overloaded:
                return self._respond(context, identity)

        return in_worker()

    def _respond(self, context: ResponseContext, selected: Representation) -> Response:
        """Return the response with a selected representation: whole, in ranges, 304, 412 or 416."""
        conditions, now = context.request.headers, context.now
        modified = selected.last_modified(now)
        headers = [("ETag", f'"{selected.etag}"'), ("Last-Modified", http_date(modified))]
        headers += context.headers
        if context.varies:
            headers.append(("Vary", "Accept-Encoding"))
        try:
            status = evaluate_preconditions(conditions, selected.etag, modified, now)
            if status == 304:
                return Response(304, headers, depends=context.depends)
            if status == 412:
                why = "The file is not the version that the request expects."
                return error_reply(412, why, accept=conditions.get("accept"))
            headers.append(
                ("Content-Encoding", selected.coding)
                if selected.coding
                else ("Accept-Ranges", "bytes")
            )
            if selected.body is not None:
                response = Response.of(200, context.media_type, selected.body, *headers)
            else:
                ranges = _requested_ranges(context.request, selected, modified, now)
                response = _range_response(context, selected, ranges, headers)
            response.depends = context.depends
            return response
        except RangeNotSatisfiable:
            total = ("Content-Range", f"bytes */{selected.version.size}")
            why = f"The file has {selected.version.size} bytes."
            return error_reply(416, why, total, accept=conditions.get("accept"))


def _requested_ranges(
    request: Request, selected: Representation, modified: int, now: float
) -> list[range] | None:
    """Return the byte ranges that a request asks for, None for the whole file.

    Raises RangeNotSatisfiable.
    """
    header = request.headers.get("range")
    if header is None or request.method != "GET" or selected.coding:
        return None
    if not range_applies(request.headers, selected.etag, modified, now):
        return None
    return parse_ranges(header, selected.version.size)


def _changing_response(context: ResponseContext, selected: Representation) -> Response:
    """Return the response with a file as it is at the moment, without validators."""
    headers = [("Content-Type", context.media_type), *context.headers]
    body = selected.select([range(selected.version.size)])
    if selected.version.size <= context.max_copied:
        content = body.read_now()
        return Response(200, headers, content, len(content))
    body.record_ends(checked=False)
    return Response(200, headers, body, selected.version.size)


def _range_response(
    context: ResponseContext,
    selected: Representation,
    ranges: list[range] | None,
    headers: list[tuple[str, str]],
) -> Response:
    """Return the response with the whole file, one range, or several (multipart/byteranges)."""
    size, media_type = selected.version.size, context.media_type
    if ranges is None or len(ranges) == 1:
        single = range(size) if ranges is None else ranges[0]
        headers.insert(0, ("Content-Type", media_type))
        if ranges is not None:
            headers.append(("Content-Range", _content_range(single, size)))
        status = 200 if ranges is None else 206
        return _body_response(context, selected, [single], status, headers)
    boundary = secrets.token_hex(12)
    parts: list[bytes | range] = []
    for single in ranges:  # RFC 9110 section 14.6
        parts.append(
            f"\r\n--{boundary}\r\nContent-Type: {media_type}\r\n"
            f"Content-Range: {_content_range(single, size)}\r\n\r\n".encode("latin-1")
        )
        parts.append(single)
    parts.append(f"\r\n--{boundary}--\r\n".encode())
    headers.insert(0, ("Content-Type", f"multipart/byteranges; boundary={boundary}"))
    return _body_response(context, selected, parts, 206, headers)


def _content_range(single: range, size: int) -> str:
    return f"bytes {single.start}-{single.stop - 1}/{size}"


def _body_response(
    context: ResponseContext,
    selected: Representation,
    parts: Sequence[bytes | range],
    status: int,
    headers: list[tuple[str, str]],
) -> Response:
    length = sum(len(part) for part in parts)
    body = selected.select(parts)
    if length <= context.max_copied:
        return Response(status, headers, body.read_all(), length)
    body.record_ends()  # raises FileChanged while another version can still be chosen
    return Response(status, headers, body, length)
