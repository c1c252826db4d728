"""What is served: a folder, a service, or both; from a request to its reply."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import cast

from stretta.http.files import file_reply
from stretta.http.folder import Folder, Opened
from stretta.http.listing import entries, listing_page
from stretta.http.pages import HTML, error_reply, redirect_reply
from stretta.http.reply import Reply
from stretta.http.request import Refused, Request
from stretta.http.target import Target, parse_target
from stretta.options import HttpLimits
from stretta.services import Service, is_async

__all__ = ["Site"]

INDEX = (b"index.html", b"index.htm")


class Site:
    """Answers requests; knows nothing of connections."""

    def __init__(self, folder: Folder, service: Service | None, limits: HttpLimits) -> None:
        self.folder, self.service, self.limits = folder, service, limits
        self._service_is_async = service is not None and is_async(service)
        self.methods = ("GET", "HEAD", "OPTIONS") + (("POST",) if service else ())
        self.allow = ("Allow", ", ".join(self.methods))

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

    def answer(self, request: Request) -> Reply | Awaitable[Reply]:
        """Return the reply, or what gives it when it is awaited."""
        if request.method not in self.methods:
            return error_reply(405, "", self.allow)
        if request.method == "OPTIONS":
            return Reply(204, [self.allow])
        if request.method == "POST":
            return self._serve(request)
        return self._look_up(request)

    def refusal(self, refused: Refused) -> Reply:
        """Return the page for a request that was refused."""
        headers = [self.allow] if refused.status == 405 else []
        reply = error_reply(refused.status, refused.why, *headers)
        reply.close = True
        return reply

    # services

    def _serve(self, request: Request) -> Reply | Awaitable[Reply]:
        kind = request.headers.get("content-type", "application/octet-stream")
        if self._service_is_async:
            return self._await_service(request.body, kind)
        service = cast("Callable[[bytes], bytes | None]", self.service)
        return _service_reply(service(request.body), kind)

    async def _await_service(self, body: bytes, kind: str) -> Reply:
        service = cast("Callable[[bytes], Awaitable[bytes | None]]", self.service)
        return _service_reply(await service(body), kind)

    # files

    def _look_up(self, request: Request) -> Reply | Awaitable[Reply]:
        target = parse_target(request.target)
        try:
            opened = self.folder.open(target.names)
        except FileNotFoundError:
            return error_reply(404)
        if not opened.is_folder:
            if target.is_folder:  # a file has nothing inside it
                os.close(opened.descriptor)
                return error_reply(404)
            return file_reply(request, _file_name(target.names[-1]), opened)
        if not target.is_folder:
            os.close(opened.descriptor)
            query = f"?{target.query}" if target.query else ""
            return redirect_reply(301, f"{target.path}/{query}")
        for name in INDEX:
            try:
                index = self.folder.open((*target.names, name))
            except FileNotFoundError:
                continue
            if index.is_folder:
                os.close(index.descriptor)
                continue
            os.close(opened.descriptor)
            return file_reply(request, _file_name(name), index)
        return self._list(target, opened)

    async def _list(self, target: Target, opened: Opened) -> Reply:
        def make() -> bytes:
            try:
                found = entries(self.folder, target.names, opened.descriptor)
            finally:
                os.close(opened.descriptor)
            return listing_page(target.shown, found)

        # a large folder takes long to read and write down; others are served meanwhile
        page = await asyncio.get_running_loop().run_in_executor(None, make)
        return Reply.of(200, HTML, page)


def _file_name(name: bytes) -> str:
    return name.decode("utf-8", "replace")


def _service_reply(body: bytes | None, kind: str) -> Reply:
    return Reply(204) if body is None else Reply.of(200, kind, body)
