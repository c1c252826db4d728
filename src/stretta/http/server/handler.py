"""Route a request: refuse it, check its password, hand it to a service or to the files."""

from __future__ import annotations

import os
from collections.abc import Awaitable

from stretta.http.server.auth import Users
from stretta.http.server.auth_gate import AuthGate, Denied
from stretta.http.server.file_handler import FileHandler
from stretta.http.server.files.document_root import DocumentRoot
from stretta.http.server.origin import HostPolicy, is_cross_site
from stretta.http.server.pages import error_reply
from stretta.http.server.request import Refused, Request, Requester
from stretta.http.server.request_target import authority_of, parse_target
from stretta.http.server.response import Response
from stretta.http.server.site_options import extra_headers
from stretta.net.server.service_caller import ServiceCaller
from stretta.options import HttpLimits, SiteOptions
from stretta.services import Service, call

__all__ = ["Handler"]


class Handler:
    """Turns requests into responses; knows no connection. Raises UsageError for invalid options."""

    def __init__(
        self,
        folder: str | os.PathLike[str],
        service: Service | None,
        limits: HttpLimits,
        options: SiteOptions,
    ) -> None:
        self.root = DocumentRoot(folder, hidden=options.hidden)
        self.service, self.limits, self.options = service, limits, options
        self.users: Users | None = None
        self._gate: AuthGate | None = None
        self.load_users()
        self._files = FileHandler(self.root, options)
        self.base_path = self._files.base_path
        self._caller = ServiceCaller(service) if service is not None else None
        self.hosts = HostPolicy(["*"])  # until the server knows where it can be reached
        self.is_encrypted = False
        self.methods = ("GET", "HEAD", "OPTIONS") + (("POST",) if service is not None else ())
        self.allow = ("Allow", ", ".join(self.methods))
        added = extra_headers(options)
        self._vary = [value for name, value in added if name.lower() == "vary"]
        self._added = [pair for pair in added if pair[0].lower() != "vary"]
        self._replaced = {name.lower() for name, _ in self._added}

    def load_users(self) -> None:
        """Read the users who may log in; the previous ones stay when that raises UsageError."""
        self.users = Users.load(self.options.auth, self.options.auth_file)
        self._gate = (
            AuthGate(self.users, self.limits.source_prefix) if self.users is not None else None
        )

    def preload(self) -> None:
        """Load modules and templates while file descriptors are still free."""
        self._files.preload()

    def drop_idle(self) -> None:
        """Give back the memory of cached bodies that nobody has asked for in some minutes."""
        self._files.drop_idle()

    def admit(self, request: Request) -> tuple[int, bool]:
        """Check the head of a request; return the longest body allowed, and whether to keep it.

        Raises Refused for a request that gets an error before its body is read.
        """
        if request.method == "CONNECT":
            raise Refused(405, "This server is not a proxy.")
        if request.target != b"*" or request.method != "OPTIONS":
            parse_target(request.target)
        self._check_origin(request)
        expected = request.headers.get("expect")
        if expected is not None and request.version != "1.0":
            if expected.lower() != "100-continue":
                raise Refused(417, "The only expectation supported is 100-continue.")
            if request.method not in self.methods:
                raise Refused(405, "This method is not allowed for this resource.")
        if request.method == "POST" and self.service is not None:
            return self.limits.max_body, True
        return self.limits.max_discard, False

    def _check_origin(self, request: Request) -> None:
        """Refuse a request for another server, and one that a page of another site sends."""
        if request.target[:6].lower() == b"https:" and not self.is_encrypted:
            raise Refused(421, "This server has no TLS.")  # RFC 9110 section 7.4
        authority = authority_of(request.target)
        for host in (request.headers.get("host"), authority):
            if host is not None and not self.hosts.allows(host):
                why = "This server does not answer for that host. To allow it: --allow-host NAME."
                raise Refused(421, why)
        is_safe = request.method in ("GET", "HEAD", "OPTIONS")
        if not is_safe and not self.options.cors and is_cross_site(request.headers):
            why = "A page of another site may not send this. To allow it: --cors."
            raise Refused(403, why)

    def answer(self, request: Request, client: Requester) -> Response | Awaitable[Response]:
        """Return the response, or an awaitable of it."""
        gate = self._gate
        if gate is not None and not self._is_preflight(request):
            try:
                if not gate.admit_known(request):
                    return self._answer_after_check(gate, request, client)
            except Denied as denied:
                return self._denied(request, denied)
        return self._answer(request, client)

    async def _answer_after_check(
        self, gate: AuthGate, request: Request, client: Requester
    ) -> Response:
        try:
            await gate.check(request, client)
        except Denied as denied:
            return self._denied(request, denied)
        response = self._answer(request, client)
        return response if isinstance(response, Response) else await response

    def _denied(self, request: Request, denied: Denied) -> Response:
        return self.finish(self._error(request, denied.status, denied.why, denied.header))

    def refusal(self, refused: Refused) -> Response:
        """Return the error page for a request that was refused."""
        headers = [self.allow] if refused.status == 405 else []
        response = self._error(refused.request, refused.status, refused.why, *headers)
        response.close = True
        return self.finish(response)

    def _answer(self, request: Request, client: Requester) -> Response | Awaitable[Response]:
        response = self._dispatch(request, client)
        return self.finish(response) if isinstance(response, Response) else self._await(response)

    async def _await(self, coming: Awaitable[Response]) -> Response:
        return self.finish(await coming)

    def _dispatch(self, request: Request, client: Requester) -> Response | Awaitable[Response]:
        if request.method not in self.methods:
            return self._error(request, 405, "", self.allow)
        if request.method == "OPTIONS":
            return self._options(request)
        if request.method == "POST":
            return self._call_service(request)
        return self._files.respond(request, client)

    def finish(self, response: Response) -> Response:
        """Add the headers that every response carries."""
        kept = [pair for pair in response.headers if pair[0].lower() not in self._replaced]
        if "cache-control" not in self._replaced:
            # a cache may store what it can revalidate
            can_revalidate = any(name == "ETag" for name, _ in kept)
            kept.append(("Cache-Control", "no-cache" if can_revalidate else "no-store"))
        if self._vary:  # added to the response's own
            own = [value for name, value in kept if name == "Vary"]
            kept = [pair for pair in kept if pair[0] != "Vary"]
            kept.append(("Vary", ", ".join(own + self._vary)))
        response.headers = kept + self._added
        return response

    def _error(
        self, request: Request, status: int, why: str = "", *headers: tuple[str, str]
    ) -> Response:
        return error_reply(status, why, *headers, accept=request.headers.get("accept"))

    # OPTIONS

    def _is_preflight(self, request: Request) -> bool:
        """Return whether a browser asks, without credentials, for a page of another site."""
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

    def _call_service(self, request: Request) -> Response | Awaitable[Response]:
        kind = request.headers.get("content-type", "application/octet-stream")
        caller = self._caller
        assert caller is not None  # noqa: S101 - for the type checker
        if caller.inline:
            return _service_response(call(caller.service, request.body), kind)
        return self._await_service(caller, request.body, kind)

    async def _await_service(self, caller: ServiceCaller, body: bytes, kind: str) -> Response:
        return _service_response(await caller(body), kind)


def _service_response(body: bytes | None, kind: str) -> Response:
    return Response(204) if body is None else Response.of(200, kind, body)
