"""A packet filter for a listening socket that is about to close (Linux socket filtering, bpf(4)).

close(2) resets every connection in the listen queue. Between the last accept() and close() one more
may enter it. With the filter no SYN is taken any more: a handshake that has begun is finished, a
new client sends its SYN again a second later and finds the port closed, or another worker.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import sys
from contextlib import suppress

__all__ = ["ignore_new_connections"]

SO_ATTACH_FILTER = 26  # asm-generic/socket.h; Python has no name for it

DROP_SYN = b"".join(
    struct.pack("HBBI", *instruction)
    for instruction in (
        (0x30, 0, 0, 13),  # load the byte of the TCP header that holds the flags
        (0x45, 1, 0, 0x02),  # if SYN is set, skip one instruction
        (0x06, 0, 0, 0xFFFF),  # accept the packet
        (0x06, 0, 0, 0),  # drop the packet
    )
)


def ignore_new_connections(sock: socket.socket) -> None:
    """Let a listening socket take no new SYN, where the system can do that."""
    if sys.platform != "linux":
        return
    code = ctypes.create_string_buffer(DROP_SYN, len(DROP_SYN))
    program = struct.pack("HP", len(DROP_SYN) // 8, ctypes.addressof(code))
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
