"""Accepting connections, also when the machine has nothing left to accept them with.

After a first EMFILE asyncio's own servers go on calling accept() as often as the backlog is long,
and each failure starts another timer. This one stops at the first, and looks again a second later.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from stretta.native import uses_compiled

if TYPE_CHECKING:
    from stretta.net.server._poller import Poller

__all__ = ["Acceptor"]

BATCH = 64
"""Connections taken before those that are open get their turn."""

PAUSE = 1.0
"""Seconds until accepting is tried again after the machine ran out of something."""

ITS_OWN = {
    errno.ECONNABORTED, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH,
    errno.ENOPROTOOPT, errno.EOPNOTSUPP, errno.EPERM, errno.EPROTO, errno.ETIMEDOUT,
}  # fmt: skip
"""The trouble of one connection, after which the next can be fine (accept(2), Error handling)."""


class Acceptor:
    """Gives each connection of the listening ``sockets`` a protocol of its own.

    ``factory`` makes it; ``exhausted`` is called with the error when there is no descriptor or no
    memory for the next one; accepting then pauses, and the rest waits in the listen queues.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        factory: Callable[[], asyncio.BaseProtocol],
        *,
        backlog: int,
        exhausted: Callable[[OSError], None],
    ) -> None:
        self._sockets, self._factory, self._exhausted = sockets, factory, exhausted
        self._backlog = min(backlog, 2**31 - 1)
        self._loop = asyncio.get_running_loop()
        for sock in sockets:
            sock.listen(self._backlog)
        # one for all of them: what all connections have for us is asked for at one moment
        self._poller = _poller(self._loop)
        self._transport = None if self._poller else _transport()
        self._starting: set[asyncio.Future[Any]] = set()
        self._waiting = 0  # transports that have not called connection_made yet
        self._pause: asyncio.TimerHandle | None = None
        self._resume()

    def close(self) -> None:
        """Accept who waits already, and nobody after that."""
        if self._pause is not None:
            self._pause.cancel()
        sockets, self._sockets = self._sockets, ()
        for sock in sockets:
            self._loop.remove_reader(sock)
            with suppress(OSError):  # no room: they are lost
                for _ in range(0, self._backlog + 1, BATCH):
                    if not self._accept(sock):  # who still waits, the kernel resets
                        break
            sock.close()
        if self._poller is not None and sockets:
            self._poller.retire()

    @property
    def starting(self) -> int:
        """How many accepted connections have no protocol yet."""
        return len(self._starting) + self._waiting

    def _resume(self) -> None:
        self._pause = None
        for sock in self._sockets:
            self._loop.add_reader(sock, self._ready, sock)

    def _ready(self, sock: socket.socket) -> None:
        try:
            self._accept(sock)
        except OSError as error:
            for each in self._sockets:
                self._loop.remove_reader(each)
            self._pause = self._loop.call_later(PAUSE, self._resume)
            self._exhausted(error)

    def _accept(self, sock: socket.socket) -> bool:
        """Take a batch; return whether more may wait. Raises OSError when there is no room."""
        try:
            if self._poller is not None:
                return self._poller.accept(sock.fileno(), self._factory, BATCH)
            for _ in range(BATCH):
                connection, _address = sock.accept()
                connection.setblocking(False)
                self._start(connection)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            if error.errno not in ITS_OWN:
                raise
        return True

    def _start(self, connection: socket.socket) -> None:
        if self._transport is None:
            task = self._loop.create_task(self._connect(connection))
            self._starting.add(task)  # the loop itself holds tasks only weakly
            task.add_done_callback(self._starting.discard)
            return
        try:
            self._transport(self._loop, connection, self._factory())
        except OSError:  # gone before its first byte
            connection.close()
            return
        # the transport has asked the loop to call connection_made; this comes after it
        self._waiting += 1
        self._loop.call_soon(self._started)

    def _started(self) -> None:
        self._waiting -= 1

    async def _connect(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._factory, connection)
        except OSError:  # gone before its first byte
            connection.close()


def _poller(loop: asyncio.AbstractEventLoop) -> Poller | None:
    """Return the compiled poller; None where it is not, or is not wanted."""
    if not uses_compiled():
        return None
    try:
        from stretta.net.server._poller import Poller  # noqa: PLC0415 - it may not be there
    except ImportError:
        return None
    return Poller(loop)


def _transport() -> Callable[..., object] | None:
    """Return aiofastnet's transport class, None where it is not: then the loop makes its own.

    Made without ``connect_accepted_socket``, whose task and future take as long as all the rest.
    """
    try:
        # not there on each platform, and compiled without types
        from aiofastnet.selector_transport import (  # type: ignore[import-not-found]  # noqa: PLC0415
            SelectorSocketTransport,
        )
    except ImportError:
        return None
    return SelectorSocketTransport  # type: ignore[no-any-return]
