"""A complete response, as a value."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Self

from stretta.address import Endpoint
from stretta.http.client.exchange import Exchange
from stretta.http.client.exchange_state import Phases
from stretta.http.client.request import ClientRequest
from stretta.http.client.response_parser import Head
from stretta.http.client.status_error import status_error
from stretta.http.message.charset import charset_of
from stretta.http.message.headers import Headers

__all__ = ["Response"]


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class Response:
    """A response to a request.

    ``body`` is decoded; ``received`` counts its bytes as they were transferred. ``request_head``
    and ``head.raw`` are the heads byte for byte. ``interim`` holds the heads of 1xx responses,
    ``server`` is the address that answered, ``phases`` holds times in seconds since the start, and
    ``history`` the redirects that were followed.

    >>> from stretta import http
    >>> response = http.get(getfixture("hello_url"))
    >>> response.status, response.body, response.received, response.history
    (200, b'ciao', 4, ())
    """

    request: ClientRequest
    request_head: bytes
    head: Head
    body: bytes
    received: int
    trailers: Headers
    interim: tuple[Head, ...]
    server: Endpoint
    phases: Phases
    history: tuple[Self, ...] = ()

    @classmethod
    def of(cls, exchange: Exchange, body: bytes) -> Self:
        """Return the response of an exchange that has ended."""
        parser = exchange.parser
        return cls(
            request=exchange.request,
            request_head=exchange.state.request_head,
            head=exchange.head,
            body=body,
            received=parser.received,
            trailers=parser.trailers,
            interim=tuple(parser.interim),
            server=exchange.server,
            phases=exchange.phases,
            history=tuple(cls.of(earlier, b"") for earlier in exchange.history),
        )

    def __repr__(self) -> str:
        return f"Response({self.status}, {self.url!r})"

    @property
    def url(self) -> str:
        """The URL that was requested last, without user and password."""
        return str(self.request.url)

    @property
    def status(self) -> int:
        """The status code, 200 to 999."""
        return self.head.status

    @property
    def reason(self) -> str:
        """The reason phrase; often empty."""
        return self.head.reason

    @property
    def headers(self) -> Headers:
        """The header fields."""
        return self.head.headers

    @property
    def text(self) -> str:
        """The body as text, in the charset that it declares; invalid bytes become U+FFFD."""
        charset = charset_of(self.headers.get("content-type"), self.body[:1024])
        return self.body.decode(charset, "replace").removeprefix("\ufeff")

    def json(self) -> Any:
        """Return the value of a JSON body. Raises ValueError when it is not JSON."""
        return json.loads(self.body)

    def check(self) -> Self:
        """Return this response. Raises HttpStatus when its status is 3xx, 4xx or 5xx."""
        error = status_error(self.head, self.url)
        if error is not None:
            raise error
        return self
