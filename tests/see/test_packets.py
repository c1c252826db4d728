import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from segments import ARP, ip, tcp, udp
from stretta.see.packets import ACK, SYN, checksum_is_good, decode, describe_payload

ENDS = b"\x0a\0\0\x01", b"\x0a\0\0\x02"


def test_tcp():
    packet = decode(tcp(seq=5, ack=7, flags=SYN | ACK, data=b"ciao", back=True))
    assert (packet.protocol, packet.source, packet.source_port) == ("tcp", "10.0.0.2", 12000)
    assert (packet.seq, packet.ack, packet.payload, packet.length) == (5, 7, b"ciao", 4)
    assert (packet.flag_names, packet.span) == ("SYN ACK", 5)


def test_tcp_options():
    options = bytes.fromhex("020405b4 0402 080a 00000001 00000002 01 030307")
    sack = bytes.fromhex("0101 050a 00000064 000000c8")
    for raw in (options, sack):
        body = struct.pack("!HHIIBBHHH", 1, 2, 0, 0, (5 + len(raw) // 4) << 4, SYN, 9, 0, 0) + raw
        packet = decode(ip(6, body, ENDS))
        if raw is options:
            assert (packet.mss, packet.scale, packet.sack_ok) == (1460, 7, True)
            assert packet.timestamps == (1, 2)
        else:
            assert packet.sacks == ((100, 200),)


def test_udp_arp_and_ipv6():
    assert decode(udp(b"ciao")).payload == b"ciao"
    assert decode(ARP).is_housekeeping
    addresses = bytes(15) + b"\x01" + bytes(15) + b"\x02"
    six = b"\0" * 12 + b"\x86\xdd" + struct.pack("!IHBB", 6 << 28, 10, 17, 64) + addresses
    packet = decode(six + struct.pack("!HHHH", 1, 2, 10, 0) + b"hi")
    assert (packet.protocol, packet.source, packet.target, packet.payload) == (
        "udp", "::1", "::2", b"hi",
    )  # fmt: skip


def test_icmp_error_names_what_it_is_about():
    packet = decode(ip(1, bytes([3, 3, 0, 0, 0, 0, 0, 0]) + udp(b"ciao")[14:], ENDS))
    assert packet.words == "port unreachable"
    assert (packet.inner.protocol, packet.inner.target_port) == ("udp", 12000)


def test_fragments():
    whole = udp(b"x" * 32)
    first = whole[:20] + (0x2000).to_bytes(2, "big") + whole[22:]
    later = whole[:20] + (3).to_bytes(2, "big") + whole[22:]
    assert decode(first).more
    assert (decode(later).protocol, decode(later).offset) == ("fragment", 24)


@given(
    st.binary(max_size=80), st.sampled_from([b"\x08\x00", b"\x86\xdd", b"\x08\x06", b"\x00\x00"])
)
def test_any_bytes_decode_to_a_packet(data, kind):
    packet = decode(bytes(12) + kind + data)
    assert packet.size == 14 + len(data)


@given(st.binary(max_size=60))
@settings(deadline=None)
def test_checksum(data):
    assert checksum_is_good(tcp(seq=1, data=data))


def test_payloads():
    assert describe_payload(b"HTTP/1.1 404 Not Found\r\n\r\n") == "HTTP/1.1 404 Not Found"
    assert describe_payload(b"GET nothing") == ""
    assert describe_payload(bytes.fromhex("1703030002aaaa1503030002")) == (
        "TLS application data, alert"
    )
