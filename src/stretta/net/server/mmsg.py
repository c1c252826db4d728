"""Receive and send many datagrams with one system call: recvmmsg(2), sendmmsg(2), by ctypes.

The headers for the kernel are contiguous in memory, so one strided view reads or writes a field of
all of them without a loop in Python. ``_mmsg.pyx`` is the compiled twin.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import socket
import struct
import sys
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from itertools import accumulate, repeat
from typing import Any

from stretta.native import uses_compiled

__all__ = ["DatagramBatch", "open_batch"]

SIZE = 64
"""Datagrams of one call at most; twice as many are no faster."""

LONGEST = 65_535
ROOM = 65_600
"""Bytes from one datagram's buffer to the next: with 65,536 all would share a cache line."""

CONTROL = 96
"""Bytes for the ancillary data of a datagram: its mark and its local address."""

HEADER = struct.Struct("@PIPNPNi4xI4x")
"""struct mmsghdr on 64-bit Linux: name and its length, iovec and its count, control and its length,
flags, length of the datagram."""
PART = struct.Struct("@PN")
IPV4, IPV6 = 16, 28  # struct sockaddr_in, struct sockaddr_in6

WHERE_CONTROL_LENGTH, WHERE_LENGTH = 40, 56  # within HEADER


def open_batch(sock: socket.socket) -> DatagramBatch | None:
    """Return a batch for this socket, or None if the system has no recvmmsg()."""
    if sys.platform != "linux" or HEADER.size != 64:
        return None
    try:
        return DatagramBatch(sock)
    except AttributeError:  # the C library does not have the calls
        return None


class DatagramBatch:
    """The datagrams of one receive call, and the call that sends their replies."""

    def __init__(self, sock: socket.socket) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._recvmmsg, self._sendmmsg = libc.recvmmsg, libc.sendmmsg
        number, pointer = ctypes.c_int, ctypes.c_void_p
        self._recvmmsg.argtypes = [number, pointer, ctypes.c_uint, number, pointer]
        self._sendmmsg.argtypes = [number, pointer, ctypes.c_uint, number]
        self._descriptor = sock.fileno()
        self._is_ipv6 = sock.family == socket.AF_INET6
        self._count = 0

        name = IPV6 if self._is_ipv6 else IPV4
        stride = -(-name // 8) * 8
        names, self._names = _memory(SIZE * stride)
        controls, self._controls = _memory(SIZE * CONTROL)
        data, inbox = _memory(SIZE * ROOM)
        self._inbox = [inbox[at : at + LONGEST] for at in range(0, SIZE * ROOM, ROOM)]
        in_parts, in_part = _memory(SIZE * PART.size)
        self._in_headers, in_header = _memory(SIZE * HEADER.size)
        out_parts, out_part = _memory(SIZE * PART.size)
        self._out_headers, out_header = _memory(SIZE * HEADER.size)
        self._out_control_at, self._out_control = _memory(CONTROL)
        for i in range(SIZE):
            PART.pack_into(in_part, i * PART.size, data + i * ROOM, LONGEST)
            HEADER.pack_into(
                in_header, i * HEADER.size, names + i * stride, name, in_parts + i * PART.size, 1,
                controls + i * CONTROL, CONTROL, 0, 0,
            )  # fmt: skip
            HEADER.pack_into(
                out_header, i * HEADER.size, names + i * stride, name, out_parts + i * PART.size, 1,
                self._out_control_at, 0, 0, 0,
            )  # fmt: skip
        words = HEADER.size // 8
        self._lengths = in_header.cast("I")[WHERE_LENGTH // 4 :: HEADER.size // 4]
        self._control_lengths = in_header.cast("Q")[WHERE_CONTROL_LENGTH // 8 :: words]
        self._full_controls = memoryview(struct.pack("Q", CONTROL) * SIZE).cast("Q")
        self._out_control_lengths = out_header.cast("Q")[WHERE_CONTROL_LENGTH // 8 :: words]
        self._out_at = out_part.cast("Q")[0::2]
        self._out_length = out_part.cast("Q")[1::2]
        self._name_words = [
            self._names.cast("Q")[word :: stride // 8] for word in range(stride // 8)
        ]
        self._stride = stride
        self._answering_from = b""
        self._kept = (in_part, inbox)  # used by the kernel only

    # receiving

    def receive(self) -> int:
        """Receive datagrams; return how many, at most SIZE, 0 if there is none. Raises OSError."""
        self._control_lengths[:] = self._full_controls
        count = self._recvmmsg(self._descriptor, self._in_headers, SIZE, socket.MSG_DONTWAIT, None)
        self._count = max(count, 0)
        if count < 0 and ctypes.get_errno() != errno.EAGAIN:
            raise _error()
        return self._count

    def sources(self) -> Sequence[Hashable]:
        """Return a key for the sender of each datagram."""
        count = self._count
        if self._is_ipv6:
            return list(zip(*(words[:count].tolist() for words in self._name_words), strict=True))
        return self._name_words[0][:count].tolist()  # family, port and address, without the padding

    def requests(self) -> list[bytes]:
        """Return the datagrams' data."""
        lengths = self._lengths[: self._count].tolist()
        return [place[:n].tobytes() for place, n in zip(self._inbox, lengths, strict=False)]

    def shared_control(self) -> bytes | None:
        """Return the ancillary data if all datagrams have the same; else None."""
        first, count = self.control(0), self._count
        if count == 1:
            return first
        if self._control_lengths[:count].tolist() != [len(first)] * count:
            return None
        controls = self._controls[: count * CONTROL].tobytes()
        return first if controls == controls[:CONTROL] * count else None

    def control(self, number: int) -> bytes:
        """Return the ancillary data of one datagram, in the layout of cmsg(3)."""
        at = number * CONTROL
        return self._controls[at : at + self._control_lengths[number]].tobytes()

    def address(self, number: int) -> tuple[Any, ...]:
        """Return the sender's address of one datagram, as the socket module returns it."""
        raw = self._names[number * self._stride : (number + 1) * self._stride].tobytes()
        (port,) = struct.unpack_from("!H", raw, 2)
        if not self._is_ipv6:
            return socket.inet_ntop(socket.AF_INET, raw[4:8]), port
        (flow,) = struct.unpack_from("!I", raw, 4)
        (scope,) = struct.unpack_from("@I", raw, 24)
        return socket.inet_ntop(socket.AF_INET6, raw[8:24]), port, flow, scope

    # sending

    def answer(
        self, replies: Sequence[bytes], control: bytes, failed: Callable[[int, OSError], None]
    ) -> None:
        """Send one reply to the sender of each datagram.

        ``control`` is the ancillary data of each reply. ``failed`` is called with the number
        and the error of each reply that could not be sent.
        """
        count = len(replies)
        joined = b"".join(replies)
        start = ctypes.c_void_p.from_buffer(ctypes.c_char_p(joined)).value
        lengths = list(map(len, replies))
        starts = list(accumulate(lengths, initial=start))
        self._out_at[:count] = _words(starts[:count])
        self._out_length[:count] = _words(lengths)
        if control != self._answering_from:
            self._answering_from = control
            self._out_control[: len(control)] = control
            self._out_control_lengths[:] = _words(repeat(len(control), SIZE))
        at = 0
        while at < count:
            done = self._sendmmsg(
                self._descriptor, self._out_headers + at * HEADER.size, count - at,
                socket.MSG_DONTWAIT,
            )  # fmt: skip
            if done > 0:
                at += done
            else:
                failed(at, _error())
                at += 1


in_python = DatagramBatch
if uses_compiled():
    with suppress(ImportError):  # not compiled on this machine
        from stretta.net.server._mmsg import DatagramBatch  # type: ignore[assignment]


def _memory(size: int) -> tuple[int, memoryview]:
    """Return memory that does not move, and its address."""
    memory = mmap.mmap(-1, size)  # pages that are never used take no memory
    return ctypes.addressof(ctypes.c_char.from_buffer(memory)), memoryview(memory)


def _words(numbers: Any) -> memoryview:
    numbers = list(numbers)
    return memoryview(struct.pack(f"{len(numbers)}Q", *numbers)).cast("Q")


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
