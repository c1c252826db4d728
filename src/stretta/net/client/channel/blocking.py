"""A channel whose calls block, on a non-blocking socket and poll(2)."""

from __future__ import annotations

import select
import socket

from stretta.net.client.channel.interface import Timer, broken
from stretta.net.client.peer_address import peer_address

__all__ = ["BlockingChannel"]

CHUNK = 256 * 1024
"""Bytes of one recv() at most: enough to make the cost of a call small."""


class BlockingChannel:
    """A channel whose calls block; ``sock`` is connected and non-blocking."""

    __slots__ = ("_inbox", "_poll", "_sock", "peer")

    def __init__(self, sock: socket.socket) -> None:
        self.peer = peer_address(sock)
        self._sock = sock
        self._poll = select.poll()
        self._inbox = memoryview(bytearray(CHUNK))

    async def send(self, data: bytes | memoryview, timer: Timer) -> int:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self._sock.send(rest) :]
                continue
            except BlockingIOError:
                pass
            except OSError as error:
                raise broken(error) from None
            if self._wait(select.POLLIN | select.POLLOUT, timer) & ~select.POLLOUT:
                break
        return len(data) - len(rest)

    async def receive(self, timer: Timer) -> memoryview:
        while True:
            try:
                return self._inbox[: self._sock.recv_into(self._inbox)]
            except BlockingIOError:
                self._wait(select.POLLIN, timer)
            except OSError as error:
                raise broken(error) from None

    def is_quiet(self) -> bool:
        self._poll.register(self._sock, select.POLLIN)
        return not self._poll.poll(0)

    def close(self) -> None:
        self._sock.close()

    def _wait(self, events: int, timer: Timer) -> int:
        left = timer.left()
        self._poll.register(self._sock, events)
        ready = self._poll.poll(None if left is None else left * 1000 + 1)
        if not ready:
            raise timer.expired()
        return ready[0][1]
