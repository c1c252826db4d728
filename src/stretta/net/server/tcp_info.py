"""What the kernel knows of a TCP connection: its state, and bytes not acknowledged (tcp(7))."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["bytes_received", "is_closed", "peer_finished", "reset_on_close", "unacknowledged"]

TCP_CLOSE, TCP_CLOSE_WAIT = 7, 8
"""Values of the first byte of struct tcp_info (netinet/tcp.h, Linux)."""

BYTES_RECEIVED = slice(128, 136)
"""The place of tcpi_bytes_received in struct tcp_info (linux/tcp.h)."""


def unacknowledged(descriptor: int) -> int:
    """Return how many bytes in the send queue the peer has not acknowledged (tcp(7), SIOCOUTQ).

    0 when the descriptor is no socket (-1, say). A slow reader empties this queue long before the
    kernel takes more bytes from us: the number shows its progress.
    """
    try:
        answer = fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4))
    except (OSError, ValueError):
        return 0
    return int.from_bytes(answer, sys.byteorder)


def is_closed(descriptor: int) -> bool:
    """Return whether the kernel has closed the connection.

    When a reset follows data closely, libuv sees the error first and stops polling; the data is
    read, and no callback ever tells of the reset.
    """
    return _state(descriptor) == TCP_CLOSE


def peer_finished(descriptor: int) -> bool:
    """Return whether the peer has sent its FIN; most peers then do not read any more either."""
    return _state(descriptor) in (TCP_CLOSE, TCP_CLOSE_WAIT)


def bytes_received(descriptor: int) -> int | None:
    """Return how many bytes the peer has sent so far; None where the kernel does not tell."""
    try:
        with _borrowed(descriptor) as sock:
            info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, BYTES_RECEIVED.stop)
    except (AttributeError, OSError):
        return None
    field = info[BYTES_RECEIVED]
    return int.from_bytes(field, sys.byteorder) if len(field) == 8 else None


def reset_on_close(descriptor: int) -> None:
    """Make close(2) send RST instead of FIN (socket(7), SO_LINGER)."""
    with suppress(OSError), _borrowed(descriptor) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _state(descriptor: int) -> int:
    try:
        with _borrowed(descriptor) as sock:
            return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    except (AttributeError, OSError):  # no TCP_INFO on this system, or no socket
        return 0


@contextmanager
def _borrowed(descriptor: int) -> Iterator[socket.socket]:
    """Yield a socket object for a descriptor and leave the descriptor open. Raises OSError.

    A socket object kept for each connection would take more memory than all else of it.
    """
    if descriptor < 0:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    # with family, type and protocol given, the constructor makes no system call
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=descriptor)
    try:
        yield sock
    finally:
        sock.detach()
