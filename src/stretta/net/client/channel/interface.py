"""The interface of a channel, a connected byte stream as a client uses it, and its time-outs.

The methods are ``async`` so that the same client code runs with blocking calls and on an event
loop. Those of a blocking channel never suspend: ``run_now`` runs such code without an event loop.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from stretta.address import Endpoint
from stretta.errors import NetworkError, StrettaError, TimedOut

__all__ = ["Channel", "Timer", "broken", "run_now", "silence"]

T = TypeVar("T")


def run_now(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends, and return its result.

    >>> async def work(): return 1
    >>> run_now(work())
    1
    """
    try:
        work.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    raise RuntimeError("the coroutine has suspended")


class Channel(Protocol):
    """A connection, blocking or on an event loop, in the clear or over TLS."""

    @property
    def peer(self) -> Endpoint:
        """The address at the other end."""

    async def send(self, data: bytes | memoryview, timer: Timer) -> int:
        """Send ``data``; return the bytes sent: fewer than all when the peer sends meanwhile."""

    async def receive(self, timer: Timer) -> bytes | memoryview:
        """Return the next bytes, empty at the end of the stream; valid until the next call."""

    def is_quiet(self) -> bool:
        """Return whether neither data nor the end waits to be received: it can be reused."""

    def close(self) -> None:
        """Close both directions."""


class Timer:
    """The time limits of one exchange: ``idle`` for the next byte, ``total`` for all of it.

    Both are seconds, None for no limit; ``clock`` returns the time in seconds.
    """

    __slots__ = ("_clock", "_deadline", "idle", "total")

    def __init__(self, idle: float | None, total: float | None, clock: Callable[[], float]) -> None:
        self.idle, self.total = idle, total
        self._clock = clock
        self._deadline = None if total is None else clock() + total

    def left(self) -> float | None:
        """Return the seconds that the next wait may take, None for no limit. Raises TimedOut."""
        left = self.left_in_all()
        if left is None or self.idle is None:
            return self.idle if left is None else left
        return min(left, self.idle)

    def left_in_all(self) -> float | None:
        """Return the seconds left for the whole exchange, None for no limit. Raises TimedOut."""
        if self._deadline is None:
            return None
        left = self._deadline - self._clock()
        if left <= 0:
            raise self.expired()
        return left

    def expired(self) -> StrettaError:
        """Return the error for a wait that has reached its limit."""
        if self._deadline is not None and self._clock() >= self._deadline:
            return TimedOut(
                f"the exchange took longer than {self.total:g} s",
                "that is the limit for the whole exchange",
                "Allow more time with --timeout SECONDS, or leave it out.",
            )
        return silence(self.idle)


def silence(seconds: float | None) -> StrettaError:
    """Return the error for a server that sent nothing for the idle time."""
    return TimedOut(
        f"the server was silent for {seconds:g} s",
        "no byte arrived in that time",
        "Wait longer with --idle-timeout SECONDS.",
    )


def broken(error: OSError) -> StrettaError:
    """Return the error for a connection that broke."""
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        why = "the server reset it"
    else:
        why = os.strerror(error.errno or 0).lower()
    return NetworkError("the connection broke", why, "Ask again; the server's log may tell more.")
