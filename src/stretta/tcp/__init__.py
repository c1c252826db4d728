"""TCP: a stream of bytes both ways; ``ask`` a server, or ``serve`` with a function."""

from typing import TYPE_CHECKING

from stretta.lazy import lazy_names

if TYPE_CHECKING:
    from stretta.tcp.client import Conversation, ask, ask_async, connect
    from stretta.tcp.server import TcpServer, serve

__all__ = ["Conversation", "TcpServer", "ask", "ask_async", "connect", "serve"]

__getattr__ = lazy_names(
    __name__,
    {
        "Conversation": "client",
        "ask": "client",
        "ask_async": "client",
        "connect": "client",
        "TcpServer": "server",
        "serve": "server",
    },
)
