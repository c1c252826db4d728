"""The blocking HTTP client: ``get`` for one URL, ``Client`` for several; no event loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from io import BytesIO
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Self

from stretta.errors import ReplyEndedEarly
from stretta.http.client.connector import Connector, Network
from stretta.http.client.exchange import Exchange
from stretta.http.client.exchange_state import MAX_IN_MEMORY
from stretta.http.client.request import Body, ClientRequest, HttpVersion
from stretta.http.client.request_body import body_size
from stretta.http.client.request_sender import RequestSender
from stretta.http.client.response_parser import Buffer, Head
from stretta.http.message.headers import NO_HEADERS, Headers
from stretta.http.message.url import Url, parse_url
from stretta.net.client.channel.blocking import BlockingChannel
from stretta.net.client.channel.interface import Channel, run_now
from stretta.net.client.connect import dial
from stretta.options.http_client import (
    HttpClientLimits,
    HttpPatience,
    HttpRequestOptions,
    HttpRoute,
)
from stretta.reports import Observer

if TYPE_CHECKING:
    from stretta.http.client.response import Response

__all__ = ["BaseClient", "Client", "GivenHeaders", "ResponseStream", "get", "make_request"]

GivenHeaders = Mapping[str, str] | Iterable[tuple[str, str]]


class BlockingNetwork:
    """Opens connections with blocking calls."""

    async def dial(
        self, host: str, port: int, *, timeout: float, server: str, family: int, watch: Observer
    ) -> BlockingChannel:
        return BlockingChannel(
            dial(host, port, timeout=timeout, server=server, family=family, watch=watch)
        )


def make_request(
    method: str,
    url: str | Url,
    headers: GivenHeaders = (),
    body: Body = b"",
    version: HttpVersion = "1.1",
    *,
    compressed: bool = True,
) -> ClientRequest:
    """Return the request for these arguments. Raises UsageError when it cannot be sent."""
    if version not in {"1.0", "1.1"}:
        HttpRequestOptions(http=version)  # raises UsageError
    pairs = tuple(headers.items() if isinstance(headers, Mapping) else headers)
    size = body_size(body)
    if size is None and version == "1.0" and not isinstance(body, bytes):
        body = body.read()  # HTTP/1.0 has no chunked coding: the length must be known
        size = len(body)
    return ClientRequest(
        url=parse_url(url) if isinstance(url, str) else url,
        method=method.upper(),
        headers=Headers(pairs) if pairs else NO_HEADERS,
        body=body,
        size=size,
        version=version,
        compressed=compressed,
    )


def get(
    url: str,
    *,
    headers: GivenHeaders = (),
    version: HttpVersion = "1.1",
    follow: bool = False,
    patience: HttpPatience | None = None,
    limits: HttpClientLimits | None = None,
    route: HttpRoute | None = None,
) -> Response:
    """Return the server's whole response to a GET request for ``url``, whatever its status.

    ``url`` may be in a short form (``:8080/x``). Raises UsageError (a bad URL), NetworkError
    (refused, reset, unreachable, no such name), TimedOut, InvalidReply (not HTTP), and
    ReplyEndedEarly, whose ``reply`` holds the part of the body that arrived.

    >>> from stretta import http
    >>> response = http.get(getfixture("hello_url"))
    >>> response.status, response.headers.get("content-type"), response.text
    (200, 'text/plain', 'ciao')
    """
    with Client(
        version=version, follow=follow, patience=patience, limits=limits, route=route
    ) as client:
        return client.request("GET", url, headers=headers)


class BaseClient:
    """The options of both clients.

    ``version``: of HTTP; ``compressed``: request compressed bodies, and decode them; ``follow``:
    follow redirects; ``family``: AF_INET or AF_INET6 to use only such addresses; ``watch`` is
    called with each report; ``wrap`` is called with each new channel and returns the one to use.
    """

    network: ClassVar[type[Network]]

    def __init__(
        self,
        *,
        version: HttpVersion = "1.1",
        compressed: bool = True,
        follow: bool = False,
        patience: HttpPatience | None = None,
        limits: HttpClientLimits | None = None,
        route: HttpRoute | None = None,
        family: int = 0,
        watch: Observer | None = None,
        wrap: Callable[[Channel], Channel] | None = None,
    ) -> None:
        self._version = version
        self._compressed = compressed
        patience = patience or HttpPatience()
        connector = Connector(
            self.network(),
            patience=patience,
            route=route or HttpRoute(),
            family=family,
            wrap=wrap,
        )
        self._sender = RequestSender(
            connector,
            patience=patience,
            limits=limits or HttpClientLimits(),
            follow=follow,
            decode=compressed,
            watch=watch,
        )

    @property
    def limits(self) -> HttpClientLimits:
        """What the client accepts from a server."""
        return self._sender.limits

    def make_request(
        self, method: str, url: str | Url, headers: GivenHeaders = (), body: Body = b""
    ) -> ClientRequest:
        """Return the request for these arguments. Raises UsageError when it cannot be sent."""
        return make_request(method, url, headers, body, self._version, compressed=self._compressed)


class Client(BaseClient):
    """Sends requests, and keeps open connections for further requests to the same server.

    Use it as a context manager, in one thread.

    >>> from stretta import http
    >>> with http.Client() as client:
    ...     client.request("HEAD", getfixture("hello_url")).status
    200
    """

    network = BlockingNetwork

    def get(self, url: str | Url, *, headers: GivenHeaders = ()) -> Response:
        """Return the whole response to a GET request; raises the errors of ``stretta.http.get``."""
        return self.request("GET", url, headers=headers)

    def request(
        self, method: str, url: str | Url, *, headers: GivenHeaders = (), body: Body = b""
    ) -> Response:
        """Return the whole response to a request; raises the errors of ``stretta.http.get``."""
        with self.stream(method, url, headers=headers, body=body) as stream:
            return stream.whole()

    def stream(
        self, method: str, url: str | Url, *, headers: GivenHeaders = (), body: Body = b""
    ) -> ResponseStream:
        """Return the response when its head has arrived; iterating it reads the body.

        Use it as a context manager. Raises the errors of ``stretta.http.get``.

        >>> from stretta import http
        >>> with http.Client() as client, client.stream("GET", getfixture("hello_url")) as stream:
        ...     stream.head.status, b"".join(stream)
        (200, b'ciao')
        """
        return self.send(self.make_request(method, url, headers, body))

    def send(self, request: ClientRequest) -> ResponseStream:
        """Do what ``stream`` does with a request from ``make_request``."""
        return ResponseStream(run_now(self._sender.send(request)))

    def close(self) -> None:
        """Close the idle connections; from now on none is kept."""
        self._sender.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class ResponseStream:
    """A response whose body is read while it arrives; iterating yields its chunks, decoded.

    A chunk is valid until the next one is read.

    >>> from stretta import http
    >>> with http.Client() as client, client.stream("GET", getfixture("hello_url")) as stream:
    ...     stream.head.status, [bytes(chunk) for chunk in stream]
    (200, [b'ciao'])
    """

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange

    @property
    def head(self) -> Head:
        """The head of the response."""
        return self.exchange.head

    def __iter__(self) -> Iterator[Buffer]:
        while chunk := run_now(self.exchange.read()):
            yield chunk

    def whole(self) -> Response:
        """Read the rest of the body; return the response. Raises what iterating raises."""
        from stretta.http.client.response import Response  # noqa: PLC0415 - the command needs none

        body = BytesIO()  # unlike a bytearray it gives its bytes away without a copy
        try:
            for chunk in self:
                body.write(chunk)
                self.exchange.state.check_size(MAX_IN_MEMORY)
        except ReplyEndedEarly as error:
            error.reply = body.getvalue()
            raise
        return Response.of(self.exchange, body.getvalue())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.exchange.abort()
