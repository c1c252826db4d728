"""The vocabulary of a timeline: what was seen, as values. Times are nanoseconds since its start."""

from __future__ import annotations

from dataclasses import dataclass, field

from stretta.see.packets import Packet

__all__ = [
    "Arrival",
    "Call",
    "Event",
    "Fault",
    "Flow",
    "Frame",
    "Link",
    "Note",
    "Print",
    "Process",
    "State",
]

Address = tuple[str, int]


@dataclass(frozen=True, slots=True, order=True)
class Flow:
    """One conversation: its protocol, and its end on the client host and on the server host."""

    protocol: str
    client: Address
    server: Address

    def __str__(self) -> str:
        return f"{self.protocol} {_written(self.client)} - {_written(self.server)}"


def _written(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(slots=True)
class Event:
    """Something that happened on a host: ``client``, ``server``, or ``wire``."""

    id: int
    at: int
    host: str


@dataclass(slots=True)
class Call(Event):
    """One system call of a program, from when it was entered until it returned.

    ``took`` is how long it lasted; ``end`` is None for one that never returned. ``result`` is the
    call's, ``error`` its errno by name. ``moved`` counts bytes of the
    conversation's data that it sent (``way`` out) or took (``way`` in); ``asked`` is how many it
    was given or had room for. ``data`` begins with those bytes, ``shown`` is the call as a person
    would write it. ``ready`` names the flows that a poll() or the like was told of, ``watches`` the
    sockets that it waited for, and ``local`` where a listening socket among the ready ones listens.
    """

    end: int | None = None
    name: str = ""
    process: int = 0
    thread: int = 0
    program: str = ""
    descriptor: int = -1
    protocol: str = ""
    flow: Flow | None = None
    result: int | None = None
    error: str = ""
    direction: str = ""
    transferred: int = 0
    requested: int | None = None
    data: bytes = b""
    display: str = ""
    flags: str = ""
    peer: Address | None = None
    local: Address | None = None
    ready: tuple[Flow, ...] = ()
    socket: int = -1  # the same number for all calls on one socket of a host
    watched_sockets: tuple[int, ...] = ()
    duration: int = 0
    next_seen: int | None = None

    @property
    def latest_end(self) -> int:
        """The latest time at which it can have returned; for one that never did, the end of time.

        strace measures how long a call took, but from when is known only to some tenths of a
        millisecond: before its thread called again, at the latest.
        """
        if self.end is None:
            return 2**63
        return self.end if self.next_seen is None else max(self.end, self.next_seen)


@dataclass(slots=True)
class Arrival:
    """A frame reached the other end: when, and whether unharmed."""

    at: int
    corrupted: bool = False


@dataclass(slots=True)
class Frame(Event):
    """One frame that left a host (or that the wire forged), and where it came to an end.

    ``arrivals`` is empty for one that was lost, and has two of one that was doubled. ``seq`` and
    ``ack`` are relative to the first sequence number of each direction, as they count bytes.
    """

    packet: Packet = field(default_factory=lambda: Packet("other", 0))
    flow: Flow | None = None
    arrivals: list[Arrival] = field(default_factory=list)
    forged: bool = False
    seq: int = 0
    ack: int = 0
    retransmission_of: int | None = None  # the frame of which this is a retransmission

    @property
    def arrived(self) -> int | None:
        """When it first arrived unharmed, or None."""
        return next((a.at for a in self.arrivals if not a.corrupted), None)


@dataclass(slots=True)
class Fault(Event):
    """The wire did something to a frame: lost, cut, queue-full, duplicated, reordered, ..."""

    effect: str = ""
    by: str = ""
    frame: int = -1


@dataclass(slots=True)
class Process(Event):
    """A program started (``status`` None), or ended: its status, negative for a signal."""

    process: int = 0
    program: str = ""
    status: int | None = None


@dataclass(slots=True)
class Print(Event):
    """A program printed something."""

    data: bytes = b""


@dataclass(slots=True)
class State(Event):
    """A TCP end changed its state (RFC 9293 section 3.3.2); inferred, as kernels do not tell."""

    flow: Flow | None = None
    before: str = ""
    state: str = ""
    cause: int = -1


@dataclass(frozen=True, slots=True)
class Link:
    """One event brought about another: ``source`` came first.

    ``first`` and ``last`` are the bytes of the stream that it is about (from 0, ``last`` excluded),
    where it is about bytes.
    """

    source: int
    target: int
    kind: str
    reason: str
    first: int = 0
    last: int = 0


@dataclass(frozen=True, slots=True)
class Note:
    """One explanation: by which rule, in which words, and the events that it is about."""

    rule: str
    text: str
    events: tuple[int, ...]
    at: int
