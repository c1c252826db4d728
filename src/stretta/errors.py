"""What can go wrong, as a tree; each error knows its exit status and what to do next.

Every message has three parts: what happened, why, and what to type next.
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
    """The root of all errors that Stretta raises on purpose.

    ``what`` happened, ``why`` it happened, and ``hint``: what to do next. ``str()`` joins them;
    ``status`` is the command's exit status.
    """

    status = 1

    def __init__(self, what: str, why: str = "", hint: str = "") -> None:
        self.what, self.why, self.hint = what, why, hint
        message = f"{what}: {why}" if why else what
        super().__init__(f"{message}. {hint}" if hint else message)


class UsageError(StrettaError):
    """What was asked for makes no sense: an option, an address, a message that cannot be sent."""

    status = 2
    shows_usage = True


class TooLong(UsageError):
    """A message does not fit in what should carry it."""

    shows_usage = False


class NetworkError(StrettaError):
    """The network said no: refused, reset, unreachable, name not found."""


class CannotServe(StrettaError):
    """A server cannot start: the port is in use, the address is not this machine's."""


class InvalidReply(StrettaError):
    """What came back breaks the protocol that was spoken."""


class OutputError(StrettaError):
    """The reply came but could not be written where it was wanted (a full disk, for one)."""


class TimedOut(StrettaError):
    """Nothing came within the time allowed."""

    status = 6


class ReplyEndedEarly(StrettaError):
    """The reply ended before all of it had come.

    ``reply`` holds the bytes that did come, where the caller asked for bytes.
    """

    status = 7

    def __init__(self, what: str, why: str = "", hint: str = "", *, reply: bytes = b"") -> None:
        super().__init__(what, why, hint)
        self.reply = reply


class HttpStatus(StrettaError):
    """An HTTP reply came whole, and its status is 3xx (not followed), 4xx or 5xx.

    The exit status is the first digit of the HTTP status.
    """

    def __init__(self, code: int, what: str, why: str = "", hint: str = "") -> None:
        super().__init__(what, why, hint)
        self.code = code
        self.status = code // 100
