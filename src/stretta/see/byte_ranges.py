"""Bytes of a stream by their offsets: which were carried before, which are new. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

__all__ = ["ByteRangeMap", "ByteRangeSet"]

T = TypeVar("T")


class ByteRangeSet:
    """A set of bytes as ranges, which knows what is new in another.

    >>> cover = ByteRangeSet()
    >>> cover.add(0, 10), cover.add(5, 15), cover.add(20, 25), cover.add(0, 30)
    ([(0, 10)], [(10, 15)], [(20, 25)], [(15, 20), (25, 30)])
    """

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def add(self, first: int, last: int) -> list[tuple[int, int]]:
        """Add a range, and return the parts of it that were not there."""
        if first >= last:
            return []
        left = bisect_left(self._ends, first)
        right = bisect_right(self._starts, last)
        new, at = [], first
        for begin, end in zip(self._starts[left:right], self._ends[left:right], strict=True):
            if at < begin:
                new.append((at, min(begin, last)))
            at = max(at, end)
        if at < last:
            new.append((at, last))
        if left < right:
            first = min(first, self._starts[left])
            last = max(last, self._ends[right - 1])
        self._starts[left:right], self._ends[left:right] = [first], [last]
        return new

    @property
    def contiguous(self) -> int:
        """How many bytes are there from 0 without a gap."""
        return self._ends[0] if self._starts and self._starts[0] <= 0 else 0


class ByteRangeMap(Generic[T]):
    """Disjoint ranges of a stream, each with its owner; ask who owns what."""

    def __init__(self) -> None:
        self._items: list[tuple[int, int, T]] = []
        self._starts: list[int] = []

    def add(self, first: int, last: int, owner: T) -> None:
        """Add a range that nobody owns yet."""
        if first >= last:
            return
        at = bisect_left(self._starts, first)
        self._starts.insert(at, first)
        self._items.insert(at, (first, last, owner))

    def within(self, first: int, last: int) -> Iterator[tuple[int, int, T]]:
        """Return the parts of a range that have an owner, in order."""
        at = max(0, bisect_right(self._starts, first) - 1)
        while at < len(self._items) and self._starts[at] < last:
            begin, end, owner = self._items[at]
            if end > first:
                yield max(begin, first), min(end, last), owner
            at += 1

    def map(self, change: Callable[[T], T]) -> ByteRangeMap[T]:
        """Return the same ranges with other owners."""
        changed: ByteRangeMap[T] = ByteRangeMap()
        changed._starts = list(self._starts)
        changed._items = [(first, last, change(owner)) for first, last, owner in self._items]
        return changed

    def __iter__(self) -> Iterator[tuple[int, int, T]]:
        return iter(self._items)
