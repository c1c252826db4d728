"""A TCP conversation for tests, event by event."""

from stretta.see import timeline
from stretta.see.events import Arrival, Call, Direction, Endpoint, Flow, Frame
from stretta.see.hosts import Host, Interface, Role
from stretta.see.packets import ACK, SYN, Packet

HOSTS = (
    Host("client", Role.CLIENT, (Interface("eth0", ("10.0.0.1", "fd00::1")),)),
    Host("server", Role.SERVER, (Interface("eth0", ("10.0.0.2", "fd00::2")),)),
)
TRACED = (
    Host("client", Role.LOCAL, (Interface("any", ("10.0.0.1",)),)),
    Host("server", Role.OUTSIDE),
)
FLOW = Flow("tcp", Endpoint("client", "10.0.0.1", 40000), Endpoint("server", "10.0.0.2", 12000))


def build(events, hosts=HOSTS, **kwargs):
    """Return the timeline of events between the two hosts."""
    return timeline.build(events, hosts, **kwargs)


def segment(at, arrivals, seq, length=0, *, flags=ACK, back=False, ack=0, isn=2**32 - 5000, **kw):
    """Return a frame; the initial sequence number makes the real ones wrap."""
    here, there = FLOW.initiator, FLOW.responder
    if back:
        here, there = there, here
    packet = Packet(
        "tcp", 54 + length, here.address, there.address, here.port, there.port,
        kw.pop("payload", b"x" * min(length, 9)), length, flags=flags,
        seq=(seq + isn) % 2**32, ack=(ack + isn) % 2**32, window=kw.pop("window", 65535), **kw,
    )  # fmt: skip
    return Frame(-1, at, here.host, packet=packet, arrivals=tuple(Arrival(a) for a in arrivals))


def call(at, end, name, direction="", transferred=0, host="client", **fields):
    """Return a call on the conversation's socket; ``end`` None: it never returned."""
    known = {
        "end": end, "name": name, "direction": Direction(direction), "transferred": transferred,
        "result": transferred, "protocol": "tcp", "flow": FLOW, "thread": 1, "process": 1,
        "display": f"{name}()",
    }  # fmt: skip
    return Call(-1, at, host, **(known | fields))


HANDSHAKE = [
    segment(10, [20], 0, flags=SYN),
    segment(30, [40], 0, flags=SYN | ACK, back=True, ack=1),
    segment(50, [60], 1, ack=1),
]
