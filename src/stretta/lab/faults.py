"""What the wire does to each frame: pure, with time and seed passed in.

Chance depends on the seed, the direction, the kind of the frame and its ordinal in that kind alone,
so that the fate of the third data segment is the same however many acknowledgements came between.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import count

from stretta.errors import UsageError
from stretta.lab.fault_syntax import (
    Frames,
    parse_frames,
    parse_rate,
    parse_share,
    parse_span,
    parse_time,
    split_direction,
)
from stretta.lab.forge import forge_resets, with_one_bit_wrong
from stretta.options import WireOptions
from stretta.see.packets import ACK, FIN, RST, SYN, Packet, decode

__all__ = ["Behaviour", "Delivery", "Faults", "Mark", "kinds_of"]

HOLD = 100_000_000
"""Nanoseconds that a frame waits to be overtaken when no other comes."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One injected fault: what was done to the frame of this number, and by which option."""

    number: int
    kind: str  # lost, cut, queue-full, duplicated, reordered, corrupted, reset
    by: str


@dataclass(frozen=True, slots=True, order=True)
class Delivery:
    """A frame that must reach the end of its direction at a time (nanoseconds)."""

    due: int
    order: int
    direction: int = field(compare=False)
    number: int = field(compare=False)
    frame: bytes = field(compare=False)
    changed: bool = field(compare=False, default=False)  # by the wire


@dataclass(slots=True)
class Behaviour:
    """What happens in one direction: times in nanoseconds, rate in bits a second, shares 0 to 1."""

    delay: int = 0
    jitter: int = 0
    rate: int = 0
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    corrupt: float = 0.0


def kinds_of(packet: Packet) -> tuple[str, ...]:
    """Return the kinds of the language of faults that a packet is, the most telling one first."""
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


class Faults:
    """The wire's memory: offer it frames, and take what is due.

    ``marks`` collects the faults. Frames that keep the link itself going (ARP, neighbour discovery)
    are delayed and cut, but never lost by chance.
    """

    def __init__(self, options: WireOptions, seed: int, start: int) -> None:
        self.marks: list[Mark] = []
        self.seed, self.start = seed, start
        self.ways = (Behaviour(), Behaviour())
        self.named: dict[str, list[tuple[str, Frames]]] = {}
        self._said: dict[tuple[str, int], str] = {}  # the options as they were given
        for name, parse in (
            ("delay", parse_time),
            ("jitter", parse_time),
            ("rate", parse_rate),
            ("loss", parse_share),
        ):
            for text in getattr(options, name):
                direction, at = split_direction(name, text)
                self._set(name, direction, parse(name, text, at), text)
        for name in ("duplicate", "reorder", "corrupt"):
            for text in getattr(options, name):
                direction, at = split_direction(name, text)
                if text.rstrip().endswith("%"):
                    self._set(name, direction, parse_share(name, text, at), text)
                else:
                    self._name(name, text, parse_frames(name, text, at, direction))
        for name in ("drop", "rst"):
            for text in getattr(options, name):
                direction, at = split_direction(name, text)
                self._name(name, text, parse_frames(name, text, at, direction))
        self._queue = options.queue
        self.cuts = []
        for text in options.cut:
            direction, at = split_direction("cut", text)
            self.cuts.append((direction, text, *parse_span("cut", text, at)))
        self._choosy = bool(self.named) or self.uses_chance  # else frames need no reading
        self._seen: dict[object, int] = defaultdict(int)
        self._heap: list[Delivery] = []
        self._order = count()
        self._free_at = [0, 0]  # when a slow wire has sent what it has
        self._last_due = [0, 0]
        self._queued = [0, 0]
        self._held: list[list[tuple[int, bytes, bool]]] = [[], []]
        self._hold_until = [0, 0]

    @property
    def idle(self) -> bool:
        """Whether the wire is a plain one, which needs none of this."""
        return not (self.named or self.cuts) and self.ways == (Behaviour(), Behaviour())

    @property
    def uses_chance(self) -> bool:
        """Whether the seed matters."""
        return any(
            way.loss or way.duplicate or way.reorder or way.corrupt or way.jitter
            for way in self.ways
        )

    def offer(self, direction: int, number: int, frame: bytes, now: int) -> None:
        """Take a frame that entered the wire now; ``number`` is how it is known in marks."""
        if by := self._cut(direction, now):
            self._mark(number, "cut", by)
            return
        if not self._choosy:
            self._travel(direction, number, frame, now)
            return
        packet = decode(frame)
        if packet.is_housekeeping:
            self._travel(direction, number, frame, now)
            return
        kinds = kinds_of(packet)
        for kind in kinds:
            self._seen[direction, kind] += 1
            self._seen[None, kind] += 1
        nth = self._seen[direction, kinds[0]]
        way_of = self.ways[direction]

        def chance(effect: str, share: float) -> bool:
            return share > 0 and self._draw(direction, kinds[0], nth, effect) < share

        if by := self._named("rst", direction, kinds):
            self._reset(direction, number, frame, packet, now, by)
            return
        if by := self._named("drop", direction, kinds):
            self._mark(number, "lost", by)
            return
        if chance("loss", way_of.loss):
            self._mark(number, "lost", self._said["loss", direction])
            return
        changed = False
        if (by := self._named("corrupt", direction, kinds)) or chance("corrupt", way_of.corrupt):
            changed = True
            self._mark(number, "corrupted", by or self._said["corrupt", direction])
            frame = with_one_bit_wrong(frame, self._draw(direction, kinds[0], nth, "bit"))
        if (by := self._named("reorder", direction, kinds)) or chance("reorder", way_of.reorder):
            self._mark(number, "reordered", by or self._said["reorder", direction])
            self._held[direction].append((number, frame, changed))
            self._hold_until[direction] = now + HOLD
            return
        extra = int(way_of.jitter * self._draw(direction, kinds[0], nth, "jitter"))
        self._travel(direction, number, frame, now, extra, changed=changed)
        if (by := self._named("duplicate", direction, kinds)) or chance(
            "duplicate", way_of.duplicate
        ):
            self._mark(number, "duplicated", by or self._said["duplicate", direction])
            self._travel(direction, number, frame, now, extra, changed=changed)
        self._release(direction, now)

    def take(self, now: int) -> list[Delivery]:
        """Return what is due by now, in order."""
        for direction in (0, 1):
            if self._held[direction] and now >= self._hold_until[direction]:
                self._release(direction, now)
        ready = []
        while self._heap and self._heap[0].due <= now:
            delivery = heapq.heappop(self._heap)
            self._queued[delivery.direction] -= 1
            ready.append(delivery)
        return ready

    def next_due(self) -> int | None:
        """Return when ``take`` has something next, in nanoseconds, or None."""
        dues = [self._hold_until[d] for d in (0, 1) if self._held[d]]
        if self._heap:
            dues.append(self._heap[0].due)
        return min(dues, default=None)

    def _cut(self, direction: int, now: int) -> str:
        """Return the option by which the wire is unplugged now, or ''."""
        for way, text, begin, end in self.cuts:
            begun = way in (None, direction) and self.start + begin <= now
            if begun and (end is None or now < self.start + end):
                return f"--cut {text}"
        return ""

    def _travel(
        self,
        direction: int,
        number: int,
        frame: bytes,
        now: int,
        extra: int = 0,
        *,
        changed: bool = False,
    ) -> None:
        way = self.ways[direction]
        leaves = now
        if way.rate:
            if self._queued[direction] >= self._queue:
                self._mark(number, "queue-full", self._said["rate", direction])
                return
            leaves = max(now, self._free_at[direction])
            leaves += len(frame) * 8 * 1_000_000_000 // way.rate
            self._free_at[direction] = leaves
        due = max(leaves + way.delay + extra, self._last_due[direction])
        self._last_due[direction] = due
        self._queued[direction] += 1
        heapq.heappush(
            self._heap, Delivery(due, next(self._order), direction, number, frame, changed)
        )

    def _release(self, direction: int, now: int) -> None:
        held, self._held[direction] = self._held[direction], []
        for number, frame, changed in held:
            self._travel(direction, number, frame, now, changed=changed)

    def _reset(
        self, direction: int, number: int, frame: bytes, packet: Packet, now: int, by: str
    ) -> None:
        if packet.protocol != "tcp" or packet.flags & RST:
            self._travel(direction, number, frame, now)
            return
        self._mark(number, "reset", by)
        for way, forged in forge_resets(frame, packet, direction):
            self._travel(way, -1, forged, now)

    def _mark(self, number: int, kind: str, by: str) -> None:
        self.marks.append(Mark(number, kind, by))

    def _named(self, name: str, direction: int, kinds: tuple[str, ...]) -> str:
        """Return the option that names this frame, or ''."""
        for text, frames in self.named.get(name, ()):
            if frames.direction in (None, direction) and frames.kind in kinds:
                ordinal = self._seen[frames.direction, frames.kind]
                if frames.has(ordinal):
                    return f"--{name} {text}"
        return ""

    def _draw(self, direction: int, kind: str, nth: int, effect: str) -> float:
        text = f"{self.seed}/{direction}/{kind}/{nth}/{effect}".encode()
        return int.from_bytes(blake2b(text, digest_size=8).digest(), "big") / 2**64

    def _set(self, name: str, direction: int | None, value: float, text: str) -> None:
        for way in (0, 1) if direction is None else (direction,):
            setattr(self.ways[way], name, value)
            self._said[name, way] = f"--{name} {text}"

    def _name(self, name: str, text: str, frames: Frames) -> None:
        if name == "rst" and frames.kind in ("udp", "icmp", "fragment"):
            raise UsageError(
                f"cannot use --rst {text!r}", "only TCP knows a reset", "Name a segment: data:2"
            )
        self.named.setdefault(name, []).append((text, frames))
