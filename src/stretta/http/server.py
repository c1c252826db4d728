"""The HTTP server: a folder, or a function, for everybody who asks."""

from __future__ import annotations

import os
import time

from stretta.address import Endpoint
from stretta.http.access import Answered
from stretta.http.connection import HttpConnection
from stretta.http.reply import Clock, Reply
from stretta.http.request import Request
from stretta.http.site import Site
from stretta.net.interfaces import reachable
from stretta.net.streams import StreamServer
from stretta.options import HttpLimits, SiteOptions
from stretta.reports import Serving, Watch
from stretta.services import Service

__all__ = ["HttpServer", "serve"]


def serve(
    folder: str | os.PathLike[str] = ".",
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    service: Service | None = None,
    options: SiteOptions | None = None,
    limits: HttpLimits | None = None,
    watch: Watch | None = None,
) -> HttpServer:
    """Return an HTTP server of the files in ``folder``, and of nothing outside it.

    ``service``, if given, answers the body of each POST; without it a POST gets 405. ``host`` is an
    address or a name (``"::"`` takes IPv4 too), ``port`` 0 any free port. ``watch`` is called with
    each report. Use the server as an async context manager, or block in its ``run()``; both raise
    CannotServe when the address, the port or the folder cannot be had. Raises UsageError for
    ``options`` that make no sense.

    >>> import asyncio, urllib.request
    >>> from stretta import http
    >>> async def main() -> bytes:
    ...     async with http.serve(service=bytes.upper) as server:
    ...         url = f"http://127.0.0.1:{server.port}/"
    ...         ask = lambda: urllib.request.urlopen(url, b"ciao").read()
    ...         return await asyncio.get_running_loop().run_in_executor(None, ask)
    >>> asyncio.run(main())
    b'CIAO'
    """
    limits = limits or HttpLimits()
    site = Site(folder, service, limits, options or SiteOptions())
    return HttpServer(site, host, port, limits, watch)


class HttpServer(StreamServer):
    """What ``serve`` returns: ``urls``, ``port`` and ``counts`` tell what it is and did."""

    command = "stretta http server"

    def __init__(
        self, site: Site, host: str, port: int, limits: HttpLimits, watch: Watch | None
    ) -> None:
        super().__init__(lambda: HttpConnection(self), host, port, limits=limits, watch=watch)
        self.site, self.http_limits = site, limits
        self.clock = Clock()
        self._every = min(self._every, limits.header_timeout / 4, limits.body_timeout / 4)

    @property
    def stopping(self) -> bool:
        """Whether connections are to be closed after the reply that is being made."""
        return self._stopping

    @property
    def urls(self) -> list[str]:
        """Every URL at which it can be reached, this machine's own first."""
        hosts = [host for endpoint in self.endpoints for host in reachable(endpoint.host)]
        return [f"http://{Endpoint(host, self.port).authority}/" for host in dict.fromkeys(hosts)]

    async def start(self) -> None:
        self.site.folder.check()
        await super().start()

    def _announce(self) -> None:
        self.watch(Serving(self.port, tuple(self.urls), os.fsdecode(self.site.folder.path)))

    def log(self, client: Endpoint, request: Request, reply: Reply) -> None:
        """Report a request that is answered."""
        self.watch(
            Answered(
                client.host,
                time.time(),
                request.method,
                request.target.decode("latin-1"),
                request.version,
                reply.status,
                reply.length,
            )
        )
