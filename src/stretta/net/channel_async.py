"""A channel on the event loop: what ``stretta.net.channel`` describes, without blocking."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from typing import cast

from stretta.address import Endpoint
from stretta.net.channel import Timer, broken
from stretta.net.dial import peer_of

__all__ = ["AsyncChannel", "open_channel"]

MOST_HELD = 1 << 20
"""Bytes that may wait to be received before the peer is made to wait."""


async def open_channel(sock: socket.socket) -> AsyncChannel:
    """Return the channel of a connected socket, on the running event loop."""
    peer = peer_of(sock)
    loop = asyncio.get_running_loop()
    _, channel = await loop.create_connection(lambda: AsyncChannel(peer), sock=sock)
    return channel


class AsyncChannel(asyncio.Protocol):
    """A connection that keeps what comes until it is received, and no more than MOST_HELD of it."""

    def __init__(self, peer: Endpoint) -> None:
        self.peer = peer
        self._transport: asyncio.Transport
        self._pieces: deque[bytes] = deque()
        self._held = 0
        self._ended = False
        self._error: OSError | None = None
        self._full = False  # the transport holds as much as it should of what we send
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None

    # what the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._pieces.append(data)
        self._held += len(data)
        if self._held > MOST_HELD and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        self._ended = True
        self._wake()
        return True  # sending may go on

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._full = False
        if isinstance(exc, OSError):
            self._error = exc
        self._wake()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._wake()

    # what the client calls

    async def send(self, data: bytes | memoryview, timer: Timer) -> int:
        view, sent = memoryview(data), 0
        while sent < len(view) and not self._pieces:
            if self._error is not None or self._transport.is_closing():
                raise broken(self._error or ConnectionResetError())
            if self._full:
                await self._wait(timer)
                continue
            step = view[sent : sent + MOST_HELD]
            self._transport.write(step)
            sent += len(step)
        while self._full and not self._pieces and not self._ended:
            await self._wait(timer)
        return sent

    async def receive(self, timer: Timer) -> bytes:
        while not self._pieces:
            if self._error is not None:
                raise broken(self._error)
            if self._ended:
                return b""
            await self._wait(timer)
        data = self._pieces.popleft()
        self._held -= len(data)
        if self._paused and self._held <= MOST_HELD // 2 and not self._ended:
            self._paused = False
            self._transport.resume_reading()
        return data

    def is_quiet(self) -> bool:
        return not (self._pieces or self._ended)

    def close(self) -> None:
        self._transport.abort()

    async def _wait(self, timer: Timer) -> None:
        """Wait for the event loop's next call, as long as the timer allows."""
        loop = asyncio.get_running_loop()
        waiter = self._waiter = loop.create_future()
        left = timer.left()
        alarm = None if left is None else loop.call_later(left, _expire, waiter)
        try:
            await waiter
        except TimeoutError:
            raise timer.expired() from None
        finally:
            self._waiter = None
            if alarm is not None:
                alarm.cancel()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _expire(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_exception(TimeoutError())
