"""The HTTP/1.1 side of a server's connection as a state machine. Pure: no I/O and no clock.

Bytes and events go in, decisions come out; the adapter (connection.py) carries them out. Two
machines run side by side, and a third, the request parser's, inside the first:

    Input: the use of the bytes that the client sends

        OPEN ──────END_OF_INPUT──────> ENDED     whole requests that arrived are still answered
        OPEN, ENDED ──LAST_RESPONSE──> CLOSED    no further request is read or answered
        CLOSED ───────SHUTDOWN───────> LINGERING our side is shut; what arrives is discarded, so
                                                 that no reset destroys the response on its way
                                                 (RFC 9112 section 9.6)

    Output: the response to the request that was handed out last

        IDLE ───────REQUEST──────> PREPARING    the handler works on it, perhaps for long
        PREPARING ──RESPONSE─────> SENDING      the head is written, the body follows
        IDLE ───────RESPONSE─────> SENDING      from the cache, without a request object
        SENDING ────COMPLETE─────> IDLE

One request is handed out at a time, and only while the output is idle and the peer
reads. Everything else that arrived stays in the parser as bytes, and reading pauses: so one
connection holds at most one receive buffer of input, and one response of output.

Most connections are at rest most of the time: OPEN and IDLE, and no byte of a request has arrived.
The adapter then keeps no ServerProtocol at all; this one goes back to a pool for other connections.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import NamedTuple

from stretta.http.server.request import Refused, Request
from stretta.http.server.request_parser import RequestParser
from stretta.options import HttpLimits

__all__ = ["Closing", "Framing", "Input", "Output", "ServerProtocol", "Timeout"]


class Input(Enum):
    """The use of the bytes that the client sends."""

    OPEN = auto()
    ENDED = auto()
    CLOSED = auto()
    LINGERING = auto()


class Output(Enum):
    """How far the response to the current request is."""

    IDLE = auto()
    PREPARING = auto()
    SENDING = auto()


class Event(Enum):
    """The events of both machines."""

    END_OF_INPUT = auto()
    LAST_RESPONSE = auto()
    SHUTDOWN = auto()
    REQUEST = auto()
    RESPONSE = auto()
    COMPLETE = auto()


INPUT_TRANSITIONS: dict[tuple[Input, Event], Input] = {
    (Input.OPEN, Event.END_OF_INPUT): Input.ENDED,
    (Input.OPEN, Event.LAST_RESPONSE): Input.CLOSED,
    (Input.ENDED, Event.END_OF_INPUT): Input.ENDED,  # TLS ends, then the connection below it
    (Input.ENDED, Event.LAST_RESPONSE): Input.CLOSED,
    (Input.CLOSED, Event.END_OF_INPUT): Input.CLOSED,
    (Input.CLOSED, Event.SHUTDOWN): Input.LINGERING,
    (Input.LINGERING, Event.END_OF_INPUT): Input.LINGERING,
}

OUTPUT_TRANSITIONS: dict[tuple[Output, Event], Output] = {
    (Output.IDLE, Event.REQUEST): Output.PREPARING,
    (Output.IDLE, Event.RESPONSE): Output.SENDING,
    (Output.PREPARING, Event.RESPONSE): Output.SENDING,
    (Output.SENDING, Event.COMPLETE): Output.IDLE,
}


class Closing(Enum):
    """How to go on once everything is written."""

    KEEP = auto()
    CLOSE = auto()
    LINGER = auto()


class Timeout(Enum):
    """A limit in time that has passed."""

    HEAD = "its request did not arrive in time"
    BODY_STOPPED = "its request's body stopped arriving"
    BODY_SLOW = "its request's body arrived too slowly"


class Framing(NamedTuple):
    """How a response is delimited: its Connection header, empty where none is needed."""

    connection: str
    chunked: bool
    keep_alive: bool


class ServerProtocol:
    """One connection while a request arrives or is answered. The table is above.

    ``admit`` is RequestParser's; ``body_rate`` and the time-outs come from ``limits``.
    """

    __slots__ = (
        "_exhausted", "_limits", "_lingers", "_waited", "blocked", "input", "output",
        "parser",
    )  # fmt: skip

    def __init__(self, limits: HttpLimits, admit: Callable[[Request], tuple[int, bool]]) -> None:
        self._limits = limits
        self.parser = RequestParser(limits, admit)
        self.input, self.output = Input.OPEN, Output.IDLE
        self.blocked = False  # the transport has enough to send
        self._exhausted = True  # the parser needs more input for the next request
        self._waited = 0.0  # seconds for which the current request has been arriving
        self._lingers = False

    def start(self, waited: float) -> None:
        """Begin anew for a connection that has waited so many seconds for its first request."""
        self._waited = waited

    # input

    def receive(self, data: bytes) -> None:
        """Take bytes that arrived; they are ignored unless requests are still read."""
        if self.input is Input.OPEN:
            self.parser.receive(data)
            self._exhausted = False

    def receive_eof(self) -> None:
        """Note that the client sends no more."""
        self._move_input(Event.END_OF_INPUT)

    def next_request(self) -> Request | Refused | None:
        """Return the request to answer now; None while there is none, or while output waits."""
        if not self.can_answer:
            return None
        item = self.parser.next_request()
        self._exhausted = item is None or self.parser.is_empty
        if item is not None:
            self._waited = 0.0
            self._move_output(Event.REQUEST)
        return item

    @property
    def can_answer(self) -> bool:
        """Whether a request may be answered now, if one has arrived."""
        return (
            self.output is Output.IDLE
            and not self.blocked
            and (self.input is Input.OPEN or self.input is Input.ENDED)
        )

    @property
    def has_unparsed(self) -> bool:
        """Whether further requests may have arrived already."""
        return not self._exhausted

    @property
    def reads(self) -> bool:
        """Whether to read on: not while requests that arrived, or output, wait."""
        if self.input is Input.LINGERING:
            return True
        return self.output is Output.IDLE and not self.blocked and self._exhausted

    @property
    def at_rest(self) -> bool:
        """Whether nothing is under way, so that the connection needs no protocol object."""
        return (
            self.output is Output.IDLE
            and self.input is Input.OPEN
            and not self.blocked
            and self.parser.at_rest
        )

    @property
    def is_busy(self) -> bool:
        """Whether a request is being received in its body, waits, or is answered."""
        return self.output is not Output.IDLE or self.has_unparsed or self.parser.in_body

    def take_continue(self) -> bool:
        """Return once whether the client waits to be told to send its body (100 Continue)."""
        if self.parser.wants_continue and self.output is Output.IDLE:
            self.parser.wants_continue = False
            return True
        return False

    # output

    def start_response(
        self, request: Request, length: int | None, *, close: bool, lingers: bool
    ) -> Framing:
        """Choose the framing of a response, whose body has ``length`` bytes (None: unknown).

        With ``close`` it is the last one. ``lingers`` is for a client that may still be sending.
        """
        old = request.version == "1.0"
        chunked = length is None and not old
        keep_alive = request.keep_alive and not close and (length is not None or chunked)
        self._move_output(Event.RESPONSE)
        if not keep_alive:
            self.stop(lingers=lingers or request.keep_alive)
        connection = ("keep-alive" if old else "") if keep_alive else "close"
        return Framing(connection, chunked, keep_alive)

    def resume_cached(self) -> None:
        """Note that a cached response is under way, of which a part is still to be sent."""
        self._move_output(Event.RESPONSE)

    def end_response(self) -> None:
        """Note that the response is written, its body included."""
        self._move_output(Event.COMPLETE)

    def stop(self, *, lingers: bool) -> None:
        """Read and answer no further request."""
        if self.input is not Input.CLOSED:
            self._move_input(Event.LAST_RESPONSE)
        self._lingers = lingers
        self.parser.close()
        self._exhausted = True

    def shut_down(self) -> None:
        """Note that our side of the connection is shut."""
        self._move_input(Event.SHUTDOWN)

    @property
    def closing(self) -> Closing:
        """The next step once every response is written."""
        if self.output is not Output.IDLE:
            return Closing.KEEP
        if self.input is Input.CLOSED:
            return Closing.LINGER if self._lingers else Closing.CLOSE
        if self.input is Input.ENDED and self._exhausted:
            return Closing.CLOSE
        return Closing.KEEP

    # time

    def tick(self, elapsed: float, quiet: float) -> Timeout | None:
        """Return the limit that is reached, ``elapsed`` seconds after the last call.

        ``quiet`` is the time in seconds since a byte arrived.
        """
        limits = self._limits
        if self.input is Input.CLOSED or self.input is Input.LINGERING:
            return None  # the lifecycle of the connection limits those
        if self.output is not Output.IDLE or self.blocked:
            self._waited = 0.0  # it is not the client that is waited for
            return None
        self._waited += elapsed
        if not self.parser.in_body:
            return Timeout.HEAD if self._waited >= limits.header_timeout else None
        if quiet >= limits.body_timeout:
            return Timeout.BODY_STOPPED
        too_few = self.parser.body_received < limits.body_rate * self._waited
        return Timeout.BODY_SLOW if self._waited >= limits.body_timeout and too_few else None

    # transitions

    def _move_input(self, event: Event) -> None:
        self.input = INPUT_TRANSITIONS[self.input, event]

    def _move_output(self, event: Event) -> None:
        self.output = OUTPUT_TRANSITIONS[self.output, event]
