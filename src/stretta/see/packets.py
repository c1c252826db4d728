"""Ethernet frames as values: ARP, IPv4, IPv6, ICMP, UDP, TCP. Pure; malformed frames are named so.

Sources: RFC 826 (ARP), 791 (IPv4), 8200 (IPv6), 792 and 4443 (ICMP), 768 (UDP), 9293 (TCP), 7323
(window scale, timestamps), 2018 (SACK).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Any

__all__ = [
    "Packet",
    "TlsRecord",
    "checksum_is_good",
    "decode",
    "describe_payload",
    "http_line",
    "tls_records",
    "transport_checksum",
]

ETHERNET = 14
"""Bytes before the packet: two MAC addresses and a type."""

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = (1 << bit for bit in range(8))
FLAGS = ((SYN, "SYN"), (FIN, "FIN"), (RST, "RST"), (PSH, "PSH"), (ACK, "ACK"), (URG, "URG"))

ICMP_WORDS = {
    (3, 0): "network unreachable",
    (3, 1): "host unreachable",
    (3, 3): "port unreachable",
    (3, 4): "fragmentation needed",
    (8, 0): "echo request",
    (0, 0): "echo reply",
    (11, 0): "time to live exceeded",
    (11, 1): "reassembly time exceeded",
}
ICMPV6_WORDS = {
    (1, 0): "no route",
    (1, 3): "address unreachable",
    (1, 4): "port unreachable",
    (2, 0): "packet too big",
    (3, 0): "hop limit exceeded",
    (3, 1): "reassembly time exceeded",
    (128, 0): "echo request",
    (129, 0): "echo reply",
}
EXTENSIONS = {0, 43, 60}  # hop-by-hop options, routing, destination options
NEIGHBOURS = range(130, 144)  # ICMPv6 that keeps house: listeners (MLD) and neighbours (RFC 4861)


@dataclass(frozen=True, slots=True)
class Packet:
    """What one frame carries; the fields of protocols that it does not carry are empty.

    ``protocol`` is arp, icmp, udp, tcp, fragment (all but the first one of a datagram), or other.
    ``size`` is the frame's length in bytes, ``payload`` the transport's (a timeline keeps only its
    beginning), and ``length`` how long that is. Sequence numbers are the
    raw ones.
    """

    protocol: str
    size: int
    source: str = ""
    target: str = ""
    source_port: int = 0
    target_port: int = 0
    payload: bytes = b""
    length: int = 0
    identity: int = 0  # of the IP datagram, by which its fragments are joined
    offset: int = 0  # of this fragment, in bytes
    more: bool = False  # fragments follow
    flags: int = 0
    seq: int = 0
    ack: int = 0
    window: int = 0
    mss: int = 0
    scale: int | None = None
    sack_ok: bool = False
    sacks: tuple[tuple[int, int], ...] = ()
    timestamps: tuple[int, int] | None = None
    icmp: tuple[int, int] = (0, 0)
    words: str = ""
    inner: Packet | None = None  # the packet that an ICMP error is about

    @property
    def is_housekeeping(self) -> bool:
        """Whether it serves the link itself (ARP, neighbour discovery), not a conversation."""
        return self.protocol == "arp" or (self.protocol == "icmp6" and self.icmp[0] in NEIGHBOURS)

    @property
    def flag_names(self) -> str:
        """The TCP flags by name, SYN first; PSH is omitted."""
        return " ".join(name for bit, name in FLAGS if self.flags & bit and bit != PSH)

    @property
    def span(self) -> int:
        """How many sequence numbers it takes: its payload, and one each for SYN and FIN."""
        return self.length + bool(self.flags & SYN) + bool(self.flags & FIN)


def decode(frame: bytes) -> Packet:
    """Return what an Ethernet frame carries; one that cannot be read is ``other``."""
    try:
        kind = int.from_bytes(frame[12:14], "big")
        if kind == 0x0800:
            return _ipv4(frame)
        if kind == 0x86DD:
            return _ipv6(frame)
        if kind == 0x0806:
            operation = int.from_bytes(frame[20:22], "big")
            who, whom = _written(frame[28:32]), _written(frame[38:42])
            words = f"who has {whom}?" if operation == 1 else f"{who} is here"
            return Packet("arp", len(frame), who, whom, words=words)
    except (struct.error, IndexError, ValueError):
        return Packet("other", len(frame), words="a frame that is cut short")
    return Packet("other", len(frame), words=f"EtherType 0x{kind:04x}")


@lru_cache(256)
def _written(raw: bytes) -> str:
    """Return an address of 4 or 16 bytes as text (RFC 5952)."""
    return str(IPv4Address(raw) if len(raw) == 4 else IPv6Address(raw))


def _ipv4(frame: bytes) -> Packet:
    head, _, total, identity, bits, _, protocol = struct.unpack_from("!BBHHHBB", frame, ETHERNET)
    source = _written(frame[ETHERNET + 12 : ETHERNET + 16])
    target = _written(frame[ETHERNET + 16 : ETHERNET + 20])
    start = ETHERNET + (head & 15) * 4
    body = frame[start : ETHERNET + total]
    offset = (bits & 0x1FFF) * 8
    base = Packet(
        "other", len(frame), source, target,
        identity=identity, offset=offset, more=bool(bits & 0x2000), words=f"IP protocol {protocol}",
    )  # fmt: skip
    return _transport(base, protocol, body)


def _ipv6(frame: bytes) -> Packet:
    length, protocol = struct.unpack_from("!HB", frame, ETHERNET + 4)
    source = _written(frame[ETHERNET + 8 : ETHERNET + 24])
    target = _written(frame[ETHERNET + 24 : ETHERNET + 40])
    start = ETHERNET + 40
    end = start + length
    identity, offset, more = 0, 0, False
    while protocol in EXTENSIONS or protocol == 44:
        following = frame[start]
        if protocol == 44:  # a fragment (RFC 8200 section 4.5)
            bits, identity = struct.unpack_from("!HI", frame, start + 2)
            offset, more = bits & 0xFFF8, bool(bits & 1)
            start += 8
        else:
            start += (frame[start + 1] + 1) * 8
        protocol = following
    base = Packet(
        "other", len(frame), source, target,
        identity=identity, offset=offset, more=more, words=f"IP protocol {protocol}",
    )  # fmt: skip
    return _transport(base, protocol, frame[start:end])


def _transport(base: Packet, protocol: int, body: bytes) -> Packet:
    if base.offset:
        return replace(base, protocol="fragment", payload=body, length=len(body), words="")
    if protocol == 6:
        return _tcp(base, body)
    if protocol == 17:
        source, target = struct.unpack_from("!HH", body)
        return replace(
            base, protocol="udp", source_port=source, target_port=target, words="",
            payload=body[8:], length=len(body) - 8,
        )  # fmt: skip
    if protocol in (1, 58):
        return _icmp(base, protocol, body)
    return base


def _tcp(base: Packet, body: bytes) -> Packet:
    source, target, seq, ack, head, flags, window = struct.unpack_from("!HHIIBBH", body)
    start = (head >> 4) * 4
    fields: dict[str, Any] = {}
    if start > 20:
        _tcp_options(body[20:start], fields)
    payload = body[start:]
    packet = Packet(
        "tcp", base.size, base.source, base.target, source, target, payload, len(payload),
        identity=base.identity, flags=flags, seq=seq, ack=ack, window=window,
    )  # fmt: skip
    return replace(packet, **fields) if fields else packet


def _tcp_options(options: bytes, fields: dict[str, Any]) -> None:
    at = 0
    while at < len(options) and options[at] != 0:
        kind = options[at]
        if kind == 1:
            at += 1
            continue
        length = options[at + 1]
        if length < 2:
            return
        value = options[at + 2 : at + length]
        if kind == 2 and length == 4:
            fields["mss"] = int.from_bytes(value, "big")
        elif kind == 3 and length == 3:
            fields["scale"] = value[0]
        elif kind == 4:
            fields["sack_ok"] = True
        elif kind == 5:
            edges = struct.unpack(f"!{len(value) // 4}I", value[: len(value) // 8 * 8])
            fields["sacks"] = tuple(zip(edges[::2], edges[1::2], strict=True))
        elif kind == 8 and length == 10:
            fields["timestamps"] = struct.unpack("!II", value)
        at += length


def _icmp(base: Packet, protocol: int, body: bytes) -> Packet:
    kind = (body[0], body[1])
    words = (ICMP_WORDS if protocol == 1 else ICMPV6_WORDS).get(kind, f"type {kind[0]}")
    error = body[0] in (3, 11, 12) if protocol == 1 else body[0] < 128
    inner = None
    if error:  # the packet complained about follows, cut short
        ether = b"\0" * 12 + (b"\x08\x00" if protocol == 1 else b"\x86\xdd")
        inner = decode(ether + body[8:])
    return replace(
        base,
        protocol="icmp" if protocol == 1 else "icmp6",
        icmp=kind,
        words=words,
        payload=b"" if error else body[8:],
        inner=inner,
    )


def transport_checksum(source: bytes, target: bytes, protocol: int, body: bytes) -> int:
    """Return the Internet checksum of a TCP or UDP body with its pseudo-header (RFC 1071).

    Over a body whose own checksum is right the result is 0.
    """
    pseudo = source + target + struct.pack("!II", len(body), protocol)
    data = pseudo + body + b"\0" * (len(body) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def checksum_is_good(frame: bytes) -> bool:
    """Return whether a frame's TCP or UDP checksum is right; True for packets without one."""
    packet = decode(frame)
    if packet.protocol not in ("tcp", "udp") or packet.more:
        return True
    protocol = 6 if packet.protocol == "tcp" else 17
    if frame[12:14] == b"\x08\x00":
        start = ETHERNET + (frame[ETHERNET] & 15) * 4
        end = ETHERNET + int.from_bytes(frame[16:18], "big")
        addresses = frame[26:30], frame[30:34]
    else:
        start, end = ETHERNET + 40, ETHERNET + 40 + int.from_bytes(frame[18:20], "big")
        addresses = frame[22:38], frame[38:54]
    return transport_checksum(*addresses, protocol, frame[start:end]) == 0


HTTP_METHODS = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"TRACE ")


class TlsRecord(StrEnum):
    """The kinds of TLS records, with the handshake messages (RFC 8446 sections 4 and 5.1)."""

    CHANGE_CIPHER_SPEC = "change cipher spec"
    ALERT = "alert"
    HANDSHAKE = "handshake"
    APPLICATION_DATA = "application data"
    CLIENT_HELLO = "ClientHello"
    SERVER_HELLO = "ServerHello"
    NEW_SESSION_TICKET = "NewSessionTicket"
    CERTIFICATE = "Certificate"


TLS_TYPES = {
    20: TlsRecord.CHANGE_CIPHER_SPEC,
    21: TlsRecord.ALERT,
    22: TlsRecord.HANDSHAKE,
    23: TlsRecord.APPLICATION_DATA,
}
TLS_HANDSHAKES = {
    1: TlsRecord.CLIENT_HELLO,
    2: TlsRecord.SERVER_HELLO,
    4: TlsRecord.NEW_SESSION_TICKET,
    11: TlsRecord.CERTIFICATE,
}


def http_line(payload: bytes) -> str:
    r"""Return the HTTP request or status line that a payload begins with, or "".

    >>> http_line(b"GET /a HTTP/1.1\r\nHost: b\r\n\r\n")
    'GET /a HTTP/1.1'
    """
    if payload.startswith((*HTTP_METHODS, b"HTTP/1.")):
        line = payload.partition(b"\r\n")[0]
        if line.startswith(b"HTTP/1.") or b" HTTP/1." in line:
            return line.decode("latin-1")
    return ""


def tls_records(payload: bytes) -> list[TlsRecord]:
    """Return the kinds of the TLS records that a payload begins with.

    >>> tls_records(bytes.fromhex("160301000501000001 00"))
    [<TlsRecord.CLIENT_HELLO: 'ClientHello'>]
    """
    records: list[TlsRecord] = []
    at = 0
    while len(payload) - at >= 5:
        kind = TLS_TYPES.get(payload[at])
        if kind is None or payload[at + 1] != 3 or payload[at + 2] > 4:
            break
        if kind is TlsRecord.HANDSHAKE and len(payload) - at > 5:
            kind = TLS_HANDSHAKES.get(payload[at + 5], kind)
        records.append(kind)
        at += 5 + int.from_bytes(payload[at + 3 : at + 5], "big")
    return records


def describe_payload(payload: bytes) -> str:
    """Name the HTTP line or the TLS records that a payload begins with, or return ""."""
    if line := http_line(payload):
        return line
    records = tls_records(payload)
    return f"TLS {', '.join(records)}" if records else ""
