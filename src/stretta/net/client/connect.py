"""Connect to a name: try its addresses, overlapping in time (Happy Eyeballs, RFC 8305)."""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stretta.address import Endpoint
from stretta.net.client.connect_errors import cannot_reach
from stretta.net.resolve import Target, interleave, resolve, resolve_async
from stretta.reports import Connecting, LookedUp, NotReached, Observer, Unanswered

if TYPE_CHECKING:
    import asyncio

__all__ = ["cancel_and_wait", "dial", "dial_async"]

ATTEMPT_DELAY = 0.25
"""Seconds before the next address is tried while the last has not answered (RFC 8305 section 5)."""


def dial(
    host: str,
    port: int,
    *,
    timeout: float,
    server: str = "",
    family: int = socket.AF_UNSPEC,
    watch: Observer | None = None,
) -> socket.socket:
    """Return a non-blocking TCP socket, connected to the first address of ``host`` that accepts.

    ``timeout`` is the limit for each address, in seconds; ``server`` is the command that starts
    such a server, for the hint; ``family`` may be AF_INET or AF_INET6, to try only those addresses.
    ``watch`` is called with a report of each attempt. Raises NetworkError when every address
    refuses, TimedOut when one does not answer.
    """
    waiting = interleave(resolve(host, port, socket.SOCK_STREAM, family=family))
    attempts = _AttemptReporter(host, waiting, watch)
    waiting.reverse()
    failed: list[OSError] = []
    racing: dict[int, tuple[socket.socket, float, Target]] = {}  # by descriptor, with deadline
    poll = select.poll()
    next_start = 0.0
    try:
        while waiting or racing:
            now = time.monotonic()
            if waiting and (not racing or now >= next_start):
                target = waiting.pop()
                attempts.connecting(target, [last for _, _, last in racing.values()])
                sock = _start(target, failed)
                if sock is None:
                    attempts.failed(target, failed[-1])
                else:
                    racing[sock.fileno()] = sock, now + timeout, target
                    poll.register(sock, select.POLLOUT)
                    next_start = now + ATTEMPT_DELAY
                continue
            deadlines = [deadline for _, deadline, _ in racing.values()]
            until = min([*deadlines, next_start] if waiting else deadlines)
            for descriptor, _ in poll.poll(max(0.0, until - now) * 1000 + 1):
                sock, _, target = racing.pop(descriptor)
                poll.unregister(descriptor)
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code == 0:
                    return sock
                failed.append(OSError(code, os.strerror(code)))
                attempts.failed(target, failed[-1])
                sock.close()
                next_start = 0.0  # after a failure the next attempt starts at once
            now = time.monotonic()
            for descriptor, (sock, deadline, target) in list(racing.items()):
                if now >= deadline:
                    failed.append(TimeoutError(errno.ETIMEDOUT, "timed out"))
                    attempts.failed(target, failed[-1])
                    poll.unregister(descriptor)
                    sock.close()
                    del racing[descriptor]
    finally:
        for sock, _, _ in racing.values():
            sock.close()
    raise cannot_reach(host, port, failed, timeout=timeout, server=server)


async def dial_async(
    host: str,
    port: int,
    *,
    timeout: float,
    server: str = "",
    family: int = socket.AF_UNSPEC,
    watch: Observer | None = None,
) -> socket.socket:
    """Do what ``dial`` does, without blocking the event loop; raises the same errors."""
    import asyncio  # noqa: PLC0415 - the blocking client starts without it

    waiting = interleave(await resolve_async(host, port, socket.SOCK_STREAM, family=family))
    attempts = _AttemptReporter(host, waiting, watch)
    waiting.reverse()
    failed: list[OSError] = []
    racing: dict[asyncio.Task[socket.socket], Target] = {}
    try:
        while waiting or racing:
            if waiting:
                target = waiting.pop()
                attempts.connecting(target, list(racing.values()))
                racing[asyncio.create_task(_attempt(target, timeout))] = target
            done, _ = await asyncio.wait(
                racing,
                timeout=ATTEMPT_DELAY if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in done:
                error = task.exception()
                if error is None:
                    del racing[task]
                    return task.result()
                target = racing.pop(task)
                if not isinstance(error, OSError):
                    raise error
                failed.append(error)
                attempts.failed(target, error)
    finally:
        for task in racing:
            task.add_done_callback(_close_result)
            task.cancel()
    raise cannot_reach(host, port, failed, timeout=timeout, server=server)


def _close_result(task: asyncio.Task[socket.socket]) -> None:
    """Close the socket of an attempt that another one has beaten, or that was cancelled late."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def _attempt(target: Target, timeout: float) -> socket.socket:
    """Return the connected socket of one target; raises OSError."""
    import asyncio  # noqa: PLC0415 - as above

    sock = socket.socket(target.family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        async with asyncio.timeout(timeout):
            await asyncio.get_running_loop().sock_connect(sock, target.sockaddr)
    except TimeoutError:
        sock.close()
        raise TimeoutError(errno.ETIMEDOUT, "timed out") from None
    except BaseException:
        sock.close()
        raise
    return sock


async def cancel_and_wait(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for its end, also while the caller is cancelled itself."""
    import asyncio  # noqa: PLC0415 - as above

    task.cancel()
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if not task.cancelled():
        task.exception()  # the caller has learned more from its own side of the connection
    if cancelled is not None:
        raise cancelled


class _AttemptReporter:
    """Reports each attempt, and the reason for the next one."""

    def __init__(self, host: str, targets: Sequence[Target], watch: Observer | None) -> None:
        self._watch = watch
        if watch is not None and not (len(targets) == 1 and targets[0].sockaddr[0] == host):
            watch(LookedUp(host, [target.sockaddr[0] for target in targets]))

    def connecting(self, target: Target, silent: Sequence[Target]) -> None:
        if self._watch is not None:
            for other in silent[-1:]:
                self._watch(Unanswered(Endpoint.from_sockaddr(other.sockaddr), ATTEMPT_DELAY))
            self._watch(Connecting(Endpoint.from_sockaddr(target.sockaddr)))

    def failed(self, target: Target, error: OSError) -> None:
        if self._watch is not None:
            why = os.strerror(error.errno or 0).lower()
            self._watch(NotReached(Endpoint.from_sockaddr(target.sockaddr), why))


def _start(target: Target, failed: list[OSError]) -> socket.socket | None:
    """Start one attempt; an error at once is added to ``failed``."""
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
