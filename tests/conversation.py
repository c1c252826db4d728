"""A TCP conversation for tests, event by event."""

from stretta.see.events import Arrival, Call, Flow, Frame
from stretta.see.packets import ACK, SYN, Packet

FLOW = Flow("tcp", ("10.0.0.1", 40000), ("10.0.0.2", 12000))


def segment(at, arrivals, seq, length=0, *, flags=ACK, back=False, ack=0, isn=2**32 - 5000):
    """Return a frame; the initial sequence number makes the real ones wrap."""
    client, server = FLOW.client, FLOW.server
    here, there = (server, client) if back else (client, server)
    packet = Packet(
        "tcp", 54 + length, here[0], there[0], here[1], there[1], b"x" * min(length, 9), length,
        flags=flags, seq=(seq + isn) % 2**32, ack=(ack + isn) % 2**32, window=65535,
    )  # fmt: skip
    return Frame(
        -1,
        at,
        "server" if back else "client",
        packet=packet,
        arrivals=[Arrival(a) for a in arrivals],
    )


def call(at, end, name, direction, transferred, host="client"):
    return Call(
        -1, at, host, end=end, name=name, direction=direction, transferred=transferred,
        result=transferred, protocol="tcp",
        flow=FLOW, thread=1, process=1, display=f"{name}()",
    )  # fmt: skip


HANDSHAKE = [
    segment(10, [20], 0, flags=SYN),
    segment(30, [40], 0, flags=SYN | ACK, back=True, ack=1),
    segment(50, [60], 1, ack=1),
]
