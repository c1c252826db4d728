"""The values of a timeline: events, links and explanations. Times are nanoseconds since its start.

All of them are immutable; a later stage returns new values (``dataclasses.replace``).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from stretta.see.packets import SYN, Packet

__all__ = [
    "Address",
    "Arrival",
    "Call",
    "Cause",
    "Direction",
    "Effect",
    "Endpoint",
    "Event",
    "Fault",
    "Flow",
    "Frame",
    "Link",
    "LinkKind",
    "Note",
    "Print",
    "Process",
    "State",
    "TcpState",
]

Address = tuple[str, int]
"""An IP address and a port, as a program sees them."""


class Direction(StrEnum):
    """Which way a call moves the conversation's bytes, as the calling program sees it."""

    NONE = ""
    OUT = "out"
    IN = "in"
    PEEK = "peek"
    """MSG_PEEK: the bytes stay in the socket."""


class Effect(StrEnum):
    """What an injected fault does to a frame."""

    LOST = "lost"
    CUT = "cut"
    """The wire was unplugged."""
    QUEUE_FULL = "queue-full"
    """The queue in front of a slow wire was full."""
    DUPLICATED = "duplicated"
    REORDERED = "reordered"
    CORRUPTED = "corrupted"
    RESET = "reset"
    """The frame was dropped, and both ends got a forged RST."""


class TcpState(StrEnum):
    """The states of a TCP connection (RFC 9293 section 3.3.2)."""

    CLOSED = "CLOSED"
    LISTEN = "LISTEN"
    SYN_SENT = "SYN_SENT"
    SYN_RECEIVED = "SYN_RECEIVED"
    ESTABLISHED = "ESTABLISHED"
    FIN_WAIT_1 = "FIN_WAIT_1"
    FIN_WAIT_2 = "FIN_WAIT_2"
    CLOSE_WAIT = "CLOSE_WAIT"
    CLOSING = "CLOSING"
    LAST_ACK = "LAST_ACK"
    TIME_WAIT = "TIME_WAIT"


class LinkKind(StrEnum):
    """How one event brought about another."""

    SENT = "sent"
    CARRIED = "carried"
    DELIVERED = "delivered"
    ANSWERED = "answered"
    RETURNED = "returned"
    ACKNOWLEDGED = "acknowledged"
    RETRANSMITTED = "retransmitted"
    ENDED = "ended"
    PROVOKED = "provoked"
    REFUSED = "refused"
    UNACCEPTED = "unaccepted"
    FAILED = "failed"
    WOKE = "woke"
    FAULT = "fault"


class Cause(StrEnum):
    """Why one event brought about another; the finer answer to what a link's kind says."""

    BYTES = "bytes"
    """The same bytes of the stream."""
    DATAGRAM = "datagram"
    CONNECT = "connect"
    SYN = "syn"
    SYN_ACK = "syn-ack"
    HANDSHAKE_COMPLETE = "handshake-complete"
    """The call waited for the end of the handshake."""
    HANDSHAKE_WAS_COMPLETE = "handshake-was-complete"
    """The connection was in the listen queue before the call."""
    ACKNOWLEDGEMENT = "acknowledgement"
    CLOSE = "close"
    """close() or shutdown() sent FIN."""
    EXIT = "exit"
    """The program ended, and its kernel closed the socket."""
    FIN = "fin"
    RST = "rst"
    NOT_LISTENING = "not-listening"
    LISTENER_CLOSED = "listener-closed"
    CLOSE_UNREAD = "close-unread"
    """close() discarded received bytes; the link's range says which bytes of the peer's stream."""
    LINGER = "linger"
    """SO_LINGER with a time-out of 0."""
    ABORT = "abort"
    """close() reset the connection for a reason that was not seen."""
    EXIT_UNREAD = "exit-unread"
    ALREADY_CLOSED = "already-closed"
    """The segment arrived after the program had closed the socket."""
    UNKNOWN_CONNECTION = "unknown-connection"
    TIME_OUT = "time-out"
    """The retransmission time-out ended (RFC 6298)."""
    DUPLICATE_ACKS = "duplicate-acks"
    """Three duplicate acknowledgements, or SACK (RFC 5681, 6675)."""
    SYN_TIME_OUT = "syn-time-out"
    SYN_REPEATED = "syn-repeated"
    """The SYN arrived again, and was answered again."""
    FIN_TIME_OUT = "fin-time-out"
    READABLE = "readable"
    WRITABLE = "writable"
    ACCEPTABLE = "acceptable"
    ICMP = "icmp"
    OPTION = "option"
    """An option of the wire."""


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """One end of a conversation: the host, by name, and its address and port there."""

    host: str
    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else (
            f"{self.address}:{self.port}"
        )  # fmt: skip


@dataclass(frozen=True, slots=True, order=True)
class Flow:
    """One conversation: its protocol, the end that began it, and the other one."""

    protocol: str
    initiator: Endpoint
    responder: Endpoint

    @classmethod
    def between(cls, protocol: str, one: Endpoint, two: Endpoint) -> Flow:
        """Return the flow with its ends in a fixed order, before it is known which one began."""
        return cls(protocol, min(one, two), max(one, two))

    def end_of(self, host: str) -> Endpoint:
        """Return the end on a host; the initiator's when the host has neither or both."""
        return self.responder if self.responder.host == host != self.initiator.host else (
            self.initiator
        )  # fmt: skip

    def peer_of(self, host: str) -> Endpoint:
        """Return the other end, as seen from a host."""
        return self.initiator if self.end_of(host) is self.responder else self.responder

    def __str__(self) -> str:
        return f"{self.protocol} {self.initiator} - {self.responder}"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened on a host; a fault, which happens on the wire, names no host.

    ``id`` is the event's place in a timeline. Before that it may be any number, by which a fault
    names its frame.
    """

    id: int
    at: int
    host: str


@dataclass(frozen=True, slots=True)
class Call(Event):
    """One system call of a program, from when it was entered until it returned.

    ``duration`` is how long it lasted; ``end`` is None for one that never returned. ``error`` is
    its errno by name. ``transferred`` counts the bytes of the conversation that it sent
    (``direction`` OUT) or received (IN); ``requested`` is how many it was given or had room for.
    ``data`` begins with those bytes. ``display`` is the call as a C programmer would write it, to
    be shown only. ``ready`` names the flows that poll() or the like reported, ``watched_sockets``
    the sockets that it waited for, and ``local`` where a listening socket among the ready ones
    listens. ``shared`` says of a close() that other descriptors still refer to the socket.
    ``option`` is the socket option that setsockopt() or getsockopt() names.
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
    direction: Direction = Direction.NONE
    transferred: int = 0
    requested: int | None = None
    data: bytes = b""
    display: str = ""
    flags: str = ""
    option: str = ""
    shared: bool = False
    peer: Address | None = None
    local: Address | None = None
    ready: tuple[Flow, ...] = ()
    socket: int = -1  # the same number for all calls on one socket of a host
    watched_sockets: tuple[int, ...] = ()
    duration: int = 0
    next_seen: int | None = None  # when its thread was seen again

    @property
    def latest_end(self) -> int:
        """The latest time at which it can have returned; for one that never did, the end of time.

        strace measures how long a call took, but not exactly from when: it had returned before
        its thread made the next call.
        """
        if self.end is None:
            return NEVER
        return self.end if self.next_seen is None else max(self.end, self.next_seen)

    @property
    def waits_for_many(self) -> bool:
        """Whether it waits for several sockets: poll(), select(), epoll_wait()."""
        return self.direction is Direction.NONE and ("poll" in self.name or "select" in self.name)


NEVER = 2**63
"""A time after all others."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A frame reached the other end of the wire: when, and whether a bit had changed.

    ``host`` is where, if that is not the host that the frame was sent to: a broadcast reaches many.
    """

    at: int
    corrupted: bool = False
    host: str = ""


@dataclass(frozen=True, slots=True)
class Frame(Event):
    """One frame that ``host`` sent (or that the wire forged in its name) towards the host ``to``.

    ``arrivals`` is empty for one that was lost, and has two of one that was duplicated. ``seq``
    and ``ack`` are relative to the initial sequence number of each direction. ``to`` may be left
    out before a timeline is built: the packet's destination says it.
    """

    packet: Packet = Packet("other", 0)  # noqa: RUF009 - immutable
    flow: Flow | None = None
    to: str = ""
    arrivals: tuple[Arrival, ...] = ()
    forged: bool = False
    seq: int = 0
    ack: int = 0
    retransmission_of: int | None = None

    @property
    def arrived(self) -> int | None:
        """When it first arrived undamaged, or None."""
        return next((a.at for a in self.arrivals if not a.corrupted), None)

    @property
    def first_offset(self) -> int:
        """The offset in the stream, from 0, of its first byte; SYN takes a sequence number."""
        return self.seq - 1 + bool(self.packet.flags & SYN)


@dataclass(frozen=True, slots=True)
class Fault(Event):
    """The wire did something to a frame; ``option`` is the command line's option for it."""

    effect: Effect = Effect.LOST
    option: str = ""
    frame: int = -1


@dataclass(frozen=True, slots=True)
class Process(Event):
    """A program started (``status`` None), or ended: its status, negative for a signal."""

    process: int = 0
    program: str = ""
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Print(Event):
    """A program printed something."""

    data: bytes = b""


@dataclass(frozen=True, slots=True)
class State(Event):
    """One end of a TCP connection changed its state; inferred, as kernels do not report it.

    ``cause`` is the frame that left or arrived.
    """

    flow: Flow | None = None
    before: TcpState = TcpState.CLOSED
    state: TcpState = TcpState.CLOSED
    cause: int = -1


@dataclass(frozen=True, slots=True)
class Link:
    """One event brought about another: ``source`` came first.

    ``first`` and ``last`` are the bytes of the stream that it is about (from 0, ``last`` excluded),
    where it is about bytes.
    """

    source: int
    target: int
    kind: LinkKind
    cause: Cause
    first: int = 0
    last: int = 0


@dataclass(frozen=True, slots=True)
class Note:
    """One explanation: by which rule, in which words, and the events that it is about."""

    rule: str
    text: str
    events: tuple[int, ...]
    at: int
