"""From a name or an address to socket addresses (getaddrinfo(3))."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Any, NamedTuple

from stretta.errors import NetworkError, StrettaError, TimedOut

__all__ = ["Target", "interleave", "name_error", "resolve"]

HOW_LONG = 10.0
"""Seconds that a look-up may take; the resolver's own time-outs can be longer."""


class Target(NamedTuple):
    """One address that a name stands for, ready for ``socket()`` and ``connect()``."""

    family: int
    sockaddr: Any


def resolve(
    host: str,
    port: int,
    kind: int,
    *,
    family: int = socket.AF_UNSPEC,
    timeout: float = HOW_LONG,
    passive: bool = False,
) -> list[Target]:
    """Return the addresses of ``host``, in the resolver's order (RFC 6724), each once.

    ``kind`` is SOCK_STREAM or SOCK_DGRAM; ``family`` may be AF_INET or AF_INET6, to have only such;
    ``passive`` asks for addresses to listen on. Raises NetworkError when the name has none, and
    TimedOut after ``timeout`` seconds.
    """
    flags = socket.AI_PASSIVE if passive else 0
    try:  # a numeric address needs no look-up, so nothing can take long
        return _look_up(host, port, kind, family, flags | socket.AI_NUMERICHOST)
    except (socket.gaierror, UnicodeError):
        return _look_up_beside(host, port, kind, family, flags, timeout)


def _look_up_beside(
    host: str, port: int, kind: int, family: int, flags: int, timeout: float
) -> list[Target]:
    """Look up a name in a thread, so that a time-out and Ctrl-C can end the wait for it."""
    import queue  # noqa: PLC0415 - an address needs neither
    import threading  # noqa: PLC0415

    answers: queue.SimpleQueue[list[Target] | StrettaError] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            answers.put(_look_up(host, port, kind, family, flags))
        except (OSError, UnicodeError) as error:  # UnicodeError: a label over 63 characters
            answers.put(name_error(host, error))

    threading.Thread(target=look_up, daemon=True, name=f"look up {host}").start()
    try:
        answer = answers.get(timeout=timeout)
    except queue.Empty:
        raise TimedOut(
            f"cannot look up {host}",
            f"the name server did not answer in {timeout:g} s",
            "Is this machine on the network? An address needs no look-up: -a 127.0.0.1",
        ) from None
    if isinstance(answer, StrettaError):
        raise answer
    return answer


def _look_up(host: str, port: int, kind: int, family: int, flags: int) -> list[Target]:
    # as bytes an ASCII name does not pass through the IDNA codec, which is slow to load
    name = host.encode("ascii") if host.isascii() else host
    found = socket.getaddrinfo(name, port, family=family, type=kind, flags=flags)
    return list(dict.fromkeys(Target(family, sockaddr) for family, _, _, _, sockaddr in found))


def interleave(targets: Sequence[Target]) -> list[Target]:
    """Return the targets with families in turn, the first one's first (RFC 8305 section 4).

    >>> a, b, c = (Target(10, ("::1",)), Target(10, ("::2",)), Target(2, ("1.2.3.4",)))
    >>> [t.family for t in interleave([a, b, c])]
    [10, 2, 10]
    """
    families: dict[int, list[Target]] = {}
    for target in targets:
        families.setdefault(target.family, []).append(target)
    return [t for t in chain.from_iterable(zip_longest(*families.values())) if t is not None]


def name_error(host: str, error: Exception) -> NetworkError:
    """Return the error for a name that getaddrinfo() did not find."""
    address, percent, zone = host.partition("%")
    if percent and ":" in address:
        return NetworkError(
            f"cannot find {address}",
            f"this machine has no interface {zone!r}",
            "To see its interfaces: ip link",
        )
    again = isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN
    return NetworkError(
        f"cannot find {host}",
        "no name server could be asked" if again else "no machine has this name",
        "Is this machine on the network? An address needs no look-up: -a 127.0.0.1"
        if again
        else "Check the spelling. This machine is: localhost",
    )
