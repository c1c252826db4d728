"""Requests and replies of one TCP connection as a state machine: bytes in, decisions out. Pure.

| state     | received data | received EOF | next decision                        | reply        |
|-----------|---------------|--------------|--------------------------------------|--------------|
| IDLE      | framing       | noted        | a request (ANSWERING), READ or CLOSE | -            |
| ANSWERING | framing       | noted        | WAIT                                 | IDLE         |
| REFUSED   | discarded     | noted        | REFUSE once, then READ               | discarded    |

The peer's EOF ends only its own direction (half-close, RFC 9293 section 3.6): CLOSE follows when
every request that arrived before it is answered.
"""

from __future__ import annotations

from enum import Enum, auto

from stretta.tcp.framing import Framing, LineTooLong

__all__ = ["Decision", "Exchange"]


class Decision(Enum):
    """What the connection does next, when it is not to answer a request."""

    READ = auto()
    WAIT = auto()
    REFUSE = auto()
    CLOSE = auto()


class State(Enum):
    """What the exchange waits for."""

    IDLE = auto()
    ANSWERING = auto()
    REFUSED = auto()


class Exchange:
    """The requests of one connection, answered one at a time and in order.

    ``refusal`` is the reason after Decision.REFUSE.

    >>> from stretta.tcp.framing import LineFraming
    >>> exchange = Exchange(LineFraming(80))
    >>> exchange.receive_data(b"uno\\ndue"); exchange.next_decision()
    b'uno'
    >>> exchange.reply(b"UNO"), exchange.next_decision()
    (b'UNO\\n', <Decision.READ: 1>)
    >>> exchange.receive_eof(); exchange.next_decision()
    b'due'
    >>> exchange.reply(b"DUE"), exchange.next_decision()
    (b'DUE', <Decision.CLOSE: 4>)
    """

    __slots__ = ("_ended", "_framing", "_line_end", "_state", "refusal")

    def __init__(self, framing: Framing) -> None:
        self._framing = framing
        self._state = State.IDLE
        self._ended = False
        self._line_end = b""  # of the request that is being answered
        self.refusal = ""

    @property
    def is_empty(self) -> bool:
        """Whether nothing that was received waits for an answer or for more bytes."""
        return self._state is State.IDLE and self._framing.is_empty

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the peer."""
        if self._state is not State.REFUSED:
            self._framing.receive_data(data)

    def receive_eof(self) -> None:
        """Take the end of the peer's direction."""
        self._ended = True
        self._framing.receive_eof()

    def next_decision(self) -> bytes | Decision:
        """Return a request for the service, or what else to do.

        After a request, ``reply`` must be called before the next one is returned.
        """
        if self._state is State.ANSWERING:
            return Decision.WAIT
        if self._state is State.REFUSED:
            return Decision.READ
        try:
            request = self._framing.next_request()
        except LineTooLong as error:
            self._state, self.refusal = State.REFUSED, str(error)
            return Decision.REFUSE
        if request is None:
            return Decision.CLOSE if self._ended else Decision.READ
        self._state = State.ANSWERING
        data, self._line_end = request
        return data

    def reply(self, data: bytes | None) -> bytes:
        """Return the bytes to send for a service's reply; None is no reply."""
        self._state = State.IDLE
        if data is None:
            return b""
        return data + self._line_end if self._line_end else data
