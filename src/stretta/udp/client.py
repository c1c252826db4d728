"""The UDP client: sends a datagram, waits for the reply, and sends it again when none comes.

Each question has a connected socket of its own. So the kernel delivers only datagrams from the
address asked, reports a refused port (ICMP), and discards a late reply.
"""

from __future__ import annotations

import errno
import select
import socket
import time

from stretta.address import Endpoint
from stretta.errors import (
    InvalidReply,
    NetworkError,
    StrettaError,
    TimedOut,
    TooLong,
    UsageError,
)
from stretta.net.client.connect_errors import cannot_reach, start_hint
from stretta.net.client.peer_address import peer_address
from stretta.net.resolve import Target, interleave, resolve, resolve_async
from stretta.options import DatagramPatience
from stretta.reports import Asked, Observer, Resending

__all__ = ["LARGEST", "ask", "ask_async"]

LARGEST = {socket.AF_INET: 65_507, socket.AF_INET6: 65_527}
"""Bytes that one datagram can carry: 65,535 less the headers (RFC 768, RFC 791, RFC 8200)."""

SERVER = "stretta udp server"


def ask(
    message: bytes,
    host: str = "127.0.0.1",
    port: int = 12000,
    *,
    patience: DatagramPatience | None = None,
    watch: Observer | None = None,
) -> bytes:
    """Send ``message`` as one datagram, again when no reply comes, and return the reply.

    ``host`` is an address or a name; the addresses of a name are tried in turn. ``watch`` is called
    with each report. Raises TooLong when the message does not fit in a datagram, UsageError for a
    multicast group, NetworkError (refused, unreachable, no such name), TimedOut, and InvalidReply
    when the reply is longer than ``patience.max_reply``.

    >>> from stretta import udp
    >>> server = getfixture("udp_upper_server")
    >>> udp.ask("perché".encode(), port=server.port).decode()
    'PERCHÉ'
    """
    patience = patience or DatagramPatience()
    targets = interleave(resolve(host, port, socket.SOCK_DGRAM))
    failed: list[OSError] = []
    for target in targets:
        check_can_ask(message, target)
        try:
            with connected(target) as sock:
                for attempt in range(patience.retries + 1):
                    _report(watch, sock, attempt, patience)
                    sock.send(message)
                    reply = _wait(sock, patience)
                    if reply is not None:
                        return reply
            failed.append(TimeoutError(errno.ETIMEDOUT, "no reply"))
        except OSError as error:
            failed.append(error)
    raise _unanswered(host, port, failed, patience)


async def ask_async(
    message: bytes,
    host: str = "127.0.0.1",
    port: int = 12000,
    *,
    patience: DatagramPatience | None = None,
    watch: Observer | None = None,
) -> bytes:
    """Do what ``ask`` does, without blocking the event loop; raises the same errors.

    >>> import asyncio
    >>> from stretta import udp
    >>> server = getfixture("udp_upper_server")
    >>> asyncio.run(udp.ask_async(b"ciao", port=server.port))
    b'CIAO'
    """
    import asyncio  # noqa: PLC0415 - the blocking client starts without it

    patience = patience or DatagramPatience()
    targets = interleave(await resolve_async(host, port, socket.SOCK_DGRAM))
    failed: list[OSError] = []
    for target in targets:
        check_can_ask(message, target)
        try:
            with connected(target) as sock:
                for attempt in range(patience.retries + 1):
                    _report(watch, sock, attempt, patience)
                    sock.send(message)
                    try:
                        async with asyncio.timeout(patience.timeout):
                            return await _receive_async(sock, patience.max_reply)
                    except TimeoutError:
                        continue
            failed.append(TimeoutError(errno.ETIMEDOUT, "no reply"))
        except OSError as error:
            failed.append(error)
    raise _unanswered(host, port, failed, patience)


def connected(target: Target) -> socket.socket:
    """Return a non-blocking UDP socket that is connected to this address. Raises OSError."""
    sock = socket.socket(target.family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.connect(target.sockaddr)
    except OSError:
        sock.close()
        raise
    return sock


def check_can_ask(message: bytes, target: Target) -> None:
    """Raise TooLong if the message does not fit in a datagram, UsageError for a multicast group."""
    endpoint = Endpoint.from_sockaddr(target.sockaddr)
    if endpoint.is_multicast:
        raise UsageError(
            f"cannot ask the multicast group {endpoint.host}",
            "its members reply from their own addresses, and only the address asked may reply",
            "Ask one of its members: -a ADDRESS",
        )
    most = LARGEST[socket.AddressFamily(target.family)]
    if len(message) > most:
        version = 4 if target.family == socket.AF_INET else 6
        raise TooLong(
            f"cannot send {len(message)} bytes in one datagram",
            f"over IPv{version} a datagram carries at most {most}",
            "Send less, or send a stream: stretta tcp client",
        )


def receive(sock: socket.socket, most: int) -> bytes:
    """Receive one datagram. Raises InvalidReply if it is longer than ``most``, BlockingIOError."""
    data, _, flags, _ = sock.recvmsg(min(most, 65_536))  # no datagram is longer
    if flags & socket.MSG_TRUNC:
        raise InvalidReply(
            "the reply was truncated",
            f"it is longer than {most} bytes",
            "To accept longer replies: --max-reply BYTES",
        )
    return data


def _wait(sock: socket.socket, patience: DatagramPatience) -> bytes | None:
    """Return the reply, or None when none came in time."""
    deadline = time.monotonic() + patience.timeout
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    while (left := deadline - time.monotonic()) > 0:
        if poll.poll(left * 1000):
            try:
                return receive(sock, patience.max_reply)
            except BlockingIOError:  # the datagram had a bad checksum (select(2), BUGS)
                continue
    return None


async def _receive_async(sock: socket.socket, most: int) -> bytes:
    """Do what ``receive`` does, waiting on the event loop for as long as the caller allows."""
    import asyncio  # noqa: PLC0415 - as above

    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(sock, readable.set)
    try:
        while True:
            await readable.wait()
            readable.clear()
            try:
                return receive(sock, most)
            except BlockingIOError:  # the datagram had a bad checksum (select(2), BUGS)
                continue
    finally:
        loop.remove_reader(sock)


def _report(
    watch: Observer | None, sock: socket.socket, attempt: int, patience: DatagramPatience
) -> None:
    if watch is None:
        return
    server: Endpoint = peer_address(sock)
    if attempt:
        watch(Resending(server, patience.timeout, attempt, patience.retries))
    else:
        watch(Asked(server))


def _unanswered(
    host: str, port: int, failed: list[OSError], patience: DatagramPatience
) -> StrettaError:
    codes = {error.errno for error in failed}
    if codes == {errno.ETIMEDOUT}:
        sent = (patience.retries + 1) * len(failed)
        datagrams = "datagram" if sent == 1 else "datagrams"
        return TimedOut(
            f"no reply from {host} port {port}",
            f"{sent} {datagrams} sent in {sent * patience.timeout:g} s. The datagrams or the"
            " replies were lost, or no server answers there",
            "To wait longer: --timeout SECONDS. To send more often: --retries N",
        )
    if errno.ECONNREFUSED in codes:
        return NetworkError(
            f"cannot reach {host} port {port}",
            "connection refused (ICMP port unreachable). Nothing is listening there",
            start_hint(SERVER, host, port),
        )
    return cannot_reach(host, port, failed, timeout=patience.timeout, server=SERVER)
