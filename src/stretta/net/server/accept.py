"""Accepting connections, with a pause when the system has no descriptor or memory for the next.

After EMFILE asyncio's own servers call accept() as often as the backlog is long, and each failure
starts another timer. This one stops at the first failure and tries again a second later.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress

from stretta.net.server.poller import open_poller
from stretta.net.server.syn_filter import ignore_new_connections

__all__ = ["Acceptor"]

BATCH = 64
"""Connections accepted in a row before open connections are served again."""

PAUSE = 1.0
"""Seconds from a failure for want of resources to the next attempt."""

OF_ONE_CONNECTION = {
    errno.ECONNABORTED, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH,
    errno.ENOPROTOOPT, errno.EOPNOTSUPP, errno.EPERM, errno.EPROTO, errno.ETIMEDOUT,
}  # fmt: skip
"""Errors that concern one connection only; the next accept() may succeed (accept(2))."""


class Acceptor:
    """Accepts the connections of the listening ``sockets``; ``factory()`` makes their protocols.

    ``on_exhausted(error)`` is called when there is no descriptor or no memory for the next
    connection. Accepting then pauses, and connections wait in the listen queues.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        factory: Callable[[], asyncio.BaseProtocol],
        *,
        backlog: int,
        on_exhausted: Callable[[OSError], None],
    ) -> None:
        self._sockets, self._factory, self._on_exhausted = sockets, factory, on_exhausted
        self._backlog = min(backlog, 2**31 - 1)
        self._loop = asyncio.get_running_loop()
        for sock in sockets:
            sock.listen(self._backlog)
        # one poller for all sockets: it asks the kernel for all connections at the same moment
        self._poller = open_poller(self._loop)
        self._pause: asyncio.TimerHandle | None = None
        self._resume()

    def close(self) -> None:
        """Accept the connections in the listen queues, then stop listening."""
        if self._pause is not None:
            self._pause.cancel()
        sockets, self._sockets = self._sockets, ()
        for sock in sockets:
            ignore_new_connections(sock)
        for sock in sockets:
            self._loop.remove_reader(sock)
            with suppress(OSError):  # no resources: the kernel resets the rest
                for _ in range(0, self._backlog + 1, BATCH):
                    if not self._accept(sock):
                        break
            sock.close()
        if sockets:
            self._poller.retire()

    @property
    def starting(self) -> int:
        """The number of accepted connections whose protocol has not been told yet."""
        return self._poller.starting

    def _resume(self) -> None:
        self._pause = None
        for sock in self._sockets:
            self._loop.add_reader(sock, self._on_readable, sock)

    def _on_readable(self, sock: socket.socket) -> None:
        try:
            self._accept(sock)
        except OSError as error:
            for each in self._sockets:
                self._loop.remove_reader(each)
            self._pause = self._loop.call_later(PAUSE, self._resume)
            self._on_exhausted(error)

    def _accept(self, sock: socket.socket) -> bool:
        """Accept a batch; return whether more may wait. Raises OSError for want of resources."""
        try:
            return self._poller.accept(sock, self._factory, BATCH)
        except OSError as error:
            if error.errno not in OF_ONE_CONNECTION:
                raise
        return True
