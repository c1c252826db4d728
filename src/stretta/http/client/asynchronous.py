"""The HTTP client on an event loop: ``get_async``, or an ``AsyncClient`` for many requests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

from stretta.errors import ReplyEndedEarly
from stretta.http.client.blocking import BaseClient, GivenHeaders
from stretta.http.client.exchange import MOST_DECODED, Exchange
from stretta.http.client.request import HttpVersion
from stretta.http.client.request_body import Body
from stretta.http.client.response_parser import Head, Piece
from stretta.http.message.url import Url
from stretta.net.client.channel.event_loop import AsyncChannel, open_channel
from stretta.net.client.connect import dial_async
from stretta.options.http_client import HttpClientLimits, HttpPatience, HttpRoute
from stretta.reports import Observer

if TYPE_CHECKING:
    from stretta.http.client.response import Response

__all__ = ["AsyncClient", "AsyncResponseStream", "get_async"]


class LoopNetwork:
    """Connections on the running event loop."""

    async def dial(
        self, host: str, port: int, *, timeout: float, server: str, family: int, watch: Observer
    ) -> AsyncChannel:
        return await open_channel(
            await dial_async(host, port, timeout=timeout, server=server, family=family, watch=watch)
        )


async def get_async(
    url: str,
    *,
    headers: GivenHeaders = (),
    version: HttpVersion = "1.1",
    follow: bool = False,
    patience: HttpPatience | None = None,
    limits: HttpClientLimits | None = None,
    route: HttpRoute | None = None,
) -> Response:
    """Do what ``get`` does, without blocking the event loop; raises the same errors.

    >>> import asyncio
    >>> from stretta import http
    >>> asyncio.run(http.get_async(getfixture("hello_url"))).body
    b'ciao'
    """
    async with AsyncClient(
        version=version, follow=follow, patience=patience, limits=limits, route=route
    ) as client:
        return await client.request("GET", url, headers=headers)


class AsyncClient(BaseClient):
    """Asks servers from coroutines; connections that stay open serve the next request.

    Use it as an async context manager, within one event loop.

    >>> import asyncio
    >>> from stretta import http
    >>> async def both(url):
    ...     async with http.AsyncClient() as client:
    ...         return await asyncio.gather(client.get(url), client.get(url))
    >>> [response.text for response in asyncio.run(both(getfixture("hello_url")))]
    ['ciao', 'ciao']
    """

    network = LoopNetwork

    async def get(self, url: str | Url, *, headers: GivenHeaders = ()) -> Response:
        """Return the whole response to a GET; raises what ``stretta.http.get`` does."""
        return await self.request("GET", url, headers=headers)

    async def request(
        self, method: str, url: str | Url, *, headers: GivenHeaders = (), body: Body = b""
    ) -> Response:
        """Return the whole response to a request; raises what ``stretta.http.get`` does."""
        return await (await self._open(method, url, headers, body)).whole()

    @asynccontextmanager
    async def stream(
        self, method: str, url: str | Url, *, headers: GivenHeaders = (), body: Body = b""
    ) -> AsyncIterator[AsyncResponseStream]:
        """Give the response as soon as its head has come; its body follows in pieces.

        Use it as an async context manager. Raises what ``stretta.http.get`` does.

        >>> import asyncio
        >>> from stretta import http
        >>> async def size(url):
        ...     async with http.AsyncClient() as client, client.stream("GET", url) as stream:
        ...         return stream.head.status, sum([len(piece) async for piece in stream])
        >>> asyncio.run(size(getfixture("hello_url")))
        (200, 4)
        """
        stream = await self._open(method, url, headers, body)
        try:
            yield stream
        finally:
            stream.exchange.abort()

    async def _open(
        self, method: str, url: str | Url, headers: GivenHeaders, body: Body
    ) -> AsyncResponseStream:
        request = self.make_request(method, url, headers, body)
        return AsyncResponseStream(await self._core.open(request))

    async def close(self) -> None:
        """Close the connections that are at rest."""
        self._core.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


class AsyncResponseStream:
    """A response whose body is still coming; iterating gives its pieces, decoded.

    >>> import asyncio
    >>> from stretta import http
    >>> async def pieces(url):
    ...     async with http.AsyncClient() as client, client.stream("GET", url) as stream:
    ...         return [bytes(piece) async for piece in stream]
    >>> asyncio.run(pieces(getfixture("hello_url")))
    [b'ciao']
    """

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange

    @property
    def head(self) -> Head:
        """The head of the response."""
        return self.exchange.head

    async def __aiter__(self) -> AsyncIterator[Piece]:
        while piece := await self.exchange.read():
            yield piece

    async def whole(self) -> Response:
        """Return the response with all of its body. Raises what ``stretta.http.get`` does."""
        from stretta.http.client.response import Response  # noqa: PLC0415 - the command needs none

        body = bytearray()
        try:
            while piece := await self.exchange.read():
                body += piece
                self.exchange.check_size(MOST_DECODED)
        except ReplyEndedEarly as error:
            error.reply = bytes(body)
            raise
        return Response.of(self.exchange, bytes(body))
