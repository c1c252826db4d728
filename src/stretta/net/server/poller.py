"""Accepted connections on the event loop's own transports: the Python twin of ``_poller.pyx``."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from stretta.native import uses_compiled
from stretta.net.server.transport import FastTransport

if TYPE_CHECKING:
    from stretta.net.server import _poller

__all__ = ["Poller", "as_fast", "open_poller"]

try:
    from stretta.net.server._poller import Poller as CompiledPoller
    from stretta.net.server._poller import Transport as CompiledTransport
except ImportError:  # not compiled on this system
    CompiledPoller = CompiledTransport = None  # type: ignore[assignment,misc]


def open_poller(loop: asyncio.AbstractEventLoop) -> Poller | _poller.Poller:
    """Return the compiled poller, or its Python twin where it is missing or unwanted."""
    if CompiledPoller is not None and uses_compiled():
        return CompiledPoller(loop)
    return Poller(loop)


def as_fast(transport: asyncio.BaseTransport) -> FastTransport | None:
    """Return the transport as a fast one, or None when it is another kind."""
    return cast("FastTransport", transport) if type(transport) is CompiledTransport else None


class Poller:
    """Accepts connections and gives each a transport of the event loop ``loop``."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport = _transport_class()
        self._tasks: set[asyncio.Task[None]] = set()
        self._starting = 0  # transports that have not called connection_made yet

    @property
    def starting(self) -> int:
        """The number of accepted connections whose protocol has not been told yet."""
        return len(self._tasks) + self._starting

    def accept(
        self, listener: socket.socket, factory: Callable[[], asyncio.BaseProtocol], most: int
    ) -> bool:
        """Accept up to ``most`` connections; return whether more may wait.

        ``factory()`` makes the protocol of each. Raises OSError as accept(2) does.
        """
        for _ in range(most):
            try:
                connection, _address = listener.accept()
            except (BlockingIOError, InterruptedError):
                return False
            connection.setblocking(False)
            self._start(connection, factory)
        return True

    def retire(self) -> None:
        """Do nothing: the event loop owns the transports."""

    def _start(
        self, connection: socket.socket, factory: Callable[[], asyncio.BaseProtocol]
    ) -> None:
        if self._transport is None:
            task = self._loop.create_task(self._connect(connection, factory))
            self._tasks.add(task)  # the loop itself holds tasks only weakly
            task.add_done_callback(self._tasks.discard)
            return
        try:
            self._transport(self._loop, connection, factory())
        except OSError:  # the peer has gone already
            connection.close()
            return
        # the transport has scheduled connection_made; this callback runs after it
        self._starting += 1
        self._loop.call_soon(self._started)

    def _started(self) -> None:
        self._starting -= 1

    async def _connect(
        self, connection: socket.socket, factory: Callable[[], asyncio.BaseProtocol]
    ) -> None:
        try:
            await self._loop.connect_accepted_socket(factory, connection)
        except OSError:  # the peer has gone already
            connection.close()


def _transport_class() -> Callable[..., Any] | None:
    """Return aiofastnet's transport class, or None where it is not installed.

    Made directly: the task and the future of ``connect_accepted_socket`` take as long as all the
    rest of accepting.
    """
    try:
        # optional, and compiled without types
        from aiofastnet.selector_transport import (  # type: ignore[import-not-found]  # noqa: PLC0415
            SelectorSocketTransport,
        )
    except ImportError:
        return None
    return SelectorSocketTransport  # type: ignore[no-any-return]
