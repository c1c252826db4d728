"""Answer GET and HEAD from the folder served: a file, a folder's index, its listing or its ZIP."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable
from functools import partial
from hashlib import blake2b

from stretta.address import source_of
from stretta.http.message.content_disposition import attachment
from stretta.http.server.auth_gate import RETRY_LATER
from stretta.http.server.files.conditional import evaluate_preconditions
from stretta.http.server.files.content_encoding import CONTENT_CODINGS, acceptable_codings, gzip
from stretta.http.server.files.document_root import DocumentRoot, OpenedPath
from stretta.http.server.files.file_body import FileChanged
from stretta.http.server.files.representation import FileResponder
from stretta.http.server.negotiation import best_media_type
from stretta.http.server.pages import (
    HTML,
    JSON,
    error_reply,
    page_policy,
    preload,
    redirect_reply,
)
from stretta.http.server.query import query_fields
from stretta.http.server.request import Request, Requester
from stretta.http.server.request_target import Target, parse_target
from stretta.http.server.response import Dependencies, Response
from stretta.http.server.site_options import parse_base_path, parse_index
from stretta.http.server.worker_pool import Overloaded, WorkerPool
from stretta.options import SiteOptions

__all__ = ["FileHandler"]

GZIP = [coding for coding in CONTENT_CODINGS if coding.name == "gzip"]

LISTINGS, WAITING_LISTINGS, WAITING_FROM_SOURCE = 2, 32, 16
"""Listings that are made at once, that may wait, and that one source may have waiting; further ones
get 503."""

MAX_ZIPS, MAX_ZIPS_OF_SOURCE = 8, 4
"""ZIP files that are made at once, altogether and for one source; further ones get 503."""

PAUSES = (0.001, 0.002, 0.004, 0.008, 0.016)
"""Seconds to wait before a file that changed while it was read is read again."""


class FileHandler:
    """Serves the files beneath ``root``. Raises UsageError for invalid options."""

    def __init__(self, root: DocumentRoot, options: SiteOptions) -> None:
        self._root, self._options = root, options
        self._zips: Counter[str] = Counter()  # under way, by source
        self._listings = WorkerPool(LISTINGS, WAITING_LISTINGS, WAITING_FROM_SOURCE)
        self._files = FileResponder(root, compress=options.compress)
        self._index = parse_index(options.index)
        self._base = parse_base_path(options.base_path)
        self.base_path = Target(self._base, is_folder=True, query="").path

    def respond(self, request: Request, client: Requester) -> Response | Awaitable[Response]:
        """Return the response to a GET or HEAD, or an awaitable of it."""
        try:
            return self._look_up(request, client)
        except FileChanged:
            return self._retry(request, client)

    def preload(self) -> None:
        """Load modules and templates while file descriptors are still free."""
        preload()
        if self._options.listing:
            from stretta.http.server.files.readme import markdown  # noqa: PLC0415

            markdown()

    def drop_idle(self) -> None:
        """Give back the memory of cached bodies that nobody has asked for in some minutes."""
        self._files.drop_idle()

    async def _retry(self, request: Request, client: Requester) -> Response:
        """Wait for a file to come to rest; send it as it is when it does not."""
        response: Response | Awaitable[Response]
        for pause in PAUSES:
            await asyncio.sleep(pause)
            try:
                response = self._look_up(request, client)
                break
            except FileChanged:
                continue
        else:
            response = self._look_up(request, client, at_rest=False)
        return response if isinstance(response, Response) else await response

    def _look_up(
        self, request: Request, client: Requester, *, at_rest: bool = True
    ) -> Response | Awaitable[Response]:
        requested = parse_target(request.target)
        target = requested.beneath(self._base)
        if target is None:
            return _error(request, 404)
        try:
            opened = self._root.open(target.names)
        except FileNotFoundError:
            return self._missing(request, client, target, at_rest=at_rest)
        if not opened.is_folder:
            if target.is_folder:  # a slash after the name of a file
                os.close(opened.descriptor)
                return self._missing(request, client, target, at_rest=at_rest)
            return self._files.reply(
                request, target.names, opened, sends_files=client.sends_files, at_rest=at_rest
            )
        os.close(opened.descriptor)
        if not requested.is_folder:
            query = f"?{requested.query}" if requested.query else ""
            return redirect_reply(301, f"{requested.path}/{query}")
        index = self._find_index(target.names)
        if index is not None:
            names, found, depends = index
            location = ("Content-Location", requested.child(names[-1]))
            return self._files.reply(
                request, names, found, depends, location,
                sends_files=client.sends_files, at_rest=at_rest,
            )  # fmt: skip
        return self._folder(request, client, target)

    def _find_index(
        self, names: tuple[bytes, ...]
    ) -> tuple[tuple[bytes, ...], OpenedPath, Dependencies] | None:
        """Open the index of a folder; return its path, and the absence of earlier candidates."""
        depends: Dependencies = ()
        for name in self._index:
            path = (*names, name)
            try:
                found = self._root.open(path)
            except FileNotFoundError:
                depends = (*depends, (self._root.path_of(path), None))
                continue
            if not found.is_folder:
                return path, found, depends
            os.close(found.descriptor)
        return None

    def _missing(
        self, request: Request, client: Requester, target: Target, *, at_rest: bool = True
    ) -> Response | Awaitable[Response]:
        """Return 404, or with ``--spa`` the index of the folder served."""
        if self._options.spa and not self._root.is_hidden(target.names):
            index = self._find_index(())
            if index is not None:
                response = self._files.reply(
                    request, index[0], index[1], sends_files=client.sends_files, at_rest=at_rest
                )
                if isinstance(response, Response):  # the path itself may be created later
                    response.depends = None
                return response
        return _error(request, 404)

    def _folder(
        self, request: Request, client: Requester, target: Target
    ) -> Response | Awaitable[Response]:
        wanted = query_fields(target.query).get("format", "")
        if not self._options.listing:
            return self._missing(request, client, target)
        if wanted == "zip":
            return self._zip(request, client, target) if self._options.zip else _error(request, 404)
        accept = request.headers.get("accept")
        kind = JSON if wanted == "json" else best_media_type(accept, HTML, JSON)
        return self._list(request, client, target, kind)

    async def _list(
        self, request: Request, client: Requester, target: Target, kind: str
    ) -> Response:
        from stretta.http.server.files.listing import listing_json, listing_page  # noqa: PLC0415 - when needed

        compresses = bool(acceptable_codings(request.headers.get("accept-encoding"), GZIP))

        def make() -> bytes | None:
            try:
                opened = self._root.open(target.names)
            except FileNotFoundError:  # removed meanwhile
                return None
            try:
                if kind == JSON:
                    page = listing_json(self._root, target, opened.descriptor)
                else:
                    page = listing_page(
                        self._root, target, opened.descriptor, offers_zip=self._options.zip
                    )
            finally:
                os.close(opened.descriptor)
            return gzip(page) if compresses else page

        try:
            page = await self._listings.run(
                make,
                (target, kind, compresses),
                is_there=client.is_there,
                source=source_of(client.address),
            )
        except Overloaded:
            return _error(request, 503, "", RETRY_LATER)
        if page is None:
            return _error(request, 404)
        etag = blake2b(page, digest_size=9).hexdigest()
        policy = page_policy("listing.css", "listing.js")
        headers = [("Vary", "Accept, Accept-Encoding"), ("ETag", f'"{etag}"'), policy]
        status = evaluate_preconditions(request.headers, etag, None, now=0)
        if status != 200:
            return Response(304, headers) if status == 304 else _error(request, status)
        if compresses:
            headers.append(("Content-Encoding", "gzip"))
        charset = "" if kind == JSON else "; charset=utf-8"
        return Response.of(200, kind + charset, page, *headers)

    def _zip(self, request: Request, client: Requester, target: Target) -> Response:
        from stretta.http.server.files.zip import ZipBody  # noqa: PLC0415 - when needed

        source = source_of(client.address)
        if self._zips.total() >= MAX_ZIPS or self._zips[source] >= MAX_ZIPS_OF_SOURCE:
            return _error(request, 503, "", RETRY_LATER)
        name = (target.names or (os.path.basename(self._root.path) or b"folder",))[-1] + b".zip"
        headers = [
            ("Content-Type", "application/zip"),
            ("Content-Disposition", attachment(name)),
        ]
        self._zips[source] += 1
        body = ZipBody(self._root, target.names, partial(self._zip_closed, source))
        return Response(200, headers, body, None)

    def _zip_closed(self, source: str) -> None:
        self._zips -= Counter({source: 1})  # which drops the sources without one


def _error(request: Request, status: int, why: str = "", *headers: tuple[str, str]) -> Response:
    return error_reply(status, why, *headers, accept=request.headers.get("accept"))
