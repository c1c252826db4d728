"""The blocking HTTP client: ``get`` a URL, or keep a ``Client`` for several; no event loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Self

from stretta.errors import ReplyEndedEarly
from stretta.http.client.connection_pool import Core, Network
from stretta.http.client.exchange import MOST_DECODED, Exchange
from stretta.http.client.request import ClientRequest, HttpVersion
from stretta.http.client.request_body import Body, body_size
from stretta.http.client.response_parser import Head, Piece
from stretta.http.message.headers import NO_HEADERS, Headers
from stretta.http.message.url import Url, parse_url
from stretta.net.client.channel.blocking import BlockingChannel
from stretta.net.client.channel.interface import Channel, run_now
from stretta.net.client.connect import dial
from stretta.options.http_client import HttpClientLimits, HttpPatience, HttpRoute
from stretta.reports import Observer

if TYPE_CHECKING:
    from stretta.http.client.response import Response

__all__ = ["BaseClient", "Client", "GivenHeaders", "ResponseStream", "get", "make_request"]

GivenHeaders = Mapping[str, str] | Iterable[tuple[str, str]]


class BlockingNetwork:
    """Connections by blocking calls."""

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
    pairs = tuple(headers.items() if isinstance(headers, Mapping) else headers)
    size = body_size(body)
    if size is None and version == "1.0" and not isinstance(body, bytes):
        body = body.read()  # HTTP/1.0 has no chunks: the length has to be known
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
    """Return the server's whole response to a GET of ``url``, whatever its status.

    ``url`` may be in a short form (``:8080/x``). Raises UsageError (a bad URL), NetworkError
    (refused, reset, unreachable, no such name), TimedOut, InvalidReply (no HTTP), and
    ReplyEndedEarly, whose ``reply`` is what had come of the body.

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
    """What the blocking client and the one on an event loop are made with.

    ``version`` of HTTP; ``compressed``: ask for compressed bodies, and decode them; ``follow``
    redirects; ``family``: AF_INET or AF_INET6 for such addresses only; ``watch`` is called with
    each report; ``wrap`` is given each new connection's channel, and returns the one to use.
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
        self._core = Core(
            self.network(),
            patience=patience,
            limits=limits,
            route=route,
            family=family,
            follow=follow,
            decode=compressed,
            watch=watch,
            wrap=wrap,
        )

    @property
    def limits(self) -> HttpClientLimits:
        """What is taken from a server."""
        return self._core.limits

    def make_request(
        self, method: str, url: str | Url, headers: GivenHeaders = (), body: Body = b""
    ) -> ClientRequest:
        """Return the request for these arguments. Raises UsageError when it cannot be sent."""
        return make_request(method, url, headers, body, self._version, compressed=self._compressed)


class Client(BaseClient):
    """Asks servers, and keeps the connections that they leave open for the next request.

    Use it as a context manager. It belongs to one thread.

    >>> from stretta import http
    >>> with http.Client() as client:
    ...     client.request("HEAD", getfixture("hello_url")).status
    200
    """

    network = BlockingNetwork

    def get(self, url: str | Url, *, headers: GivenHeaders = ()) -> Response:
        """Return the whole response to a GET; raises what ``stretta.http.get`` does."""
        return self.request("GET", url, headers=headers)

    def request(
        self, method: str, url: str | Url, *, headers: GivenHeaders = (), body: Body = b""
    ) -> Response:
        """Return the whole response to a request; raises what ``stretta.http.get`` does."""
        with self.stream(method, url, headers=headers, body=body) as stream:
            return stream.whole()

    def stream(
        self, method: str, url: str | Url, *, headers: GivenHeaders = (), body: Body = b""
    ) -> ResponseStream:
        """Return the response as soon as its head has come; its body follows in pieces.

        Use it as a context manager. Raises what ``stretta.http.get`` does.

        >>> from stretta import http
        >>> with http.Client() as client, client.stream("GET", getfixture("hello_url")) as stream:
        ...     stream.head.status, b"".join(stream)
        (200, b'ciao')
        """
        return self.send(self.make_request(method, url, headers, body))

    def send(self, request: ClientRequest) -> ResponseStream:
        """Return what ``stream`` does, for a request that ``make_request`` has made."""
        return ResponseStream(run_now(self._core.open(request)))

    def close(self) -> None:
        """Close the connections that are at rest."""
        self._core.close()

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
    """A response whose body is still coming; iterating gives its pieces, decoded.

    A piece is valid until the next one is asked for.

    >>> from stretta import http
    >>> with http.Client() as client, client.stream("GET", getfixture("hello_url")) as stream:
    ...     stream.head.status, [bytes(piece) for piece in stream]
    (200, [b'ciao'])
    """

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange

    @property
    def head(self) -> Head:
        """The head of the response."""
        return self.exchange.head

    def __iter__(self) -> Iterator[Piece]:
        while piece := run_now(self.exchange.read()):
            yield piece

    def whole(self) -> Response:
        """Return the response with all of its body. Raises what ``stretta.http.get`` does."""
        from stretta.http.client.response import Response  # noqa: PLC0415 - the command needs none

        body = bytearray()
        try:
            for piece in self:
                body += piece
                self.exchange.check_size(MOST_DECODED)
        except ReplyEndedEarly as error:
            error.reply = bytes(body)
            raise
        return Response.of(self.exchange, bytes(body))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.exchange.abort()
