"""Fault injection: decides what happens to each frame on the wire. Pure.

Time and seed are arguments. A random decision depends only on the seed, the direction, the frame's
kind and its ordinal within that kind. So the fate of the third data segment does not depend on how
many acknowledgements came before it.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import count

from stretta.errors import UsageError
from stretta.lab.fault_syntax import (
    Direction,
    FrameSelector,
    parse_frame_selector,
    parse_interval,
    parse_percentage,
    parse_rate,
    parse_time,
    split_direction,
)
from stretta.lab.forge import flip_one_bit, forge_resets
from stretta.lab.topology import TWO_HOSTS, Topology
from stretta.options import WireOptions
from stretta.see.events import Effect
from stretta.see.packets import ACK, FIN, RST, SYN, Packet, decode

__all__ = ["FaultInjector", "Impairment", "InjectedFault", "ScheduledFrame", "kinds_of"]

HOLD = 100_000_000
"""Nanoseconds that a reordered frame waits for another to overtake it."""


@dataclass(frozen=True, slots=True)
class InjectedFault:
    """A fault that hit a frame: the frame's number, the effect, and the option that caused it."""

    number: int
    effect: Effect
    option: str


@dataclass(frozen=True, slots=True, order=True)
class ScheduledFrame:
    """A frame that must reach the end of its path at a time (nanoseconds)."""

    due: int
    order: int
    path: int = field(compare=False)
    number: int = field(compare=False)
    frame: bytes = field(compare=False)
    changed: bool = field(compare=False, default=False)  # by the wire


@dataclass(slots=True)
class Impairment:
    """The faults of one path: times in nanoseconds, rate in bits a second, probabilities 0 to 1."""

    delay: int = 0
    jitter: int = 0
    rate: int = 0
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    corrupt: float = 0.0


@dataclass(slots=True)
class _Queue:
    """The state of one path: frames under way, and when the path is free again."""

    length: int = 0
    free_at: int = 0
    last_due: int = 0
    held: list[tuple[int, bytes, bool]] = field(default_factory=list)
    hold_until: int = 0


@dataclass(frozen=True, slots=True)
class _Key:
    """What decides about a frame: its path, its kinds, its ordinal within the first of them."""

    path: int
    direction: Direction
    kinds: tuple[str, ...]
    nth: int


def kinds_of(packet: Packet) -> tuple[str, ...]:
    """Return the kinds of the fault syntax that a packet has, the most specific one first."""
    if packet.protocol == "tcp":
        flags = packet.flags
        if flags & RST:
            return ("rst", "tcp", "any")
        if flags & SYN:
            return ("syn-ack" if flags & ACK else "syn", "tcp", "any")
        kinds = ["data"] if packet.payload else []
        if flags & FIN:
            kinds.append("fin")
        return (*(kinds or ["ack"]), "tcp", "any")
    if packet.protocol == "udp":
        return ("udp", "fragment", "any") if packet.more else ("udp", "any")
    if packet.protocol in ("icmp", "icmp6"):
        return ("icmp", "any")
    return ("fragment", "any") if packet.protocol == "fragment" else ("any",)


class FaultInjector:
    """Takes frames as they enter the wire, and returns those that are due at its other ends.

    A *path* is the index of an ordered pair of ports (``Topology.paths``). ``injected`` collects
    the faults. Frames that maintain the link (ARP, neighbour discovery) are delayed and cut; no
    other fault hits them. Raises UsageError for options that it does not understand.
    """

    def __init__(
        self, options: WireOptions, seed: int, start: int, topology: Topology = TWO_HOSTS
    ) -> None:
        self.injected: list[InjectedFault] = []
        self.seed, self.start = seed, start
        self.directions = topology.directions
        paths = topology.paths
        self._back = [paths.index((b, a)) for a, b in paths]
        self.impairments = [Impairment() for _ in paths]
        self.selectors: dict[str, list[tuple[str, FrameSelector]]] = {}
        self.cuts: list[tuple[Direction | None, str, int, int | None]] = []
        self._options: dict[tuple[str, int], str] = {}  # as they were given
        self._queue_limit = options.queue
        self._parse(options)
        self._reads_frames = bool(self.selectors) or self.uses_chance
        self._seen: dict[tuple[Direction | None, str], int] = defaultdict(int)
        self._heap: list[ScheduledFrame] = []
        self._order = count()
        self._queues = [_Queue() for _ in paths]

    def _parse(self, options: WireOptions) -> None:
        parsers: tuple[tuple[str, Callable[[str, str, int], float]], ...] = (
            ("delay", parse_time),
            ("jitter", parse_time),
            ("rate", parse_rate),
            ("loss", parse_percentage),
        )
        for name, parse in parsers:
            for text in getattr(options, name):
                direction, at = split_direction(name, text, self.directions)
                self._impair(name, direction, parse(name, text, at), text)
        for name in ("duplicate", "reorder", "corrupt"):
            for text in getattr(options, name):
                direction, at = split_direction(name, text, self.directions)
                if text.rstrip().endswith("%"):
                    self._impair(name, direction, parse_percentage(name, text, at), text)
                else:
                    self._select(name, text, parse_frame_selector(name, text, at, direction))
        for name in ("drop", "rst"):
            for text in getattr(options, name):
                direction, at = split_direction(name, text, self.directions)
                self._select(name, text, parse_frame_selector(name, text, at, direction))
        for text in options.cut:
            direction, at = split_direction("cut", text, self.directions)
            self.cuts.append((direction, text, *parse_interval("cut", text, at)))

    @property
    def idle(self) -> bool:
        """Whether no fault is configured: frames need not pass through here."""
        plain = Impairment()
        return not (self.selectors or self.cuts) and all(i == plain for i in self.impairments)

    @property
    def uses_chance(self) -> bool:
        """Whether the seed matters."""
        return any(
            i.loss or i.duplicate or i.reorder or i.corrupt or i.jitter for i in self.impairments
        )

    def enqueue(self, path: int, number: int, frame: bytes, now: int) -> None:
        """Take a frame that enters the wire now; ``number`` identifies it in ``injected``."""
        if by := self._cut(path, now):
            self._record(number, Effect.CUT, by)
            return
        if not self._reads_frames:
            self._schedule(path, number, frame, now)
            return
        packet = decode(frame)
        if packet.is_housekeeping:
            self._schedule(path, number, frame, now)
            return
        kinds = kinds_of(packet)
        direction = self.directions[path]
        for kind in kinds:
            self._seen[direction, kind] += 1
            self._seen[None, kind] += 1
        key = _Key(path, direction, kinds, self._seen[direction, kinds[0]])
        if by := self._selected("rst", key):
            self._reset(path, number, frame, packet, now, by)
        elif by := self._selected("drop", key) or self._chosen("loss", key):
            self._record(number, Effect.LOST, by)
        else:
            self._pass_on(key, number, frame, now)

    def _pass_on(self, key: _Key, number: int, frame: bytes, now: int) -> None:
        """Schedule a frame that is not lost, after the faults that delay, change or double it."""
        path = key.path
        changed = False
        if by := self._chosen("corrupt", key):
            changed = True
            self._record(number, Effect.CORRUPTED, by)
            frame = flip_one_bit(frame, self._draw(key, "bit"))
        if by := self._chosen("reorder", key):
            self._record(number, Effect.REORDERED, by)
            self._queues[path].held.append((number, frame, changed))
            self._queues[path].hold_until = now + HOLD
            return
        extra = int(self.impairments[path].jitter * self._draw(key, "jitter"))
        self._schedule(path, number, frame, now, extra, changed=changed)
        if by := self._chosen("duplicate", key):
            self._record(number, Effect.DUPLICATED, by)
            self._schedule(path, number, frame, now, extra, changed=changed)
        self._release(path, now)

    def dequeue(self, now: int) -> list[ScheduledFrame]:
        """Return the frames that are due by now, in order."""
        for path, queue in enumerate(self._queues):
            if queue.held and now >= queue.hold_until:
                self._release(path, now)
        ready = []
        while self._heap and self._heap[0].due <= now:
            scheduled = heapq.heappop(self._heap)
            self._queues[scheduled.path].length -= 1
            ready.append(scheduled)
        return ready

    def next_due(self) -> int | None:
        """Return when ``dequeue`` has something next, in nanoseconds, or None."""
        dues = [queue.hold_until for queue in self._queues if queue.held]
        if self._heap:
            dues.append(self._heap[0].due)
        return min(dues, default=None)

    def _cut(self, path: int, now: int) -> str:
        """Return the option by which the path is cut now, or ''."""
        for direction, text, begin, end in self.cuts:
            begun = direction in (None, self.directions[path]) and self.start + begin <= now
            if begun and (end is None or now < self.start + end):
                return f"--cut {text}"
        return ""

    def _schedule(
        self,
        path: int,
        number: int,
        frame: bytes,
        now: int,
        extra: int = 0,
        *,
        changed: bool = False,
    ) -> None:
        impairment, queue = self.impairments[path], self._queues[path]
        leaves = now
        if impairment.rate:
            if queue.length >= self._queue_limit:
                self._record(number, Effect.QUEUE_FULL, self._options["rate", path])
                return
            leaves = max(now, queue.free_at)
            leaves += len(frame) * 8 * 1_000_000_000 // impairment.rate
            queue.free_at = leaves
        due = max(leaves + impairment.delay + extra, queue.last_due)
        queue.last_due = due
        queue.length += 1
        heapq.heappush(
            self._heap, ScheduledFrame(due, next(self._order), path, number, frame, changed)
        )

    def _release(self, path: int, now: int) -> None:
        """Send the held frames of a path on."""
        held, self._queues[path].held = self._queues[path].held, []
        for number, frame, changed in held:
            self._schedule(path, number, frame, now, changed=changed)

    def _reset(
        self, path: int, number: int, frame: bytes, packet: Packet, now: int, by: str
    ) -> None:
        if packet.protocol != "tcp" or packet.flags & RST:
            self._schedule(path, number, frame, now)
            return
        self._record(number, Effect.RESET, by)
        for back, forged in forge_resets(frame, packet):
            self._schedule(self._back[path] if back else path, -1, forged, now)

    def _record(self, number: int, effect: Effect, option: str) -> None:
        self.injected.append(InjectedFault(number, effect, option))

    def _selected(self, name: str, key: _Key) -> str:
        """Return the option that selects this frame, or ''."""
        for text, selector in self.selectors.get(name, ()):
            if selector.direction in (None, key.direction) and selector.kind in key.kinds:
                ordinal = self._seen[selector.direction, selector.kind]
                if selector.matches(ordinal):
                    return f"--{name} {text}"
        return ""

    def _chosen(self, name: str, key: _Key) -> str:
        """Return the option that selects this frame by its kind or by chance, or ''."""
        if by := self._selected(name, key):
            return by
        probability: float = getattr(self.impairments[key.path], name)
        if probability > 0 and self._draw(key, name) < probability:
            return self._options[name, key.path]
        return ""

    def _draw(self, key: _Key, effect: str) -> float:
        text = f"{self.seed}/{key.path}/{key.kinds[0]}/{key.nth}/{effect}".encode()
        return int.from_bytes(blake2b(text, digest_size=8).digest(), "big") / 2**64

    def _impair(self, name: str, direction: Direction | None, value: float, text: str) -> None:
        for path, its_direction in enumerate(self.directions):
            if direction in (None, its_direction):
                setattr(self.impairments[path], name, value)
                self._options[name, path] = f"--{name} {text}"

    def _select(self, name: str, text: str, selector: FrameSelector) -> None:
        if name == "rst" and selector.kind in ("udp", "icmp", "fragment"):
            raise UsageError(
                f"cannot use --rst {text!r}",
                "only TCP connections can be reset",
                "Name a TCP segment: data:2",
            )
        self.selectors.setdefault(name, []).append((text, selector))
