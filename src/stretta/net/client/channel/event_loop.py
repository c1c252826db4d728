"""A channel on the event loop."""

from __future__ import annotations

import asyncio
import math
import socket
from collections import deque
from typing import cast

from stretta.address import Endpoint
from stretta.errors import TimedOut
from stretta.net.client.channel.interface import Timer, broken
from stretta.net.client.peer_address import peer_address

__all__ = ["AsyncChannel", "open_channel"]

MOST_HELD = 1 << 20
"""Bytes that may wait to be received before reading from the peer pauses."""


async def open_channel(sock: socket.socket) -> AsyncChannel:
    """Return a channel for a connected socket, on the running event loop."""
    peer = peer_address(sock)
    loop = asyncio.get_running_loop()
    _, channel = await loop.create_connection(lambda: AsyncChannel(peer), sock=sock)
    return channel


class AsyncChannel(asyncio.Protocol):
    """A connection that buffers received data, about MOST_HELD bytes at most."""

    def __init__(self, peer: Endpoint) -> None:
        self.peer = peer
        self._transport: asyncio.Transport
        self._pieces: deque[bytes] = deque()
        self._held = 0
        self._ended = False
        self._error: OSError | None = None
        self._full = False  # the transport buffers as much output as it should
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._alarm: asyncio.TimerHandle | None = None
        self._until = math.inf  # when the current wait times out

    # called by the event loop

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

    # called by the client

    async def send(self, data: bytes | memoryview, timer: Timer) -> int:
        view, sent = memoryview(data), 0
        while sent < len(view) and not self._pieces:
            if self._error is not None or self._transport.is_closing():
                raise broken(self._error or ConnectionResetError())
            if self._ended:  # the peer has closed: its data is received first
                break
            if self._full:
                await self._wait_for_room(timer)
                continue
            step = view[sent : sent + MOST_HELD]
            self._transport.write(step)
            sent += len(step)
        while self._full and not self._pieces and not self._ended:
            await self._wait_for_room(timer)
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
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._transport.abort()

    async def _wait_for_room(self, timer: Timer) -> None:
        """Wait until the peer has read enough; a slow peer is not a silent one."""
        before = self._transport.get_write_buffer_size()
        try:
            await self._wait(timer)
        except TimedOut:
            if self._transport.get_write_buffer_size() >= before:
                raise
            timer.left_in_all()  # the limit of the whole exchange still holds

    async def _wait(self, timer: Timer) -> None:
        """Wait for the next call from the event loop, as long as the timer allows."""
        waiter = self._waiter = self._loop.create_future()
        left = timer.left()
        if left is not None:
            self._until = self._loop.time() + left
            # one alarm serves many waits: setting it each time would add a tenth to a request
            if self._alarm is None or self._alarm.when() > self._until:
                self._set_alarm()
        try:
            await waiter
        except TimeoutError:
            raise timer.expired() from None
        finally:
            self._waiter = None
            self._until = math.inf

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._loop.call_at(self._until, self._ring)

    def _ring(self) -> None:
        """End the wait if its time is over, else set the alarm again."""
        self._alarm = None
        if self._waiter is not None and self._loop.time() < self._until < math.inf:
            self._set_alarm()
        elif self._waiter is not None and not self._waiter.done() and self._until < math.inf:
            self._waiter.set_exception(TimeoutError())

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
