"""The wire between ports that are lists."""

import io
from collections import deque

import pytest

from segments import tcp
from stretta.lab.faults import FaultInjector
from stretta.lab.topology import TWO_HOSTS, in_a_row, on_one_link
from stretta.lab.wire import Wire
from stretta.lab.wire_log import read_wire_log
from stretta.options import WireOptions
from stretta.see.hosts import Role

THREE = on_one_link(("a", Role.CLIENT), ("b", Role.CLIENT), ("c", Role.SERVER))
ROW = in_a_row(("a", Role.CLIENT), ("b", Role.PROXY), ("c", Role.SERVER))


class Port:
    """A port whose frames come from a list, and go to one."""

    def __init__(self, *, up=True):
        self.incoming, self.sent, self.up = deque(), [], up

    def receive(self):
        return self.incoming.popleft() if self.incoming else None

    def send(self, frame):
        if self.up:
            self.sent.append(frame)
        return self.up


def frame_to(topology, port, data=b"ciao"):
    """Return a frame to the interface at a port, or to all."""
    hardware = "ff:ff:ff:ff:ff:ff"
    if port is not None:
        hardware = topology.interface(topology.endpoints[port]).hardware
    return bytes.fromhex(hardware.replace(":", "")) + tcp(data=data)[6:]


def run(topology, frames, options=None, down=()):
    """Forward (port, frame) pairs; return what each port got, the wire, and its log."""
    ports = [Port(up=n not in down) for n in range(len(topology.endpoints))]
    log = io.BytesIO()
    wire = Wire(topology, ports, FaultInjector(options or WireOptions(), 1, 0, topology), log)
    for at, (port, frame) in enumerate(frames):
        ports[port].incoming.append((at, frame))
    wire.forward()
    return [port.sent for port in ports], wire, read_wire_log(log.getvalue(), 0, topology)


def test_two_ports_get_each_others_frames_whatever_their_address():
    frame = frame_to(TWO_HOSTS, None)
    got, wire, log = run(TWO_HOSTS, [(0, frame), (1, frame)])
    assert got == [[frame], [frame]]
    assert [(f.host, len(f.arrivals)) for f in log.frames] == [("client", 1), ("server", 1)]
    assert wire.lost == 0


def test_a_link_of_three_forwards_by_address_as_a_switch():
    to_b, to_all = frame_to(THREE, 1), frame_to(THREE, None)
    got, _, log = run(THREE, [(0, to_b), (2, to_all)])
    assert got == [[to_all], [to_b, to_all], []]
    assert [(f.host, len(f.arrivals)) for f in log.frames] == [("a", 1), ("c", 2)]


def test_links_are_separate():
    got, _, _ = run(ROW, [(0, frame_to(ROW, None)), (2, frame_to(ROW, 3))])
    assert [len(frames) for frames in got] == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("options", "lost"),
    [
        (WireOptions(drop=("a>c data",)), {"a"}),
        (WireOptions(drop=("data:2",)), {"b"}),
        (WireOptions(drop=("c>a data",)), set()),
        (WireOptions(loss=("b>c 100%",)), {"b"}),
        (WireOptions(cut=("a>c 0s",)), {"a"}),
    ],
)
def test_faults_hit_one_direction_of_many(options, lost):
    to_c = frame_to(THREE, 2)
    _, _, log = run(THREE, [(0, to_c), (1, to_c)], options)
    assert {f.host for f in log.frames if not f.arrivals} == lost
    assert len(log.faults) == len(lost)


def test_a_reset_reaches_both_ends_and_no_third_host():
    got, _, log = run(THREE, [(0, frame_to(THREE, 2))], WireOptions(rst=("data:1",)))
    assert [len(frames) for frames in got] == [1, 0, 1]
    assert [(f.host, f.forged) for f in log.frames] == [("a", False), ("a", True), ("c", True)]


@pytest.mark.parametrize("options", [None, WireOptions(delay=("0ms",), drop=("syn",))])
def test_frames_that_a_port_does_not_take_are_counted(options):
    frame = frame_to(TWO_HOSTS, 1)
    _, wire, log = run(TWO_HOSTS, [(0, frame), (0, frame)], options, down=(1,))
    assert wire.lost == 2
    assert [f.arrivals for f in log.frames] == [(), ()]


def test_a_busy_port_leaves_the_others_their_share():
    frame = frame_to(TWO_HOSTS, None)
    ports = [Port(), Port()]
    wire = Wire(TWO_HOSTS, ports, FaultInjector(WireOptions(), 1, 0), io.BytesIO())
    ports[0].incoming.extend((n, frame) for n in range(1000))
    ports[1].incoming.append((0, frame))
    assert wire.forward() is True
    assert len(ports[1].sent) < 1000
    assert len(ports[0].sent) == 1
    while wire.forward():
        pass
    assert len(ports[1].sent) == 1000
