"""Frames that the wire forges or damages: RST segments of a middlebox, flipped bits. Pure."""

from __future__ import annotations

import struct

from stretta.see.packets import ACK, ETHERNET, RST, SYN, Packet, transport_checksum

__all__ = ["flip_one_bit", "forge_resets"]


def forge_resets(frame: bytes, packet: Packet) -> list[tuple[bool, bytes]]:
    """Return the RST segments that tear down a segment's connection, and whether each goes back.

    Each has the sequence number that its receiver expects next; the receiver would only challenge
    any other (RFC 5961 section 3.2). A SYN gets one RST, back to its sender.
    """
    if packet.flags & SYN and not packet.flags & ACK:
        answer = _reset(frame, packet, back=True, seq=0, ack=(packet.seq + 1) % 2**32)
        return [(True, answer)]
    return [
        (False, _reset(frame, packet, back=False, seq=packet.seq, ack=packet.ack)),
        (True, _reset(frame, packet, back=True, seq=packet.ack, ack=0)),
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


def flip_one_bit(frame: bytes, where: float) -> bytes:
    """Return the frame with one bit flipped after its ports; ``where`` selects it, from 0 to 1.

    Addresses and ports stay intact, so the receiver's kernel finds the wrong checksum.
    """
    start = ETHERNET + ((frame[ETHERNET] & 15) * 4 if frame[12:14] == b"\x08\x00" else 40) + 4
    if start >= len(frame):
        return frame
    bit = int(where * (len(frame) - start) * 8)
    damaged = bytearray(frame)
    damaged[start + bit // 8] ^= 1 << bit % 8
    return bytes(damaged)
