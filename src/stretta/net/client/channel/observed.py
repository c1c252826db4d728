"""A channel that reports each read and write to an observer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stretta.address import Endpoint
from stretta.net.client.channel.interface import Channel, Timer
from stretta.reports import Observer, Report

__all__ = ["Moved", "ObservedChannel"]

EDGE = 16
"""Bytes that a report keeps from each end of the data."""


@dataclass(eq=False, repr=False)
class Moved(Report):
    """One write or read of ``size`` bytes, at ``offset`` in that direction of the stream."""

    event = "moved"
    outwards: bool
    offset: int
    size: int
    begins: bytes
    ends: bytes

    def __str__(self) -> str:
        way = "write" if self.outwards else "read"
        if not self.size:
            return f"{way} 0 bytes: the end"
        text = repr(self.begins)[1:] + (f" ... {self.ends!r}" if self.ends else "")
        span = f"{self.offset + 1} to {self.offset + self.size}"
        return f"{way} {self.size} bytes, {span}: {text.replace(' b', ' ', 1)}"

    def as_json(self) -> dict[str, Any]:
        return {
            "event": self.event,
            "outwards": self.outwards,
            "offset": self.offset,
            "size": self.size,
        }


class ObservedChannel:
    """Does what ``inner`` does, and calls ``watch`` with a report of it."""

    def __init__(self, inner: Channel, watch: Observer) -> None:
        self._inner = inner
        self._watch = watch
        self._out = self._in = 0

    @property
    def peer(self) -> Endpoint:
        """The address at the other end."""
        return self._inner.peer

    @property
    def truncated(self) -> bool:
        """Whether the stream may have been cut: it ended without close_notify."""
        return bool(getattr(self._inner, "truncated", False))

    async def send(self, data: bytes | memoryview, timer: Timer) -> int:
        size = await self._inner.send(data, timer)
        self._report(True, self._out, memoryview(data)[:size])
        self._out += size
        return size

    async def receive(self, timer: Timer) -> bytes | memoryview:
        data = await self._inner.receive(timer)
        self._report(False, self._in, memoryview(data))
        self._in += len(data)
        return data

    def is_quiet(self) -> bool:
        return self._inner.is_quiet()

    def close(self) -> None:
        self._inner.close()

    def _report(self, outwards: bool, offset: int, data: memoryview) -> None:  # noqa: FBT001
        whole = len(data) <= 2 * EDGE
        begins, ends = (data, data[:0]) if whole else (data[:EDGE], data[-EDGE:])
        self._watch(Moved(outwards, offset, len(data), bytes(begins), bytes(ends)))
