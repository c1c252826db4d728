"""Short ways to write conversations in milliseconds, and to read what is explained about them."""

from dataclasses import replace

from conversation import HOSTS, build, call, segment
from stretta.see.events import Arrival, Effect, Endpoint, Fault, Flow, Frame
from stretta.see.explain import explain
from stretta.see.packets import ACK, SYN, Packet

MS = 1_000_000
UDP = Flow("udp", Endpoint("client", "10.0.0.1", 40000), Endpoint("server", "10.0.0.2", 12000))


def notes(*events, rule=None, hosts=HOSTS):
    """Return what is said about events, or what one rule says."""
    timeline = build([e for each in events for e in each], hosts)
    found = explain(timeline)
    return [n.text for n in found if rule in (None, n.rule)]


def links(*events):
    timeline = build([e for each in events for e in each])
    return [(k.kind, timeline.events[k.source], timeline.events[k.target]) for k in timeline.links]


def frame(at, came=1, seq=1, length=0, *, payload=b"", number=-1, **kwargs):
    """Return a segment; it leaves after ``at`` ms and travels ``came`` ms, or None: it is lost."""
    arrivals = [] if came is None else [int((at + came) * MS)]
    if payload:
        length, kwargs["payload"] = len(payload), payload
    if kwargs.get("flags", 0) & SYN:
        kwargs["mss"] = 1460
    return replace(segment(int(at * MS), arrivals, seq, length, **kwargs), id=number)


def did(at, took, name, direction="", transferred=0, host="client", **kwargs):
    """Return a call that began after ``at`` ms; ``took`` None: it never returned."""
    end = None if took is None else int((at + took) * MS)
    fields = {
        "duration": 0 if took is None else int(took * MS),
        "result": None if took is None else transferred,
    }
    return call(int(at * MS), end, name, direction, transferred, host, **(fields | kwargs))


def fault(of, by, effect="lost"):
    return Fault(-1, of.at, "", Effect(effect), by, of.id)


def lost(at, by, number, effect="lost", **kwargs):
    gone = frame(at, None, number=number, **kwargs)
    return [gone, fault(gone, by, effect)]


OPENED = [
    frame(0, flags=SYN, seq=0),
    frame(1, flags=SYN | ACK, seq=0, ack=1, back=True),
    frame(2, ack=1),
]
SENDS = did(5, 0.1, "send", "out", 100)


def datagram(at, came=1, data=b"ping", *, back=False, number=-1, **fields):
    here, there = UDP.initiator, UDP.responder
    if back:
        here, there = there, here
    packet = Packet(
        "udp", 42 + len(data), here.address, there.address, here.port, there.port, data, len(data),
        **fields,
    )  # fmt: skip
    arrivals = () if came is None else (Arrival(int((at + came) * MS)),)
    return Frame(number, int(at * MS), here.host, packet=packet, arrivals=arrivals)


def asked(at, took, name, direction="", transferred=0, host="client", **kwargs):
    fields = {"flow": UDP, "protocol": "udp", "socket": 1, **kwargs}
    return did(at, took, name, direction, transferred, host, **fields)


def rules(*events, hosts=HOSTS):
    return [note.rule for note in explain(build([e for each in events for e in each], hosts))]
