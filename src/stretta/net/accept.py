"""Accepting connections, also when the machine has nothing left to accept them with.

After a first EMFILE asyncio's own servers go on calling accept() as often as the backlog is long,
and each failure starts another timer. This one stops at the first, and looks again a second later.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

__all__ = ["Acceptor"]

BATCH = 64
"""Connections taken before those that are open get their turn."""

PAUSE = 1.0
"""Seconds until accepting is tried again after the machine ran out of something."""

EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

Connect = Callable[..., Awaitable[Any]]


class Acceptor:
    """Gives each connection of a listening socket a protocol of its own.

    ``factory`` makes it; ``exhausted`` is called with the error when there is no descriptor or no
    memory for the next one; accepting then pauses, and the rest waits in the listen queue.
    """

    def __init__(
        self,
        sock: socket.socket,
        factory: Callable[[], asyncio.BaseProtocol],
        *,
        backlog: int,
        exhausted: Callable[[OSError], None],
    ) -> None:
        self._sock, self._factory, self._exhausted = sock, factory, exhausted
        self._loop = asyncio.get_running_loop()
        self._connect = _connector(self._loop)
        self._starting: set[asyncio.Future[Any]] = set()
        self._pause: asyncio.TimerHandle | None = None
        sock.listen(min(backlog, 2**31 - 1))
        self._resume()

    def close(self) -> None:
        """Accept who waits already, and nobody after that."""
        if self._pause is not None:
            self._pause.cancel()
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock)
            with suppress(OSError):  # no room: they are lost
                while self._accept():  # else the kernel would reset them all
                    pass
            self._sock.close()

    @property
    def starting(self) -> int:
        """How many accepted connections have no protocol yet."""
        return len(self._starting)

    def _resume(self) -> None:
        self._pause = None
        self._loop.add_reader(self._sock, self._ready)

    def _ready(self) -> None:
        try:
            self._accept()
        except OSError as error:
            self._loop.remove_reader(self._sock)
            self._pause = self._loop.call_later(PAUSE, self._resume)
            self._exhausted(error)

    def _accept(self) -> bool:
        """Take a batch; return whether more may wait. Raises OSError when there is no room."""
        for _ in range(BATCH):
            try:
                connection, _address = self._sock.accept()
            except (BlockingIOError, InterruptedError):
                return False
            except ConnectionAbortedError:  # reset while it waited
                continue
            except OSError as error:
                if error.errno in EXHAUSTED:
                    raise
                continue  # that connection's own trouble (accept(2), Error handling)
            connection.setblocking(False)
            task = self._loop.create_task(self._start(connection))
            self._starting.add(task)  # the loop itself holds tasks only weakly
            task.add_done_callback(self._starting.discard)
        return True

    async def _start(self, connection: socket.socket) -> None:
        try:
            await self._connect(self._loop, self._factory, connection)
        except OSError:  # gone before its first byte
            connection.close()


def _connector(loop: asyncio.AbstractEventLoop) -> Connect:
    """Return what makes a transport of an accepted socket: aiofastnet's, or the loop's own."""
    try:
        from aiofastnet import (  # noqa: PLC0415 - there is not one for each platform
            connect_accepted_socket,
        )
    except ImportError:
        return lambda _, factory, sock: loop.connect_accepted_socket(factory, sock)
    return connect_accepted_socket
