"""A packet socket on one interface: frames are read from a ring in shared memory (packet(7))."""

from __future__ import annotations

import mmap
import socket
import struct

__all__ = ["PacketRing"]

ETH_P_ALL = 3
SOL_PACKET = 263
PACKET_RX_RING, PACKET_STATISTICS, PACKET_VERSION, PACKET_IGNORE_OUTGOING = 5, 6, 10, 23
TPACKET_V2 = 1
SLOT = 2048  # bytes: a frame of 1514, the kernel's header, and some room
BLOCK = 64 * 1024
SLOTS = 8192
# tpacket2_hdr: status, length, captured, offset of the frame, of its packet, seconds, nanoseconds
HEADER = struct.Struct("=IIIHHII")
FREE = b"\0\0\0\0"
TP_STATUS_USER = 1


class PacketRing:
    """An AF_PACKET socket on one interface; timestamps are the kernel's.

    The kernel writes frames to memory shared with this process (PACKET_MMAP), so that receiving
    costs no system call for each frame.
    """

    def __init__(self, interface: str) -> None:
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.socket.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V2)
        blocks = SLOTS * SLOT // BLOCK
        self.socket.setsockopt(
            SOL_PACKET, PACKET_RX_RING, struct.pack("IIII", BLOCK, blocks, SLOT, SLOTS)
        )
        self.socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        # an interface that is down takes no frame, so send() must not wait for room
        self.socket.setblocking(False)
        self._memory = mmap.mmap(self.socket.fileno(), SLOTS * SLOT)
        self._at = 0
        self.socket.bind((interface, ETH_P_ALL))

    def fileno(self) -> int:
        """Return the descriptor, readable when the ring holds a frame."""
        return self.socket.fileno()

    def receive(self) -> tuple[int, bytes] | None:
        """Return the next frame and its time (nanoseconds since 1970), or None if there is none."""
        at = self._at
        status, _, captured, offset, _, seconds, nanoseconds = HEADER.unpack_from(self._memory, at)
        if not status & TP_STATUS_USER:
            return None
        start = at + offset
        frame = self._memory[start : start + captured]
        self._memory[at : at + 4] = FREE
        self._at = at + SLOT if at + SLOT < SLOTS * SLOT else 0
        return seconds * 1_000_000_000 + nanoseconds, frame

    def send(self, frame: bytes) -> bool:
        """Send a frame; return whether the interface took it."""
        try:
            self.socket.send(frame)
        except OSError:
            return False
        return True

    def dropped(self) -> int:
        """Return how many frames did not fit in the ring since the last call."""
        counts = self.socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
        return int(struct.unpack("II", counts)[1])
