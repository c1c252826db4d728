"""Look up the socket addresses of a name (getaddrinfo(3))."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Any, NamedTuple

from stretta.address import check_port
from stretta.errors import NetworkError, StrettaError, TimedOut

__all__ = ["Target", "interleave", "name_error", "resolve", "resolve_async"]

LOOKUP_TIMEOUT = 10.0
"""Seconds that a look-up may take; the resolver's own time-outs can be longer."""


class Target(NamedTuple):
    """One address of a name, as ``socket()`` and ``connect()`` take it."""

    family: int
    sockaddr: Any


def resolve(
    host: str,
    port: int,
    kind: int,
    *,
    family: int = socket.AF_UNSPEC,
    timeout: float = LOOKUP_TIMEOUT,
    passive: bool = False,
) -> list[Target]:
    """Return the addresses of ``host`` in the resolver's order (RFC 6724), without duplicates.

    ``kind`` is SOCK_STREAM or SOCK_DGRAM; ``family`` may be AF_INET or AF_INET6, to get only those;
    ``passive`` asks for addresses to listen on. Raises NetworkError when the name has none, and
    TimedOut after ``timeout`` seconds, UsageError for a port outside 0..65535.
    """
    check_port(port)
    flags = socket.AI_PASSIVE if passive else 0
    try:  # a numeric address needs no look-up
        return _look_up(host, port, kind, family, flags | socket.AI_NUMERICHOST)
    except (socket.gaierror, UnicodeError):
        return _look_up_in_thread(host, port, kind, family, flags, timeout)


def _look_up_in_thread(
    host: str, port: int, kind: int, family: int, flags: int, timeout: float
) -> list[Target]:
    """Look up a name in a thread, so that a time-out or Ctrl-C ends the wait."""
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
        raise _too_slow(host, timeout) from None
    if isinstance(answer, StrettaError):
        raise answer
    return answer


async def resolve_async(
    host: str,
    port: int,
    kind: int,
    *,
    family: int = socket.AF_UNSPEC,
    timeout: float = LOOKUP_TIMEOUT,
) -> list[Target]:
    """Do what ``resolve`` does, without blocking the event loop; raises the same errors."""
    import asyncio  # noqa: PLC0415 - the blocking client starts without it

    check_port(port)
    try:
        return _look_up(host, port, kind, family, socket.AI_NUMERICHOST)
    except (socket.gaierror, UnicodeError):
        pass
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout):  # wait_for() can lose a cancellation (Python 3.11)
            found = await loop.getaddrinfo(host, port, family=family, type=kind)
    except TimeoutError:
        raise _too_slow(host, timeout) from None
    except (OSError, UnicodeError) as error:
        raise name_error(host, error) from None
    return list(dict.fromkeys(Target(family, sockaddr) for family, _, _, _, sockaddr in found))


def _too_slow(host: str, timeout: float) -> TimedOut:
    return TimedOut(
        f"cannot look up {host}",
        f"the name server did not answer in {timeout:g} s",
        "Is this machine on the network? An address needs no look-up: -a 127.0.0.1",
    )


def _look_up(host: str, port: int, kind: int, family: int, flags: int) -> list[Target]:
    # an ASCII name as bytes bypasses the IDNA codec, which is slow to load
    name = host.encode("ascii") if host.isascii() else host
    found = socket.getaddrinfo(name, port, family=family, type=kind, flags=flags)
    return list(dict.fromkeys(Target(family, sockaddr) for family, _, _, _, sockaddr in found))


def interleave(targets: Sequence[Target]) -> list[Target]:
    """Return the targets with alternating families, the first target first (RFC 8305 section 4).

    >>> a, b, c = (Target(10, ("::1",)), Target(10, ("::2",)), Target(2, ("1.2.3.4",)))
    >>> [t.family for t in interleave([a, b, c])]
    [10, 2, 10]
    """
    families: dict[int, list[Target]] = {}
    for target in targets:
        families.setdefault(target.family, []).append(target)
    return [t for t in chain.from_iterable(zip_longest(*families.values())) if t is not None]


def name_error(host: str, error: Exception) -> NetworkError:
    """Return the error for a failed look-up."""
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
        "no name server answered" if again else "the name does not exist (NXDOMAIN)",
        "Is this machine on the network? An address needs no look-up: -a 127.0.0.1"
        if again
        else "Check the spelling. This machine is: localhost",
    )
