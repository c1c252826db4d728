"""A response that has come whole, as a value."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Self

from stretta.address import Endpoint
from stretta.http.client.exchange import Exchange, Phases
from stretta.http.client.request import ClientRequest
from stretta.http.client.response_parser import Head
from stretta.http.client.status_error import status_error
from stretta.http.message.charset import charset_of
from stretta.http.message.headers import Headers

__all__ = ["Response"]


@dataclass(slots=True, kw_only=True, eq=False)
class Response:
    """A response to a request, and how it came.

    ``body`` is decoded; ``received`` is the bytes it took on the way. ``request_head`` and
    ``head.raw`` are the heads byte for byte, ``interim`` the heads of 1xx responses, ``server`` the
    address that answered, ``phases`` when what happened, in seconds since the beginning.
    ``history`` holds the redirects that led here.

    >>> from stretta import http
    >>> response = http.get(getfixture("hello_url"))
    >>> response.status, response.body, response.received, response.history
    (200, b'ciao', 4, ())
    """

    request: ClientRequest
    request_head: bytes = field(repr=False)
    head: Head
    body: bytes = field(repr=False)
    received: int
    trailers: Headers
    interim: tuple[Head, ...]
    server: Endpoint
    phases: Phases
    history: tuple[Self, ...] = ()

    @classmethod
    def of(cls, exchange: Exchange, body: bytes) -> Self:
        """Return the response that an exchange has brought."""
        reader = exchange.reader
        return cls(
            request=exchange.request,
            request_head=exchange.request_head,
            head=exchange.head,
            body=body,
            received=reader.received,
            trailers=reader.trailers,
            interim=tuple(reader.interim),
            server=exchange.server,
            phases=exchange.phases,
            history=tuple(cls.of(earlier, b"") for earlier in exchange.history),
        )

    @property
    def url(self) -> str:
        """The URL that gave this response."""
        return str(self.request.url)

    @property
    def status(self) -> int:
        """The status code, 200 to 999."""
        return self.head.status

    @property
    def reason(self) -> str:
        """The server's words for the status; often empty."""
        return self.head.reason

    @property
    def headers(self) -> Headers:
        """The header fields."""
        return self.head.headers

    @property
    def text(self) -> str:
        """The body as text, in the charset that it declares; what is none becomes U+FFFD."""
        charset = charset_of(self.headers.get("content-type"), self.body[:1024])
        return self.body.decode(charset, "replace").removeprefix("\ufeff")

    def json(self) -> Any:
        """Return the object that the body holds. Raises ValueError when it holds none."""
        return json.loads(self.body)

    def check(self) -> Self:
        """Return this response. Raises HttpStatus when its status is 3xx, 4xx or 5xx."""
        error = status_error(self.head, self.url)
        if error is not None:
            raise error
        return self
