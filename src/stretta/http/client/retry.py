"""Whether a request that failed on a reused connection is sent again. Pure.

A server may close an idle connection at the moment at which a request is sent over it. Repeating
the request is safe when the server cannot have acted on it, or when acting twice has the same
effect as acting once (RFC 9110 section 9.2.2, RFC 9112 section 9.3.1).
"""

from __future__ import annotations

from typing import NamedTuple

from stretta.errors import NetworkError, StrettaError

__all__ = ["IDEMPOTENT", "Attempt", "is_retried", "not_retried"]

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
"""The methods whose second execution changes nothing more (RFC 9110 section 9.2.2)."""


class Attempt(NamedTuple):
    """How far a request came before its connection failed.

    ``reused``: the connection had served an earlier request; ``bytes_sent``: bytes of the request
    given to the kernel; ``reply_began``: a byte of the reply arrived.
    """

    method: str
    reused: bool
    bytes_sent: int
    reply_began: bool


def is_retried(attempt: Attempt) -> bool:
    """Return whether the request is sent again, once, over a new connection.

    >>> is_retried(Attempt("GET", reused=True, bytes_sent=90, reply_began=False))
    True
    >>> is_retried(Attempt("POST", reused=True, bytes_sent=90, reply_began=False))
    False
    """
    if not attempt.reused or attempt.reply_began:
        return False
    return attempt.bytes_sent == 0 or attempt.method in IDEMPOTENT


def not_retried(attempt: Attempt, error: StrettaError) -> StrettaError:
    """Return the error to report for a request that is not sent again.

    It warns when the server may have acted on a request that is not idempotent.
    """
    if attempt.reply_began or not attempt.bytes_sent or attempt.method in IDEMPOTENT:
        return error
    return NetworkError(
        f"no response to {attempt.method} came",
        f"{error.what}. The server may have carried out the request, so it is not sent again",
        "Check on the server what happened before you repeat it.",
    )
