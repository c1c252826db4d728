"""One end of the wire: frames in through a ring that the kernel fills, frames out by send()."""

from __future__ import annotations

import mmap
import socket
import struct

__all__ = ["Ring"]

ETH_P_ALL = 3
SOL_PACKET = 263
PACKET_RX_RING, PACKET_STATISTICS, PACKET_VERSION, PACKET_IGNORE_OUTGOING = 5, 6, 10, 23
TPACKET_V2 = 1
SLOT = 2048  # bytes: a frame of 1514, the kernel's header, room to spare
BLOCK = 64 * 1024
SLOTS = 8192
# tpacket2_hdr: status, length, captured, offset of the frame, of its packet, seconds, nanoseconds
HEADER = struct.Struct("=IIIHHII")
FREE = b"\0\0\0\0"


class Ring:
    """An AF_PACKET socket on one interface (packet(7)); timestamps are the kernel's.

    The kernel writes frames to memory that we share (PACKET_MMAP), so that a frame costs no call.
    """

    def __init__(self, interface: str) -> None:
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.socket.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V2)
        blocks = SLOTS * SLOT // BLOCK
        self.socket.setsockopt(
            SOL_PACKET, PACKET_RX_RING, struct.pack("IIII", BLOCK, blocks, SLOT, SLOTS)
        )
        self.socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        # never wait for room: an end that is down takes nothing
        self.socket.setblocking(False)
        self._memory = mmap.mmap(self.socket.fileno(), SLOTS * SLOT)
        self._at = 0
        self.socket.bind((interface, ETH_P_ALL))

    def fileno(self) -> int:
        return self.socket.fileno()

    def take(self) -> tuple[int, bytes] | None:
        """Return when the next frame came (nanoseconds since 1970) and its bytes, or None."""
        at = self._at
        status, _, captured, offset, _, seconds, nanoseconds = HEADER.unpack_from(self._memory, at)
        if not status & 1:  # TP_STATUS_USER: not ours yet
            return None
        start = at + offset
        frame = self._memory[start : start + captured]
        self._memory[at : at + 4] = FREE
        self._at = at + SLOT if at + SLOT < SLOTS * SLOT else 0
        return seconds * 1_000_000_000 + nanoseconds, frame

    def send(self, frame: bytes) -> bool:
        """Put a frame on the interface; return whether it took it."""
        try:
            self.socket.send(frame)
        except OSError:
            return False
        return True

    def lost(self) -> int:
        """Return how many frames found the ring full since this was last asked."""
        counts = self.socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
        return int(struct.unpack("II", counts)[1])
