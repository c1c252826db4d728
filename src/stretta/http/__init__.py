"""HTTP: ``serve`` a folder or a function, or ``get`` what is at a URL."""

from typing import TYPE_CHECKING

from stretta.lazy import lazy_names

if TYPE_CHECKING:
    from stretta.http.server import HttpServer, serve

__all__ = ["HttpServer", "serve"]

__getattr__ = lazy_names(
    __name__,
    {
        "HttpServer": "server",
        "serve": "server",
    },
)
