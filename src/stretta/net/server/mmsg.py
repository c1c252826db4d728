"""Many datagrams with one system call: recvmmsg(2) and sendmmsg(2), which Python does not offer.

The headers that the kernel reads and writes lie side by side in one piece of memory, so that one
stride through it reads all lengths, or writes them, without a loop in Python.
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
"""Datagrams that one call takes; twice as many gain nothing more."""

LONGEST = 65_535
ROOM = 65_600
"""Bytes from one datagram's place to the next: were it 65,536, all would share one cache line."""

CONTROL = 96
"""Bytes for what comes beside a datagram: its mark and its local address."""

HEADER = struct.Struct("@PIPNPNi4xI4x")
"""struct mmsghdr on 64-bit Linux: name and its length, parts and how many, control and its length,
flags, length of the datagram."""
PART = struct.Struct("@PN")
IPV4, IPV6 = 16, 28  # struct sockaddr_in, struct sockaddr_in6

WHERE_CONTROL_LENGTH, WHERE_LENGTH = 40, 56  # within HEADER


def open_batch(sock: socket.socket) -> DatagramBatch | None:
    """Return what takes many datagrams a call from this socket, or None if the system cannot."""
    if sys.platform != "linux" or HEADER.size != 64:
        return None
    try:
        return DatagramBatch(sock)
    except AttributeError:  # a C library without them
        return None


class DatagramBatch:
    """The datagrams that one call took, and the call that answers them."""

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
        self._kept = (in_part, inbox)  # only the kernel looks at them again

    # receiving

    def receive(self) -> int:
        """Take what has come, and return how many datagrams, at most SIZE. Raises OSError."""
        self._control_lengths[:] = self._full_controls
        count = self._recvmmsg(self._descriptor, self._in_headers, SIZE, socket.MSG_DONTWAIT, None)
        self._count = max(count, 0)
        if count < 0 and ctypes.get_errno() != errno.EAGAIN:
            raise _error()
        return self._count

    def sources(self) -> Sequence[Hashable]:
        """Return what tells the senders apart, a key for each datagram."""
        count = self._count
        if self._is_ipv6:
            return list(zip(*(words[:count].tolist() for words in self._name_words), strict=True))
        return self._name_words[0][:count].tolist()  # family, port and address; the rest is padding

    def requests(self) -> list[bytes]:
        """Return the datagrams' data."""
        lengths = self._lengths[: self._count].tolist()
        return [place[:n].tobytes() for place, n in zip(self._inbox, lengths, strict=False)]

    def shared_control(self) -> bytes | None:
        """Return what came beside every datagram, if that is the same for all; else None."""
        first, count = self.control(0), self._count
        if count == 1:
            return first
        if self._control_lengths[:count].tolist() != [len(first)] * count:
            return None
        controls = self._controls[: count * CONTROL].tobytes()
        return first if controls == controls[:CONTROL] * count else None

    def control(self, number: int) -> bytes:
        """Return what came beside one datagram, as cmsg(3) lays it out."""
        at = number * CONTROL
        return self._controls[at : at + self._control_lengths[number]].tobytes()

    def address(self, number: int) -> tuple[Any, ...]:
        """Return the address that one datagram came from, as the socket module writes it."""
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
        """Send each datagram's reply to where it came from.

        ``control`` goes beside each. ``failed`` is called with the number and the error of each
        that could not be sent.
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
    with suppress(ImportError):  # it is not compiled here
        from stretta.net.server._mmsg import DatagramBatch  # type: ignore[assignment]


def _memory(size: int) -> tuple[int, memoryview]:
    """Return memory that stays where it is, and its address."""
    memory = mmap.mmap(-1, size)  # pages that are never used are never there
    return ctypes.addressof(ctypes.c_char.from_buffer(memory)), memoryview(memory)


def _words(numbers: Any) -> memoryview:
    numbers = list(numbers)
    return memoryview(struct.pack(f"{len(numbers)}Q", *numbers)).cast("Q")


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
