"""Captures packets on all interfaces of this machine, if this user may (packet(7))."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time

__all__ = ["PacketCapture"]

ETH_P_ALL = 3
SOL_PACKET = 263
PACKET_STATISTICS = 6
SO_RCVBUFFORCE = 33
SO_TIMESTAMPNS = 35
BUFFER = 64 * 1024 * 1024
PACKET_OUTGOING = 4


class PacketCapture:
    """A packet socket on every interface; ``allowed`` is False if this user may not open one.

    ``frames`` collects times (nanoseconds since 1970) and frames, whose MAC addresses are 0.
    """

    def __init__(self) -> None:
        self.frames: list[tuple[int, bytes]] = []
        self._socket: socket.socket | None = None
        try:
            # SOCK_DGRAM: without link headers, which differ between kinds of interfaces
            self._socket = socket.socket(
                socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL)
            )
        except (OSError, AttributeError):
            return
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        for option in (SO_RCVBUFFORCE, socket.SO_RCVBUF):  # the first exceeds the system's limit
            with contextlib.suppress(PermissionError):
                self._socket.setsockopt(socket.SOL_SOCKET, option, BUFFER)
                break
        self._socket.setblocking(False)

    @property
    def allowed(self) -> bool:
        """Whether packets are captured."""
        return self._socket is not None

    def wait(self, seconds: float) -> None:
        """Wait for packets for at most so long, and take all that have come."""
        if self._socket is None:
            time.sleep(seconds)
            return
        if not select.select([self._socket], [], [], seconds)[0]:
            return
        while True:
            try:
                data, ancillary, _, address = self._socket.recvmsg(65536, 64)
            except BlockingIOError:
                return
            interface, protocol, kind = address[:3]
            if kind == PACKET_OUTGOING and interface == "lo":
                continue  # the loopback interface delivers it again, as received
            at = time.time_ns()
            for _, number, value in ancillary:
                if number == SO_TIMESTAMPNS and len(value) == 16:
                    whole, nanoseconds = struct.unpack("qq", value)
                    at = whole * 1_000_000_000 + nanoseconds
            ethernet = bytes(12) + int(protocol).to_bytes(2, "big")
            self.frames.append((at, ethernet + data))

    def close(self) -> int:
        """Close the socket, and return how many packets of this machine did not fit its buffer."""
        sock, self._socket = self._socket, None
        if sock is None:
            return 0
        with sock:
            counts = sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
        return int(struct.unpack("II", counts)[1])
