"""HTTP: ``serve`` a folder or a function, or ``get`` what is at a URL."""

from typing import TYPE_CHECKING

from stretta.lazy import lazy_names

if TYPE_CHECKING:
    from stretta.http.client.asynchronous import AsyncClient, AsyncResponseStream, get_async
    from stretta.http.client.blocking import Client, ResponseStream, get
    from stretta.http.client.response import Response
    from stretta.http.message.headers import Headers
    from stretta.http.server.server import HttpServer, serve

__all__ = [
    "AsyncClient",
    "AsyncResponseStream",
    "Client",
    "Headers",
    "HttpServer",
    "Response",
    "ResponseStream",
    "get",
    "get_async",
    "serve",
]

__getattr__ = lazy_names(
    __name__,
    {
        "AsyncClient": "client.asynchronous",
        "AsyncResponseStream": "client.asynchronous",
        "Client": "client.blocking",
        "Headers": "message.headers",
        "Response": "client.response",
        "ResponseStream": "client.blocking",
        "get": "client.blocking",
        "get_async": "client.asynchronous",
        "HttpServer": "server.server",
        "serve": "server.server",
    },
)
