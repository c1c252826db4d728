"""UDP: datagrams, each on its own; ``ask`` a server, or ``serve`` with a function."""

from typing import TYPE_CHECKING

from stretta.lazy import lazy_names

if TYPE_CHECKING:
    from stretta.udp.client import ask, ask_async
    from stretta.udp.server import UdpServer, serve

__all__ = ["UdpServer", "ask", "ask_async", "serve"]

__getattr__ = lazy_names(
    __name__, {"ask": "client", "ask_async": "client", "UdpServer": "server", "serve": "server"}
)
