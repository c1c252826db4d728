"""Connecting: every address of a name is tried, the next before the last has failed (RFC 8305)."""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from collections.abc import Sequence
from itertools import chain, zip_longest

from stretta.address import Endpoint
from stretta.errors import NetworkError, StrettaError, TimedOut
from stretta.net.resolve import Target, name_error, resolve

__all__ = ["cannot_reach", "dial", "dial_async", "interleave", "peer_of"]

ATTEMPT_DELAY = 0.25
"""Seconds before the next address is tried beside the last (RFC 8305 section 5)."""

REASONS = {
    errno.ECONNREFUSED: "connection refused. Nothing is listening there",
    errno.ECONNRESET: "the connection was reset while it was being made",
    errno.ENETUNREACH: "network unreachable. This machine has no route to that network",
    errno.EHOSTUNREACH: "host unreachable. No machine with that address answers",
    errno.EACCES: "permission denied. A firewall or a broadcast address is in the way",
    errno.EADDRNOTAVAIL: "this machine has no address from which to reach it",
    errno.EINVAL: "a link-local address needs its interface, as in fe80::1%eth0",
    errno.EAFNOSUPPORT: "this machine does not speak that kind of address",
}


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


def dial(host: str, port: int, *, timeout: float, server: str = "") -> socket.socket:
    """Return a connected, non-blocking TCP socket to ``host``, at the first address that answers.

    ``timeout`` bounds each address, in seconds; ``server`` is the command that starts such a
    server, for the hint. Raises NetworkError when every address refuses, TimedOut when one stays
    silent.
    """
    waiting = interleave(resolve(host, port, socket.SOCK_STREAM))
    waiting.reverse()
    failed: list[OSError] = []
    racing: dict[int, tuple[socket.socket, float]] = {}  # descriptor -> socket, its deadline
    poll = select.poll()
    next_start = 0.0
    try:
        while waiting or racing:
            now = time.monotonic()
            if waiting and (not racing or now >= next_start):
                sock = _start(waiting.pop(), failed)
                if sock is not None:
                    racing[sock.fileno()] = sock, now + timeout
                    poll.register(sock, select.POLLOUT)
                    next_start = now + ATTEMPT_DELAY
                continue
            deadlines = [deadline for _, deadline in racing.values()]
            until = min([*deadlines, next_start] if waiting else deadlines)
            for descriptor, _ in poll.poll(max(0.0, until - now) * 1000 + 1):
                sock, _ = racing.pop(descriptor)
                poll.unregister(descriptor)
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code == 0:
                    return sock
                failed.append(OSError(code, os.strerror(code)))
                sock.close()
                next_start = 0.0  # a failure starts the next at once
            now = time.monotonic()
            for descriptor, (sock, deadline) in list(racing.items()):
                if now >= deadline:
                    failed.append(TimeoutError(errno.ETIMEDOUT, "timed out"))
                    poll.unregister(descriptor)
                    sock.close()
                    del racing[descriptor]
    finally:
        for sock, _ in racing.values():
            sock.close()
    raise cannot_reach(host, port, failed, timeout=timeout, server=server)


async def dial_async(host: str, port: int, *, timeout: float, server: str = "") -> socket.socket:
    """Do what ``dial`` does without blocking the event loop; raises the same errors."""
    import asyncio  # noqa: PLC0415 - the blocking client starts without it

    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise name_error(host, error) from None
    waiting = interleave([Target(family, address) for family, _, _, _, address in found])
    waiting.reverse()
    failed: list[OSError] = []
    racing: set[asyncio.Task[socket.socket]] = set()

    async def attempt(target: Target) -> socket.socket:
        sock = socket.socket(target.family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            async with asyncio.timeout(timeout):
                await loop.sock_connect(sock, target.sockaddr)
        except BaseException:
            sock.close()
            raise
        return sock

    try:
        while waiting or racing:
            if waiting:
                racing.add(asyncio.create_task(attempt(waiting.pop())))
            done, racing = await asyncio.wait(
                racing,
                timeout=ATTEMPT_DELAY if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in done:
                try:
                    return task.result()
                except TimeoutError:
                    failed.append(TimeoutError(errno.ETIMEDOUT, "timed out"))
                except OSError as error:
                    failed.append(error)
    finally:
        for task in racing:
            task.cancel()
    raise cannot_reach(host, port, failed, timeout=timeout, server=server)


def _start(target: Target, failed: list[OSError]) -> socket.socket | None:
    """Begin one connection; what fails at once joins ``failed``."""
    try:
        sock = socket.socket(target.family, socket.SOCK_STREAM)
    except OSError as error:  # this machine has no IPv6, for one
        failed.append(error)
        return None
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    code = sock.connect_ex(target.sockaddr)
    if code in (0, errno.EINPROGRESS):
        return sock
    sock.close()
    failed.append(OSError(code, os.strerror(code)))
    return None


def cannot_reach(
    host: str, port: int, failed: Sequence[OSError], *, timeout: float, server: str
) -> StrettaError:
    """Return the error for a server that no attempt reached, from what each attempt met.

    The most telling one speaks: refused before silence, silence before no route.
    """
    what = f"cannot reach {host} port {port}"
    codes = [error.errno or 0 for error in failed]
    if errno.ECONNREFUSED in codes:
        hint = f"To start a server: {server} -p {port}" if server else ""
        return NetworkError(what, REASONS[errno.ECONNREFUSED], hint)
    if errno.ETIMEDOUT in codes:
        return TimedOut(
            what,
            f"no answer in {timeout:g} s. The machine is off, or a firewall drops what we send",
            "Check the address, or wait longer: --connect-timeout SECONDS",
        )
    code = codes[0] if codes else 0
    why = REASONS.get(code) or os.strerror(code).lower()
    return NetworkError(what, why, "Check the address with: ip route get " + host)


def peer_of(sock: socket.socket) -> Endpoint:
    """Return the address at the other end."""
    try:
        return Endpoint.from_sockaddr(sock.getpeername())
    except OSError:  # reset before we could ask
        return Endpoint("?", 0)
