"""The HTTP client on an event loop: ``get_async`` for one URL, ``AsyncClient`` for several."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from types import TracebackType
from typing import TYPE_CHECKING, Self

from stretta.errors import ReplyEndedEarly
from stretta.http.client.blocking import BaseClient, GivenHeaders
from stretta.http.client.exchange import Exchange
from stretta.http.client.exchange_state import MAX_IN_MEMORY
from stretta.http.client.request import Body, HttpVersion
from stretta.http.client.response_parser import Buffer, Head
from stretta.http.message.url import Url
from stretta.net.client.channel.event_loop import AsyncChannel, open_channel
from stretta.net.client.connect import dial_async
from stretta.options.http_client import HttpClientLimits, HttpPatience, HttpRoute
from stretta.reports import Observer

if TYPE_CHECKING:
    from stretta.http.client.response import Response

__all__ = ["AsyncClient", "AsyncResponseStream", "get_async"]


class LoopNetwork:
    """Opens connections on the running event loop."""

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
    """Sends requests from coroutines, and keeps open connections for further requests.

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
        """Return the whole response to a GET request; raises the errors of ``stretta.http.get``."""
        return await self.request("GET", url, headers=headers)

    async def request(
        self, method: str, url: str | Url, *, headers: GivenHeaders = (), body: Body = b""
    ) -> Response:
        """Return the whole response to a request; raises the errors of ``stretta.http.get``."""
        stream = await self._open(method, url, headers, body)
        try:
            return await stream.whole()
        finally:
            stream.exchange.abort()

    @asynccontextmanager
    async def stream(
        self, method: str, url: str | Url, *, headers: GivenHeaders = (), body: Body = b""
    ) -> AsyncIterator[AsyncResponseStream]:
        """Yield the response when its head has arrived; iterating it reads the body.

        Use it as an async context manager. Raises the errors of ``stretta.http.get``.

        >>> import asyncio
        >>> from stretta import http
        >>> async def size(url):
        ...     async with http.AsyncClient() as client, client.stream("GET", url) as stream:
        ...         return stream.head.status, sum([len(chunk) async for chunk in stream])
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
        return AsyncResponseStream(await self._sender.send(request))

    async def close(self) -> None:
        """Close the idle connections; from now on none is kept."""
        self._sender.close()

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
    """A response whose body is read while it arrives; iterating yields its chunks, decoded.

    >>> import asyncio
    >>> from stretta import http
    >>> async def chunks(url):
    ...     async with http.AsyncClient() as client, client.stream("GET", url) as stream:
    ...         return [bytes(chunk) async for chunk in stream]
    >>> asyncio.run(chunks(getfixture("hello_url")))
    [b'ciao']
    """

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange

    @property
    def head(self) -> Head:
        """The head of the response."""
        return self.exchange.head

    async def __aiter__(self) -> AsyncIterator[Buffer]:
        while chunk := await self.exchange.read():
            yield chunk

    async def whole(self) -> Response:
        """Read the rest of the body; return the response. Raises what iterating raises."""
        from stretta.http.client.response import Response  # noqa: PLC0415 - the command needs none

        body = BytesIO()  # unlike a bytearray it gives its bytes away without a copy
        try:
            while chunk := await self.exchange.read():
                body.write(chunk)
                self.exchange.state.check_size(MAX_IN_MEMORY)
        except ReplyEndedEarly as error:
            error.reply = body.getvalue()
            raise
        return Response.of(self.exchange, body.getvalue())
