"""HTTP: ``serve`` a folder or a function, or ``get`` what is at a URL."""

from typing import TYPE_CHECKING

from stretta.lazy import lazy_names

if TYPE_CHECKING:
    from stretta.http.async_client import AsyncClient, AsyncResponseStream, get_async
    from stretta.http.client import Client, ResponseStream, get
    from stretta.http.headers import Headers
    from stretta.http.response import Response
    from stretta.http.server import HttpServer, serve

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
        "AsyncClient": "async_client",
        "AsyncResponseStream": "async_client",
        "Client": "client",
        "Headers": "headers",
        "Response": "response",
        "ResponseStream": "client",
        "get": "client",
        "get_async": "async_client",
        "HttpServer": "server",
        "serve": "server",
    },
)
