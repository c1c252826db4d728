"""A connected stream of bytes as a client uses it: send, receive, close; here by blocking calls.

The methods are ``async`` so that one client's code serves both worlds: those of a blocking channel
never suspend, so ``run_now`` takes the code to its end without an event loop.
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from stretta.address import Endpoint
from stretta.errors import NetworkError, StrettaError, TimedOut
from stretta.net.client.connect import peer_of

__all__ = ["BlockingChannel", "Channel", "Timer", "broken", "run_now", "silence"]

T = TypeVar("T")

CHUNK = 256 * 1024
"""Bytes that one receive takes at most: enough to make the cost of a call small."""


def run_now(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends to its end, and return its result.

    >>> async def work(): return 1
    >>> run_now(work())
    1
    """
    try:
        work.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    raise RuntimeError("a blocking call has suspended")


class Channel(Protocol):
    """What a client needs of a connection, be it blocking, asynchronous or encrypted."""

    @property
    def peer(self) -> Endpoint:
        """The address at the other end."""

    async def send(self, data: bytes | memoryview, timer: Timer) -> int:
        """Send ``data``; return how many bytes went: all, unless the peer speaks meanwhile."""

    async def receive(self, timer: Timer) -> bytes | memoryview:
        """Return what comes next, empty at the end; it is valid until the next call."""

    def is_quiet(self) -> bool:
        """Return whether nothing has come, no end either: a connection at rest that can serve."""

    def close(self) -> None:
        """Close both directions."""


class Timer:
    """How long one exchange may wait: for the next byte, and until its end.

    ``idle`` and ``total`` are seconds, None for no limit; ``clock`` gives the time in seconds.
    """

    __slots__ = ("_clock", "_deadline", "idle", "total")

    def __init__(self, idle: float | None, total: float | None, clock: Callable[[], float]) -> None:
        self.idle, self.total = idle, total
        self._clock = clock
        self._deadline = None if total is None else clock() + total

    def left(self) -> float | None:
        """Return the seconds that the next wait may take, None for ever. Raises TimedOut."""
        left = self.left_in_all()
        if left is None or self.idle is None:
            return self.idle if left is None else left
        return min(left, self.idle)

    def left_in_all(self) -> float | None:
        """Return the seconds until the exchange has to end, None for ever. Raises TimedOut."""
        if self._deadline is None:
            return None
        left = self._deadline - self._clock()
        if left <= 0:
            raise self.expired()
        return left

    def expired(self) -> StrettaError:
        """Return the error for a wait that took as long as ``left`` allowed."""
        if self._deadline is not None and self._clock() >= self._deadline:
            return TimedOut(
                f"the exchange took longer than {self.total:g} s",
                "the limit given for all of it",
                "Allow more time with --timeout SECONDS, or leave it out.",
            )
        return silence(self.idle)


def silence(seconds: float | None) -> StrettaError:
    """Return the error for a server that let the idle time pass."""
    return TimedOut(
        f"the server was silent for {seconds:g} s",
        "not one byte came in that time",
        "Wait longer with --idle-timeout SECONDS.",
    )


def broken(error: OSError) -> StrettaError:
    """Return the error for a connection that the network took away."""
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        why = "the server reset it"
    else:
        why = os.strerror(error.errno or 0).lower()
    return NetworkError("the connection broke", why, "Ask again; the server's log may tell more.")


class BlockingChannel:
    """A channel whose calls block; ``sock`` is connected and non-blocking."""

    __slots__ = ("_inbox", "_poll", "_sock", "peer")

    def __init__(self, sock: socket.socket) -> None:
        self.peer = peer_of(sock)
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
