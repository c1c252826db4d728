"""How far a client's conversation has come, and whether its end is an orderly one. Pure."""

from __future__ import annotations

import os

from stretta.errors import NetworkError, ReplyEndedEarly, StrettaError, TimedOut

__all__ = ["Progress"]


class Progress:
    """The bytes sent and answered so far.

    ``total`` is the length of the message, None where it is not known; ``input_ended`` tells that
    all of it is sent, and ``broken`` holds the error that ended the connection.
    """

    def __init__(self) -> None:
        self.sent = 0
        self.answered = 0
        self.total: int | None = None
        self.input_ended = False
        self.broken: OSError | None = None

    def check_end(self, reply: bytes = b"") -> None:
        """Raise the error for an end of the connection now; return if it is an orderly end.

        ``reply`` is kept in ReplyEndedEarly.
        """
        if self.broken is not None:
            self._check_error(self.broken)
        elif self.input_ended:
            return
        total = self.sent if self.total is None else self.total
        what = (
            f"the server closed the connection after {self.answered} of {total} bytes were answered"
        )
        if self.broken is None:
            raise ReplyEndedEarly(
                what,
                "it did not wait for the end of the input",
                "The connection was idle for too long, the server was stopped, or it calls recv()"
                " once for each connection.",
                reply=reply,
            )
        raise ReplyEndedEarly(
            what,
            "it did not read all that was sent, and the rest is lost"
            if self.answered < total
            else "it reset the connection, so more may be missing",
            "A server that calls recv() once and closes takes one piece of a stream for all of it.",
            reply=reply,
        )

    def _check_error(self, error: OSError) -> None:
        """Raise NetworkError, unless a part of the reply came before a reset."""
        if not isinstance(error, ConnectionResetError | BrokenPipeError):
            raise NetworkError("the connection broke", os.strerror(error.errno or 0).lower())
        if not self.answered:
            raise NetworkError(
                "the server reset the connection",
                f"it answered none of the {self.sent} bytes that were sent"
                if self.sent
                else "no byte was sent yet",
                "It may have too many connections, have failed, or speak another protocol: see its"
                " log.",
            )

    def silence(self, timeout: float | None) -> StrettaError:
        """Return the error for a server that was silent for ``timeout`` seconds."""
        return TimedOut(
            f"the server was silent for {timeout:g} s",
            f"it answered {self.answered} bytes so far ({self.sent} were sent)",
            "To wait longer: --timeout SECONDS. Without it there is no limit.",
        )
