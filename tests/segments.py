"""Frames for tests, made by hand as the kernel would send them."""

import struct

from stretta.see.packets import ACK, transport_checksum

CLIENT, SERVER = b"\x0a\0\0\x01", b"\x0a\0\0\x02"
PORTS = 40000, 12000


def tcp(seq=0, ack=0, flags=ACK, data=b"", *, back=False):
    """Return an Ethernet frame with a TCP segment from client to server, or back."""
    ports = PORTS[::-1] if back else PORTS
    ends = (SERVER, CLIENT) if back else (CLIENT, SERVER)
    body = struct.pack("!HHIIBBHHH", *ports, seq, ack, 5 << 4, flags, 65535, 0, 0) + data
    checksum = transport_checksum(*ends, 6, body)
    return ip(6, body[:16] + checksum.to_bytes(2, "big") + body[18:], ends)


def udp(data=b"", *, back=False):
    """Return an Ethernet frame with a UDP datagram from client to server, or back."""
    ports = PORTS[::-1] if back else PORTS
    ends = (SERVER, CLIENT) if back else (CLIENT, SERVER)
    return ip(17, struct.pack("!HHHH", *ports, 8 + len(data), 0) + data, ends)


def ip(protocol, body, ends):
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 7, 0x4000, 64, protocol, 0)
    return b"\x02" * 12 + b"\x08\x00" + head + ends[0] + ends[1] + body


ARP = b"\xff" * 6 + b"\x02" * 6 + b"\x08\x06" + bytes.fromhex("0001080006040001") + bytes(20)
