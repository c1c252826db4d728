"""Frames that the wire makes or spoils itself: a middlebox's RST, a wrong bit."""

from __future__ import annotations

import struct

from stretta.see.packets import ACK, ETHERNET, RST, SYN, Packet, transport_checksum

__all__ = ["forge_resets", "with_one_bit_wrong"]


def forge_resets(frame: bytes, packet: Packet, direction: int) -> list[tuple[int, bytes]]:
    """Return the RST segments that tear down the connection of a segment, with their directions.

    Each has the sequence number that its receiver expects next, else it would only be challenged
    (RFC 5961 section 3.2). A SYN is answered, and not passed on.
    """
    if packet.flags & SYN and not packet.flags & ACK:
        answer = _reset(frame, packet, back=True, seq=0, ack=(packet.seq + 1) % 2**32)
        return [(1 - direction, answer)]
    return [
        (direction, _reset(frame, packet, back=False, seq=packet.seq, ack=packet.ack)),
        (1 - direction, _reset(frame, packet, back=True, seq=packet.ack, ack=0)),
    ]


def _reset(frame: bytes, packet: Packet, *, back: bool, seq: int, ack: int) -> bytes:
    ipv4 = frame[12:14] == b"\x08\x00"
    at = ETHERNET + (12 if ipv4 else 8)
    size = 4 if ipv4 else 16
    source, target = frame[at : at + size], frame[at + size : at + 2 * size]
    macs = frame[6:12] + frame[:6] if back else frame[:12]
    ports = packet.source_port, packet.target_port
    if back:
        source, target, ports = target, source, ports[::-1]
    flags = RST | (ACK if ack or not back else 0)
    body = struct.pack("!HHIIBBHHH", *ports, seq, ack, 5 << 4, flags, 0, 0, 0)
    checksum = transport_checksum(source, target, 6, body)
    body = body[:16] + checksum.to_bytes(2, "big") + body[18:]
    if ipv4:
        head = struct.pack("!BBHHHBBH", 0x45, 0, 40, 0, 0x4000, 64, 6, 0) + source + target
        total = sum(struct.unpack("!10H", head))
        total = (total & 0xFFFF) + (total >> 16)
        head = head[:10] + (~(total + (total >> 16)) & 0xFFFF).to_bytes(2, "big") + head[12:]
    else:
        head = struct.pack("!IHBB", 6 << 28, 20, 6, 64) + source + target
    return macs + frame[12:14] + head + body


def with_one_bit_wrong(frame: bytes, where: float) -> bytes:
    """Return the frame with one bit flipped behind its IP header; ``where`` is from 0 to 1.

    The ports are left alone: the receiver's kernel finds the checksum wrong, and nothing else.
    """
    start = ETHERNET + ((frame[ETHERNET] & 15) * 4 if frame[12:14] == b"\x08\x00" else 40) + 4
    if start >= len(frame):
        return frame
    bit = int(where * (len(frame) - start) * 8)
    spoiled = bytearray(frame)
    spoiled[start + bit // 8] ^= 1 << bit % 8
    return bytes(spoiled)
