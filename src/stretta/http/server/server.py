"""The HTTP server: serves the files of a folder, and the answers of a service."""

from __future__ import annotations

import os
import socket
import time

from stretta.address import Endpoint
from stretta.errors import StrettaError, UsageError
from stretta.http.server.access_log import AccessLog
from stretta.http.server.connection import HttpConnection
from stretta.http.server.handler import Handler
from stretta.http.server.origin import HostPolicy, is_private
from stretta.http.server.protocol import ServerProtocol
from stretta.http.server.response import Clock
from stretta.http.server.response_cache import ResponseCache
from stretta.net.interfaces import is_local, reachable
from stretta.net.server.stream_server import StreamServer, tick_interval
from stretta.options import HttpLimits, ServerTls, SiteOptions
from stretta.reports import Observer, Serving
from stretta.services import Service

__all__ = ["HttpServer", "serve"]

UNSENT = 64 * 1024
"""Bytes not yet sent that the kernel accepts from us for one connection (tcp(7)). Without a limit,
a client that does not read makes it accept megabytes."""


def serve(
    folder: str | os.PathLike[str] = ".",
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    service: Service | None = None,
    options: SiteOptions | None = None,
    limits: HttpLimits | None = None,
    tls: ServerTls | None = None,
    watch: Observer | None = None,
    access: AccessLog | None = None,
) -> HttpServer:
    """Return an HTTP server of the files in ``folder``, and of nothing outside it.

    ``service``, if given, answers the body of each POST; without it a POST gets 405. ``host`` is an
    address or a name (``"::"`` accepts IPv4 too); ``port`` 0 chooses a free port. ``watch`` is
    called with each report, ``access`` collects a line for each request. Use the server as an async
    context manager, or block in its ``run()``; both raise CannotServe when the address, the port or
    the folder is not available. Raises UsageError for invalid ``options``, and for a certificate in
    ``tls`` that cannot be used.

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
    handler = Handler(folder, service, limits, options or SiteOptions())
    return HttpServer(handler, host, port, limits, tls, watch, access)


class HttpServer(StreamServer):
    """A server that ``serve`` returns; ``urls``, ``port`` and ``counts`` describe it.

    >>> from stretta import http
    >>> with http.serve(service=bytes.upper).in_background() as server:
    ...     with http.Client() as client:
    ...         client.request("POST", server.urls[0], body=b"ciao").text
    'CIAO'
    >>> server.counts["requests"]
    1
    """

    command = "stretta http server"

    def __init__(
        self,
        handler: Handler,
        host: str,
        port: int,
        limits: HttpLimits,
        tls: ServerTls | None,
        watch: Observer | None,
        access: AccessLog | None,
    ) -> None:
        super().__init__(
            lambda: HttpConnection(self),
            host,
            port,
            limits=limits,
            tls=tls,
            alpn=["http/1.1"],
            watch=watch,
        )
        encrypted = self.certificate is not None
        protected = encrypted or is_local(host) or handler.options.auth_without_tls
        if handler.users is not None and not protected:
            raise UsageError(
                "passwords would travel unprotected",
                f"anybody on the network path to {host} could read them",
                "Add --tls, keep to this machine with -a 127.0.0.1,"
                " or accept it with --auth-without-tls.",
            )
        self.handler, self.http_limits, self.access = handler, limits, access
        handler.is_encrypted = encrypted
        self.clock = Clock(time.time)
        self.cache = ResponseCache(limits.max_requests - 1)
        self.spare_protocols: list[ServerProtocol] = []  # that no connection uses
        more = (limits.header_timeout, limits.body_timeout)
        self._interval = min(self._interval, tick_interval(limits, *more))

    def new_protocol(self) -> ServerProtocol:
        """Return a protocol object for a connection that becomes active."""
        return ServerProtocol(self.http_limits, self.handler.admit)

    @property
    def urls(self) -> list[str]:
        """Every URL at which it can be reached, this machine's own first."""
        hosts = [host for endpoint in self.endpoints for host in reachable(endpoint.host)]
        scheme = "http" if self.certificate is None else "https"
        base = self.handler.base_path
        return [
            f"{scheme}://{Endpoint(host, self.port).authority}{base}"
            for host in dict.fromkeys(hosts)
        ]

    def _own_names(self, sockets: list[socket.socket]) -> list[str]:
        """Return the names for which to answer: any, if a public network can reach the server."""
        bound = [Endpoint.from_sockaddr(sock.getsockname()).host for sock in sockets]
        addresses = [address for host in bound for address in reachable(host)]
        if self.certificate is not None or not all(map(is_private, addresses)):
            return ["*"]
        machine = socket.gethostname()
        local = machine.partition(".")[0] + ".local"  # RFC 6762
        return [self.host, machine, local, *self.handler.options.allow_host]

    async def _open(self, sockets: list[socket.socket]) -> None:
        self.handler.hosts = HostPolicy(self._own_names(sockets))
        for sock in sockets:  # connections inherit it
            if hasattr(socket, "TCP_NOTSENT_LOWAT"):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)
        await super()._open(sockets)

    def bind(self, *, shared: bool = False) -> list[socket.socket]:
        self.handler.root.check()
        self.handler.preload()
        return super().bind(shared=shared)

    def announce(self) -> None:
        self.watch(
            Serving(
                self.port,
                self.urls,
                self.handler.root.path.decode("utf-8", "replace"),
                shared=not all(endpoint.is_loopback for endpoint in self.endpoints)
                and self.handler.users is None,
                trust=self.certificate.ca_file if self.certificate is not None else None,
            )
        )

    def reload(self) -> None:
        """Read the certificate and the users again; bad ones are reported and not used."""
        super().reload()
        if self.handler.options.auth_file is not None:
            try:
                self.handler.load_users()
            except StrettaError as error:
                self.report_reload("users", error)
            else:
                self.cache.remove_all()  # a response may belong to a user who has lost access
                self.report_reload("users")

    def _tick(self) -> None:
        super()._tick()
        self.cache.tick(self._interval)
        self.handler.drop_idle()

    def _close(self) -> None:
        super()._close()
        self.cache.begin_iteration(self)  # from now on each reply says that it is the last

    def abort(self) -> None:
        super().abort()
        self.cache.remove_all()
        if self.access is not None:
            self.access.flush()
