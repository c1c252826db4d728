"""What is served: a folder, a service, or both; from a request to its reply."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from hashlib import blake2b
from typing import Protocol, cast
from urllib.parse import quote_from_bytes

from stretta.errors import UsageError
from stretta.http.server.auth import GuessLimiter, Users
from stretta.http.server.files.conditional import evaluate_preconditions
from stretta.http.server.files.content_encoding import CONTENT_CODINGS, acceptable_codings, gzip
from stretta.http.server.files.document_root import DocumentRoot, OpenedPath
from stretta.http.server.files.representation import FileChanged, FileResponder
from stretta.http.server.pages import HTML, JSON, best_type, error_reply, redirect_reply
from stretta.http.server.request_parser import Refused, Request
from stretta.http.server.request_target import Target, parse_target
from stretta.http.server.response import Dependencies, Response
from stretta.http.server.worker_pool import Overloaded, WorkerPool
from stretta.options import HttpLimits, SiteOptions
from stretta.services import Service, is_async

__all__ = ["Handler"]

HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e\xa0-\xff\t]*)")
"""RFC 9110 section 5.1 and 5.5."""

OURS = {"connection", "content-length", "date", "transfer-encoding"}
"""Headers that say how the reply is framed: changing them would break it."""

CHALLENGE = ("WWW-Authenticate", 'Basic realm="stretta", charset="UTF-8"')

GZIP = [coding for coding in CONTENT_CODINGS if coding.name == "gzip"]

LISTINGS, PASSWORDS = (2, 32), (2, 32)
"""How many are worked on at once, and how many more may wait; who comes then gets 503."""

LATER = ("Retry-After", "1")

TRIES = 3
"""How often a file that changes while it is read is read again."""


class Client(Protocol):
    """Who asks."""

    @property
    def address(self) -> str:
        """Its address."""

    def is_there(self) -> bool:
        """Return whether it surely still waits for its reply."""


class Handler:
    """Answers requests; knows nothing of connections. Raises UsageError for senseless options."""

    def __init__(
        self,
        folder: str | os.PathLike[str],
        service: Service | None,
        limits: HttpLimits,
        options: SiteOptions,
    ) -> None:
        self.root = DocumentRoot(folder, hidden=options.hidden)
        self.service, self.limits, self.options = service, limits, options
        self.users = Users.load(options.auth, options.auth_file)
        self._guesses = GuessLimiter(time.monotonic)
        self._listings, self._passwords = WorkerPool(*LISTINGS), WorkerPool(*PASSWORDS)
        self._files = FileResponder(self.root, compress=options.compress)
        self._service_is_async = service is not None and is_async(service)
        self._index = parse_index(options.index)
        self._base = parse_base(options.base_path)
        self.base = Target(self._base, is_folder=True, query="").path
        self.methods = ("GET", "HEAD", "OPTIONS") + (("POST",) if service else ())
        self.allow = ("Allow", ", ".join(self.methods))
        self._added = added_headers(options)
        self._vary = [value for name, value in self._added if name.lower() == "vary"]
        self._added = [pair for pair in self._added if pair[0].lower() != "vary"]
        self._replaced = {name.lower() for name, _ in self._added}

    # from a request to a reply

    def admit(self, request: Request) -> tuple[int, bool]:
        """Judge the head of a request: return how long its body may be, and whether to keep it.

        Raises Refused for what is refused before any body is read.
        """
        if request.method == "CONNECT":
            raise Refused(405, "This is no proxy.")
        if request.target != b"*" or request.method != "OPTIONS":
            parse_target(request.target)
        expected = request.headers.get("expect")
        if expected is not None and request.version == "1.1":
            if expected.lower() != "100-continue":
                raise Refused(417, "The only expectation known here is 100-continue.")
            if request.method not in self.methods:
                raise Refused(405, "This cannot be done here.")
        if request.method == "POST" and self.service is not None:
            return self.limits.max_body, True
        return self.limits.max_discard, False

    def answer(self, request: Request, client: Client) -> Response | Awaitable[Response]:
        """Return the reply, or what gives it when it is awaited."""
        users = self.users
        if users is None or self._is_preflight(request):
            return self._answer(request, client)
        credentials = request.headers.get("authorization")
        request.user = users.known(credentials)
        if request.user is not None:
            return self._answer(request, client)
        if credentials is None:
            return self.finish(self._error(request, 401, "", CHALLENGE))
        return self._check(request, users, credentials, client)

    def refusal(self, refused: Refused) -> Response:
        """Return the page for a request that was refused."""
        headers = [self.allow] if refused.status == 405 else []
        reply = self._error(refused.request, refused.status, refused.why, *headers)
        reply.close = True
        return self.finish(reply)

    async def _check(
        self, request: Request, users: Users, credentials: str, client: Client
    ) -> Response:
        if not self._guesses.allow(client.address):
            why = "There were too many wrong passwords from this address; ask again later."
            return self.finish(self._error(request, 429, why, LATER))
        try:
            request.user = await self._passwords.run(
                partial(users.check, credentials),
                credentials,
                pure=True,
                is_there=client.is_there,
            )
        except Overloaded:
            return self.finish(self._error(request, 503, "", LATER))
        if request.user is None:
            return self.finish(self._error(request, 401, "", CHALLENGE))
        self._guesses.forgive(client.address)
        reply = self._answer(request, client)
        return reply if isinstance(reply, Response) else await reply

    def _answer(self, request: Request, client: Client) -> Response | Awaitable[Response]:
        for _ in range(TRIES):
            try:
                reply = self._dispatch(request, client)
            except FileChanged:
                continue
            return self.finish(reply) if isinstance(reply, Response) else self._await(reply)
        return self.finish(self._error(request, 503, "The file is being changed; ask again."))

    async def _await(self, coming: Awaitable[Response]) -> Response:
        return self.finish(await coming)

    def _dispatch(self, request: Request, client: Client) -> Response | Awaitable[Response]:
        if request.method not in self.methods:
            return self._error(request, 405, "", self.allow)
        if request.method == "OPTIONS":
            return self._options(request)
        if request.method == "POST":
            return self._serve(request)
        return self._look_up(request, client)

    def finish(self, reply: Response) -> Response:
        """Add what every reply has."""
        kept = [pair for pair in reply.headers if pair[0].lower() not in self._replaced]
        if "cache-control" not in self._replaced:
            # a copy may be kept where the next request can ask whether it is still right
            can_ask = any(name == "ETag" for name, _ in kept)
            kept.append(("Cache-Control", "no-cache" if can_ask else "no-store"))
        if self._vary:  # what the reply hangs on already stays true
            own = [value for name, value in kept if name == "Vary"]
            kept = [pair for pair in kept if pair[0] != "Vary"]
            kept.append(("Vary", ", ".join(own + self._vary)))
        reply.headers = kept + self._added
        return reply

    def _error(
        self, request: Request, status: int, why: str = "", *headers: tuple[str, str]
    ) -> Response:
        return error_reply(status, why, *headers, accept=request.headers.get("accept"))

    # OPTIONS

    def _is_preflight(self, request: Request) -> bool:
        """Return whether a browser asks, without credentials, what another site's page may do."""
        return (
            self.options.cors
            and request.method == "OPTIONS"
            and "access-control-request-method" in request.headers
        )

    def _options(self, request: Request) -> Response:
        headers = [self.allow]
        if self._is_preflight(request):
            headers += [
                ("Access-Control-Allow-Methods", self.allow[1]),
                ("Access-Control-Allow-Headers", "*, Authorization"),
                ("Access-Control-Max-Age", "3600"),
            ]
        return Response(204, headers)

    # services

    def _serve(self, request: Request) -> Response | Awaitable[Response]:
        kind = request.headers.get("content-type", "application/octet-stream")
        if self._service_is_async:
            return self._await_service(request.body, kind)
        service = cast("Callable[[bytes], bytes | None]", self.service)
        return _service_reply(service(request.body), kind)

    async def _await_service(self, body: bytes, kind: str) -> Response:
        service = cast("Callable[[bytes], Awaitable[bytes | None]]", self.service)
        return _service_reply(await service(body), kind)

    # files

    def _look_up(self, request: Request, client: Client) -> Response | Awaitable[Response]:
        asked = parse_target(request.target)
        target = asked.beneath(self._base)
        if target is None:
            return self._error(request, 404)
        try:
            opened = self.root.open(target.names)
        except FileNotFoundError:
            return self._missing(request, target)
        if not opened.is_folder:
            if target.is_folder:  # a file has nothing inside it
                os.close(opened.descriptor)
                return self._missing(request, target)
            return self._files.reply(request, target.names, opened)
        os.close(opened.descriptor)
        if not asked.is_folder:
            query = f"?{asked.query}" if asked.query else ""
            return redirect_reply(301, f"{asked.path}/{query}")
        index = self._find_index(target.names)
        if index is not None:
            names, found, depends = index
            where = ("Content-Location", asked.child(names[-1]))
            return self._files.reply(request, names, found, depends, where)
        return self._show(request, client, target)

    def _find_index(
        self, names: tuple[bytes, ...]
    ) -> tuple[tuple[bytes, ...], OpenedPath, Dependencies] | None:
        depends: Dependencies = ()
        for name in self._index:
            path = (*names, name)
            try:
                found = self.root.open(path)
            except FileNotFoundError:
                depends = (*depends, (self.root.path_of(path), None))
                continue
            if not found.is_folder:
                return path, found, depends
            os.close(found.descriptor)
        return None

    def _missing(self, request: Request, target: Target) -> Response | Awaitable[Response]:
        if self.options.spa and not self.root.is_hidden(target.names):
            index = self._find_index(())
            if index is not None:
                reply = self._files.reply(request, index[0], index[1])
                if isinstance(reply, Response):  # what was asked for may come to be
                    reply.depends = None
                return reply
        return self._error(request, 404)

    # folders

    def _show(
        self, request: Request, client: Client, target: Target
    ) -> Response | Awaitable[Response]:
        wanted = target.format
        if not self.options.listing:
            return self._missing(request, target)
        if wanted == "zip" and not self.options.zip:
            return self._error(request, 404)
        if wanted == "zip":
            return self._zip(target)
        accept = request.headers.get("accept")
        kind = JSON if wanted == "json" else best_type(accept, HTML, JSON)
        return self._list(request, client, target, kind)

    async def _list(self, request: Request, client: Client, target: Target, kind: str) -> Response:
        from stretta.http.server.files.listing import listing_json, listing_page  # noqa: PLC0415 - when asked

        packs = bool(acceptable_codings(request.headers.get("accept-encoding"), GZIP))

        def make() -> bytes:
            with self.root.opened(target.names) as opened:
                if kind == JSON:
                    page = listing_json(self.root, target, opened.descriptor)
                else:
                    page = listing_page(
                        self.root, target, opened.descriptor, offers_zip=self.options.zip
                    )
            return gzip(page) if packs else page

        # a large folder takes long to read and write down; others are served meanwhile
        try:
            page = await self._listings.run(make, (target, kind, packs), is_there=client.is_there)
        except FileNotFoundError:  # removed meanwhile
            return self._error(request, 404)
        except Overloaded:
            return self._error(request, 503, "", LATER)
        etag = blake2b(page, digest_size=9).hexdigest()
        headers = [("Vary", "Accept, Accept-Encoding"), ("ETag", f'"{etag}"')]
        verdict = evaluate_preconditions(request.headers, etag, None)
        if verdict != 200:
            return Response(304, headers) if verdict == 304 else self._error(request, verdict)
        if packs:
            headers.append(("Content-Encoding", "gzip"))
        charset = "" if kind == JSON else "; charset=utf-8"
        return Response.of(200, kind + charset, page, *headers)

    def _zip(self, target: Target) -> Response:
        from stretta.http.server.files.zip import ZipBody  # noqa: PLC0415 - when asked

        name = (target.names or (os.path.basename(self.root.path) or b"folder",))[-1] + b".zip"
        headers = [
            ("Content-Type", "application/zip"),
            ("Content-Disposition", attachment(name)),
        ]
        return Response(200, headers, ZipBody(self.root, target.names), None)


def attachment(name: bytes) -> str:
    """Return a Content-Disposition that names a file to be saved (RFC 6266, RFC 8187).

    >>> attachment("perché.zip".encode())
    'attachment; filename="perch__.zip"; filename*=UTF-8\\'\\'perch%C3%A9.zip'
    """
    plain = re.sub(rb"[^A-Za-z0-9!#$&+.^_`|~ -]", b"_", name).decode()
    exact = quote_from_bytes(name, safe="")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{exact}"


def parse_base(path: str) -> tuple[bytes, ...]:
    """Return the names of the path under which the folder appears. Raises UsageError."""
    why = ""
    if not path.startswith("/"):
        why = "it does not begin with /"
    elif "?" in path:
        why = "a question mark ends a path"
    else:
        try:
            return parse_target(os.fsencode(path)).names
        except Refused as refused:
            why = refused.why.rstrip(".")
    raise UsageError(f"cannot serve under {path!r}", why, "As in: --base-path /files/")


def parse_index(names: Iterable[str]) -> list[bytes]:
    """Return the names that a folder's index may have. Raises UsageError for what is no name."""
    for name in names:
        if "/" in name or name in ("", ".", ".."):
            raise UsageError(
                f"{name!r} cannot stand for a folder",
                "it is no file's name",
                "As in: --index index.html",
            )
    return [os.fsencode(name) for name in names]


def added_headers(options: SiteOptions) -> list[tuple[str, str]]:
    """Return what every reply gets beside its own headers. Raises UsageError."""
    added = [("X-Content-Type-Options", "nosniff")]
    if options.cors:
        added.append(("Access-Control-Allow-Origin", "*"))
        added.append(("Access-Control-Expose-Headers", "*"))
    given = []
    for line in options.header:
        found = HEADER.fullmatch(line)
        if found is None or found[1].lower() in OURS:
            why = "the server writes that itself" if found else "it is not of the form Name: value"
            raise UsageError(f"cannot add the header {line!r}", why)
        given.append((found[1], found[2].rstrip()))
    replaced = {name.lower() for name, _ in given}
    return [pair for pair in added if pair[0].lower() not in replaced] + given


def _service_reply(body: bytes | None, kind: str) -> Response:
    return Response(204) if body is None else Response.of(200, kind, body)
