"""The event loop: uvloop with aiofastnet's transports where they are, plain asyncio elsewhere."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["run", "serve_socket"]

T = TypeVar("T")

try:
    import uvloop

    new_event_loop: Callable[[], asyncio.AbstractEventLoop] | None = uvloop.new_event_loop
except ImportError:  # no wheel for this platform
    new_event_loop = None


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run ``main`` to its end on the fastest event loop there is, and return its result."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main)


async def serve_socket(
    factory: Callable[[], asyncio.BaseProtocol], sock: socket.socket, *, backlog: int
) -> asyncio.AbstractServer:
    """Accept connections of a bound socket, each with a protocol of its own from ``factory``."""
    loop = asyncio.get_running_loop()
    try:
        from aiofastnet import create_server  # noqa: PLC0415 - there is not one for each platform
    except ImportError:
        return await loop.create_server(factory, sock=sock, backlog=backlog)
    return await create_server(loop, factory, sock=sock, backlog=backlog)
