"""Calls and frames get their conversations, and each conversation the end that began it."""

from dataclasses import replace

import pytest

from conversation import FLOW, HANDSHAKE, HOSTS, TRACED, build, call, segment
from stretta.see.events import Arrival, Call, Direction, Endpoint, Flow, Frame
from stretta.see.hosts import Host, HostTable, Interface, Role
from stretta.see.packets import ACK, SYN, Packet

UDP = Flow("udp", Endpoint("client", "10.0.0.1", 40000), Endpoint("server", "10.0.0.2", 12000))
BACK = Flow("udp", UDP.responder, UDP.initiator)


def datagram(at, size=4, arrived=1, *, port=40000, back=False, **fields):
    here, there = ("10.0.0.1", port), ("10.0.0.2", 12000)
    if back:
        here, there = there, here
    packet = Packet("udp", 42 + size, here[0], there[0], here[1], there[1], b"", size, **fields)
    arrivals = () if arrived is None else (Arrival(at + arrived),)
    return Frame(-1, at, "server" if back else "client", packet=packet, arrivals=arrivals)


def udp(at, end, name, direction="", size=0, host="client", **fields):
    known = {"flow": None, "protocol": "udp", "socket": 1}
    return call(at, end, name, direction, size, host, **(known | fields))


def flows(*events, kind=Call, hosts=HOSTS):
    return [e.flow for e in build(events, hosts).events if isinstance(e, kind)]


# who began


@pytest.mark.parametrize(
    ("events", "initiator"),
    [
        ([segment(5, [6], 1, back=True, ack=1), segment(7, [8], 1, ack=1)], "server"),
        ([segment(5, [6], 1, back=True, ack=1), segment(7, [8], 0, flags=SYN)], "client"),
        ([segment(5, [6], 0, flags=SYN | ACK, back=True), segment(7, [8], 0, flags=SYN)], "client"),
        ([segment(5, [6], 1, back=True, ack=1), call(9, 10, "connect")], "client"),
        ([call(3, 4, "recv", "in", host="server"), segment(5, [6], 1, ack=1)], "client"),
        ([call(3, 4, "recv", "in", host="server"), call(5, 6, "recv", "in")], "server"),
        ([call(3, 4, "accept", host="server"), segment(5, [6], 1, back=True, ack=1)], "client"),
        ([call(3, 4, "accept"), call(2, 9, "recv", "in")], "server"),
        ([call(5, 6, "connect"), call(3, 4, "connect", host="server")], "server"),
        ([replace(segment(1, [2], 1, back=True), forged=True), segment(7, [8], 1)], "client"),
    ],
)
def test_the_initiator_of_a_connection(events, initiator):
    assert {flow.initiator.host for flow in flows(*events, kind=(Call, Frame))} == {initiator}


def test_the_initiator_of_datagrams_sent_the_first_one():
    assert flows(datagram(5, back=True), datagram(1), kind=Frame) == [UDP, UDP]
    assert flows(datagram(5), datagram(1, back=True), kind=Frame) == [BACK, BACK]
    waits = udp(1, 9, "recv", "in", 4, "server", flow=UDP)
    assert flows(waits, udp(5, 6, "send", "out", 4, flow=UDP)) == [UDP, UDP]
    assert flows(waits, udp(5, 6, "recv", "in", 4, flow=UDP)) == [BACK, BACK]


def test_a_poll_names_the_conversation_as_its_other_calls_do():
    backwards = Flow("tcp", FLOW.responder, FLOW.initiator)
    poll = call(70, 90, "poll", flow=None, ready=(backwards,))
    (seen,) = (e for e in build([*HANDSHAKE, poll]).events if isinstance(e, Call))
    assert seen.ready == (FLOW,)


# calls whose ends strace did not show


def test_a_refused_connect_has_the_port_of_its_syn():
    lost = [call(1, 9, "socket", flow=None, socket=7), call(10, 30, "connect", flow=None, socket=7,
            peer=("10.0.0.2", 12000)), call(40, 41, "close", flow=None, socket=7)]  # fmt: skip
    syn = segment(20, [25], 0, flags=SYN)
    assert flows(*lost, syn) == [FLOW] * 3
    assert flows(*lost, replace(syn, at=31)) == [None] * 3
    assert flows(*lost, replace(syn, at=9)) == [None] * 3
    assert flows(*lost, replace(syn, host="server")) == [None] * 3
    assert flows(*lost, call(5, 6, "connect"), syn) == [None, FLOW, None, None]  # it is another's
    other = replace(lost[1], peer=("10.0.0.2", 9))
    assert flows(lost[0], other, syn) == [None] * 2
    assert flows(*lost[:2], replace(lost[2], socket=8), syn) == [FLOW, FLOW, None]
    assert flows(*lost[:2], replace(lost[2], host="server"), syn) == [FLOW, FLOW, None]


def test_two_refused_connects_have_a_port_each():
    def refused(at, number):
        return call(at, at + 10, "connect", flow=None, socket=number, peer=("10.0.0.2", 12000))

    first, second = segment(2, [], 0, flags=SYN), segment(4, [], 0, flags=SYN)
    second = replace(second, packet=replace(second.packet, source_port=40001))
    found = flows(refused(1, 1), refused(1, 2), first, second)
    assert [flow.initiator.port for flow in found] == [40000, 40001]


def test_a_datagram_names_the_send_and_not_the_sends_to_others():
    one = udp(1, 9, "sendto", "out", 4, peer=("10.0.0.2", 12000))
    two = udp(11, 19, "sendto", "out", 4, peer=("10.0.0.3", 12000))
    quiet = udp(21, 22, "bind")
    assert flows(one, two, quiet, datagram(5)) == [UDP, None, UDP]
    assert flows(replace(one, direction=Direction.IN), datagram(5)) == [None]
    assert flows(replace(one, peer=None), datagram(5)) == [None]


def test_a_receive_without_an_address_is_matched_by_size_and_time():
    def receive(at, end, size, **fields):
        known = {"local": ("0.0.0.0", 12000), "requested": 99}
        return udp(at, end, "recv", "in", size, "server", **(known | fields))

    sent = [datagram(1, 4), datagram(2, 5, port=40001)]
    found = flows(receive(5, 6, 5), receive(7, 8, 4), *sent)
    assert [flow.initiator.port for flow in found] == [40001, 40000]
    one = datagram(1, 4)
    assert flows(receive(5, 6, 4), receive(7, 8, 4), one)[0] == UDP
    assert flows(receive(5, 6, 3), one) == [None]
    assert flows(receive(5, 6, 3, requested=3), one) == [UDP]  # cut to its room
    assert flows(receive(5, 6, 3, requested=4), one) == [None]
    assert flows(receive(5, 6, 4, local=("0.0.0.0", 9)), one) == [None]
    assert flows(receive(5, 6, 4, local=None), one) == [None]
    assert flows(receive(5, 6, 4, error="EAGAIN"), one) == [None]
    assert flows(replace(receive(5, 6, 4), direction=Direction.OUT), one) == [None]
    assert flows(receive(0, 1, 4), one) == [None]
    assert flows(receive(5, 6, 4), datagram(1, 4, None)) == [None]
    assert flows(replace(receive(5, 6, 4), host="client"), one) == [None]


def test_a_receive_that_got_nothing_belongs_to_the_only_conversation_of_its_socket():
    sends = udp(1, 2, "send", "out", 4, flow=UDP)
    fails = udp(5, 9, "recv", "in", 0, error="EAGAIN", result=-1)
    other = Flow("udp", UDP.initiator, Endpoint("server", "10.0.0.2", 9))
    assert flows(sends, fails) == [UDP, UDP]
    assert flows(sends, replace(fails, socket=2)) == [UDP, None]
    assert flows(sends, replace(fails, direction=Direction.OUT)) == [UDP, None]
    assert flows(sends, udp(3, 4, "send", "out", 4, flow=other), fails)[2] is None
    assert flows(replace(sends, protocol="tcp"), fails)[1] is None


# frames


def test_fragments_belong_to_the_conversation_of_their_first():
    def rest(identity):
        packet = Packet("fragment", 99, "10.0.0.1", "10.0.0.2", identity=identity, offset=1480)
        return Frame(-1, 2, "client", packet=packet)

    first = datagram(1, identity=7, more=True)
    assert flows(first, rest(7), kind=Frame) == [UDP, UDP]
    assert flows(first, rest(8), kind=Frame) == [UDP, None]
    assert flows(datagram(1, identity=7), rest(7), kind=Frame) == [UDP, None]


def test_an_icmp_error_belongs_to_the_conversation_that_it_is_about():
    inner = datagram(1).packet
    error = Packet("icmp", 70, "10.0.0.2", "10.0.0.1", icmp=(3, 3), inner=inner)
    frames = [datagram(1), Frame(-1, 3, "server", packet=error)]
    timeline = build(frames)
    assert flows(*frames, kind=Frame) == [UDP, UDP]
    assert [e.to for e in timeline.events if isinstance(e, Frame)] == ["server", "client"]
    assert flows(*frames, kind=Frame, hosts=TRACED) == [UDP, UDP]


def test_a_router_sends_on_and_the_ends_stay_the_same():
    hosts = (
        HOSTS[0], Host("router", Role.ROUTER, (Interface("eth0", ("10.0.0.254",)),)), HOSTS[1],
    )  # fmt: skip
    one = replace(segment(1, [2], 0, flags=SYN), to="router")
    two = replace(segment(3, [4], 0, flags=SYN), host="router")
    back = replace(segment(5, [6], 0, flags=SYN | ACK, back=True, ack=1), to="router")
    timeline = build([one, two, back], hosts)
    frames = [e for e in timeline.events if isinstance(e, Frame)]
    assert [f.flow for f in frames] == [FLOW] * 3
    assert [f.to for f in frames] == ["router", "server", "router"]
    (found,) = timeline.tcp.values()
    assert [f.host for side in found.sides for f in side.frames] == ["client", "server"]


# hosts


def test_which_host_an_address_means():
    table = HostTable(HOSTS)
    assert table.reached("client", "10.0.0.2") == "server"
    assert table.reached("client", "127.0.0.1") == "server"  # alone with it
    assert table.reached("client", "10.0.0.1") == "server"
    assert table.source("client", "10.0.0.1") == "client"
    assert table.source("server", "10.0.0.1") == "client"  # sent on
    assert table.source("server", "192.0.2.1") == "server"
    many = HostTable([*HOSTS, Host("third", Role.CLIENT)])
    assert many.reached("client", "192.0.2.1") == ""
    assert many.reached("third", "10.0.0.1") == "client"
    traced = HostTable(TRACED)
    assert traced.reached("client", "192.0.2.1") == "server"
    assert traced.reached("server", "127.0.0.1") == "client"
    assert traced.source("server", "10.0.0.1") == "server"  # the outside may have any address
    both = HostTable([*HOSTS, Host("net", Role.OUTSIDE)])
    assert both.reached("client", "10.0.0.2") == "server"
    assert both.reached("client", "192.0.2.1") == "net"
    assert both.reached("net", "192.0.2.1") == ""


def test_ends_as_seen_from_a_host():
    assert FLOW.end_of("client") == FLOW.initiator == FLOW.peer_of("server")
    assert FLOW.end_of("server") == FLOW.responder == FLOW.peer_of("client")
    assert FLOW.end_of("router") == FLOW.initiator
    alone = Flow("tcp", Endpoint("a", "::1", 1), Endpoint("a", "::1", 2))
    assert (alone.end_of("a"), alone.peer_of("a")) == (alone.initiator, alone.responder)
    assert str(alone) == "tcp [::1]:1 - [::1]:2"
    assert Flow.between("tcp", FLOW.responder, FLOW.initiator) == FLOW
