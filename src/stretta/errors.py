"""The errors that Stretta raises, each with the exit status of the command.

A message has three parts: what happened, why, and what to type next.
"""

__all__ = [
    "CannotServe",
    "HttpStatus",
    "InvalidReply",
    "NetworkError",
    "OutputError",
    "ReplyEndedEarly",
    "StrettaError",
    "TimedOut",
    "TooLong",
    "UsageError",
]


class StrettaError(Exception):
    """The base class of the errors that Stretta raises.

    ``what`` happened, ``why`` it happened, and ``hint``: what to do next. ``str()`` joins them;
    ``status`` is the command's exit status.
    """

    status = 1

    def __init__(self, what: str, why: str = "", hint: str = "") -> None:
        self.what, self.why, self.hint = what, why, hint
        message = f"{what}: {why}" if why else what
        super().__init__(f"{message}. {hint}" if hint else message)


class UsageError(StrettaError):
    """An option, an address or a message cannot be used."""

    status = 2
    shows_usage = True


class TooLong(UsageError):
    """A message does not fit in a datagram."""

    shows_usage = False


class NetworkError(StrettaError):
    """A network error: refused, reset, unreachable, name not found."""


class CannotServe(StrettaError):
    """A server cannot start: the port is in use, the address is not this machine's."""


class InvalidReply(StrettaError):
    """A reply violates the protocol."""


class OutputError(StrettaError):
    """Output cannot be written: a full disk, for example."""


class TimedOut(StrettaError):
    """Nothing arrived within the time limit."""

    status = 6


class ReplyEndedEarly(StrettaError):
    """The reply ended early.

    ``reply`` holds the bytes that arrived, where the caller asked for bytes.
    """

    status = 7

    def __init__(self, what: str, why: str = "", hint: str = "", *, reply: bytes = b"") -> None:
        super().__init__(what, why, hint)
        self.reply = reply


class HttpStatus(StrettaError):
    """A complete HTTP response has status 3xx (not followed), 4xx or 5xx.

    The exit status is the first digit of the HTTP status.
    """

    def __init__(self, code: int, what: str, why: str = "", hint: str = "") -> None:
        super().__init__(what, why, hint)
        self.code = code
        self.status = code // 100
