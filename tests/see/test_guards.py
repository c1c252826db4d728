"""The guards of correlation: each test fails when its guard is removed."""

from dataclasses import replace

import pytest

from conversation import FLOW, HANDSHAKE, HOSTS, build, call, segment
from stretta.see.events import (
    Arrival,
    Call,
    Cause,
    Effect,
    Endpoint,
    Fault,
    Flow,
    Frame,
    LinkKind,
    Process,
    State,
)
from stretta.see.packets import ACK, FIN, RST, SYN, Packet
from stretta.see.strace_events import read_strace

MS = 1_000_000
UDP = Flow("udp", Endpoint("client", "10.0.0.1", 40000), Endpoint("server", "10.0.0.2", 12000))


def conversation(*events):
    """Return what is found out about the only TCP conversation of events."""
    (found,) = build([*HANDSHAKE, *events]).tcp.values()
    return found


def causes(events, kind):
    return [link.cause for link in build([*HANDSHAKE, *events]).links if link.kind is kind]


# retransmissions


def duplicate(at, **kwargs):
    return segment(at, [at + 1], 1, back=True, ack=1, **kwargs)


@pytest.mark.parametrize(
    ("heard", "cause"),
    [
        ([], Cause.TIME_OUT),
        ([duplicate(110), duplicate(111)], Cause.TIME_OUT),
        ([duplicate(110), duplicate(111), duplicate(112)], Cause.DUPLICATE_ACKS),
        ([duplicate(110, sacks=((11, 21),))], Cause.DUPLICATE_ACKS),
        # none of these is a duplicate acknowledgement
        ([duplicate(90), duplicate(111), duplicate(112)], Cause.TIME_OUT),
        ([duplicate(110), duplicate(111), duplicate(130)], Cause.TIME_OUT),
        ([duplicate(110), duplicate(111), replace(duplicate(112), arrivals=())], Cause.TIME_OUT),
        ([duplicate(110), duplicate(111), segment(112, [113], 1, 5, back=True, ack=1)],
         Cause.TIME_OUT),
        ([duplicate(110), duplicate(111), segment(112, [113], 1, back=True, ack=11)],
         Cause.TIME_OUT),
        ([duplicate(110), duplicate(111), duplicate(112, flags=FIN | ACK)], Cause.TIME_OUT),
    ],
)  # fmt: skip
def test_three_duplicate_acknowledgements_repair_a_loss(heard, cause):
    sent = [segment(100, [], 1, 10, ack=1), segment(105, [108], 11, 10, ack=1)]
    found = conversation(*sent, *heard, segment(120, [125], 1, 10, ack=1))
    (again,) = found.initiator.retransmissions
    assert (again.cause, again.waited, again.needless) == (cause, 20, False)
    assert again.original.at == 100
    assert again.frame.retransmission_of == again.original.id


def test_a_retransmission_is_of_the_last_transmission_and_may_be_needless():
    sent = [segment(at, [at + 5], 1, 10, ack=1) for at in (100, 200, 300)]
    found = conversation(*sent, segment(400, [405], 5, 6, ack=1))
    again = found.initiator.retransmissions
    assert [(r.frame.at, r.original.at) for r in again] == [(200, 100), (300, 200), (400, 300)]
    assert all(r.needless for r in again)
    late = [segment(100, [205], 1, 10, ack=1), segment(200, [206], 1, 10, ack=1)]
    (again,) = conversation(*late).initiator.retransmissions
    assert not again.needless


def test_new_bytes_are_no_retransmission_though_some_are_old():
    sent = [segment(100, [], 1, 10, ack=1), segment(200, [205], 1, 30, ack=1)]
    found = conversation(*sent)
    assert not found.initiator.retransmissions
    assert [(a, b, f.at) for a, b, f in found.initiator.carried_by] == [
        (0, 10, 100), (10, 30, 200),
    ]  # fmt: skip


@pytest.mark.parametrize("soon", [True, False])
def test_a_syn_ack_is_sent_again_for_a_syn_that_came_again_at_once(soon):
    again = 1000 * MS
    came = again if soon else again - 6 * MS
    events = [
        segment(0, [10], 0, flags=SYN),
        segment(20, [], 0, flags=SYN | ACK, back=True, ack=1),
        segment(came - 10, [came], 0, flags=SYN),
        segment(again + 100, [again + 200], 0, flags=SYN | ACK, back=True, ack=1),
        segment(again + 300, [again + 400], 1, ack=1),
    ]
    (found,) = build(events).tcp.values()
    (syn_ack,) = found.responder.retransmissions
    assert syn_ack.cause is (Cause.SYN_REPEATED if soon else Cause.SYN_TIME_OUT)
    (syn,) = found.initiator.retransmissions
    assert syn.cause is Cause.SYN_TIME_OUT
    answered = [k for k in found.links if k.kind is LinkKind.ANSWERED]
    assert [(k.source, k.target) for k in answered] == [(syn.frame.id, syn_ack.frame.id)]


# order


def test_events_of_one_time_stand_in_the_order_of_causes():
    syn = replace(segment(100, [100], 0, flags=SYN), id=4)
    given = [Fault(9, 100, "", Effect.DUPLICATED, "--duplicate syn", 4), syn,
             call(100, 100, "connect"), Process(-1, 100, "client", process=1)]  # fmt: skip
    timeline = build(given)
    assert [type(e) for e in timeline.events] == [Call, Frame, Fault, State, Process]
    fault, state = timeline.events[2:4]
    assert (fault.frame, state.cause) == (1, 1)
    assert timeline.frame_ids == {4: 1}
    assert build(given[::-1]).events == timeline.events


def test_a_call_is_moved_as_far_as_its_clock_allows_and_not_behind_what_it_sent():
    late = [
        HANDSHAKE[0],
        segment(30, [5000], 0, flags=SYN | ACK, back=True, ack=1), segment(5050, [6000], 1, ack=1),
    ]  # fmt: skip

    def connect(**fields):
        (seen,) = (e for e in build([*late, call(5, 300, "connect", **fields)]).events
                   if isinstance(e, Call))  # fmt: skip
        return seen.at, seen.end

    assert connect() == (5, 300)  # its thread was not seen again: no room
    assert connect(next_seen=4999) == (5, 300)
    assert connect(next_seen=5500) == (5, 5500)
    assert connect(next_seen=9000) == (5, 6000)
    assert connect(next_seen=9000, duration=295) == (10, 6000)  # not behind its SYN


# datagrams


def fragment(at, offset, *, more, arrived=True, host="client", back=False):
    ends = ("10.0.0.2", "10.0.0.1") if back else ("10.0.0.1", "10.0.0.2")
    kind = "fragment" if offset else "udp"
    packet = Packet(
        kind, 1514, *ends, 0 if offset else 40000, 0 if offset else 12000, b"", 1480, identity=7,
        offset=offset, more=more,
    )  # fmt: skip
    return Frame(-1, at, host, packet=packet, arrivals=(Arrival(at + 10),) * arrived)


@pytest.mark.parametrize(
    ("fragments", "whole"),
    [
        ([fragment(1, 0, more=True), fragment(2, 1480, more=False)], [12]),
        ([fragment(1, 0, more=True), fragment(2, 1480, more=True)], []),  # the last is missing
        ([fragment(1, 0, more=True)], []),
        ([fragment(1, 0, more=True, arrived=False), fragment(2, 1480, more=False)], []),
        ([fragment(1, 0, more=True), fragment(2, 1480, more=False, arrived=False)], []),
    ],
)
def test_a_datagram_arrives_when_all_its_fragments_have(fragments, whole):
    (found,) = build(fragments).udp.values()
    (datagram,) = found.datagrams
    assert datagram.arrivals == whole
    assert datagram.lost == (not whole)
    assert datagram.size == 1480 * len(fragments)


def sent(at, size, arrived=(), *, back=False):
    here, there = UDP.initiator, UDP.responder
    if back:
        here, there = there, here
    packet = Packet("udp", 42 + size, here.address, there.address, here.port, there.port,
                    bytes(size), size)  # fmt: skip
    return Frame(-1, at, here.host, packet=packet, arrivals=tuple(Arrival(a) for a in arrived))


def udp_call(at, end, name, direction, size, host="client", **fields):
    return call(at, end, name, direction, size, host, flow=UDP, protocol="udp",
                **{"socket": 1, **fields})  # fmt: skip


def test_datagrams_are_matched_by_size_and_order():
    events = [
        udp_call(0, 5, "sendto", "out", 3), udp_call(6, 9, "sendto", "out", 4),
        udp_call(10, 15, "sendto", "out", 4, error="EAGAIN", result=-1),
        sent(2, 3, [20]), sent(7, 4, [30]), sent(8, 4, [25]),
        udp_call(19, 40, "recv", "in", 4, "server"), udp_call(41, 50, "recv", "in", 3, "server"),
        udp_call(51, 60, "recv", "in", 2, "server", requested=2),
        udp_call(61, 70, "recv", "in", 1, "server", requested=9),
    ]  # fmt: skip
    (found,) = build(events).udp.values()
    one, two, three = found.datagrams
    assert [d.call.at if d.call else None for d in found.datagrams] == [0, 6, None]
    assert [c.at for c in three.received_by] == [19]
    assert [c.at for c in one.received_by] == [41]
    assert [c.at for c in two.received_by] == [51]  # cut to its room


def test_a_receive_returns_no_datagram_that_comes_later():
    events = [sent(2, 3, [50]), udp_call(1, 40, "recv", "in", 3, "server")]
    (found,) = build(events).udp.values()
    assert not found.datagrams[0].received_by
    events = [sent(2, 3, [50]), udp_call(1, 40, "recv", "in", 3, "server", next_seen=50)]
    (found,) = build(events).udp.values()
    assert found.datagrams[0].received_by


@pytest.mark.parametrize(
    ("fields", "vain"),
    [
        ({"result": 0, "watched_sockets": (1,)}, True),
        ({"result": 1, "watched_sockets": (1,)}, False),
        ({"result": 0, "watched_sockets": (2,)}, False),
        ({"result": 0, "watched_sockets": (1,), "duration": 50 * MS}, False),
        ({"result": 0, "watched_sockets": (), "protocol": "udp"}, True),
        ({"result": 0, "watched_sockets": (), "protocol": "tcp"}, False),
    ],
)
def test_a_poll_that_waited_in_vain(fields, vain):
    known = {"flow": None, "socket": -1, "duration": 60 * MS, "protocol": ""}
    poll = replace(call(10, 60 * MS, "poll"), **(known | fields))
    (found,) = build([udp_call(0, 5, "sendto", "out", 3), sent(2, 3), poll]).udp.values()
    assert bool(found.in_vain) == vain


# descriptors


def test_a_descriptor_that_is_used_again_is_another_socket():
    one, two = "TCP:[10.0.0.1:40000->10.0.0.2:12000]", "TCP:[10.0.0.1:40001->10.0.0.2:12000]"
    lines = [
        f'sendto(3<{one}>, "a", 1, 0, NULL, 0) = 1 <0.000010000>',
        # the call that closed it was not seen
        f'sendto(3<{two}>, "b", 1, 0, NULL, 0) = 1 <0.000010000>',
        f"close(3<{two}>) = 0 <0.000010000>",
        "socket(AF_INET, SOCK_STREAM, 0) = 3<TCP:[99]> <0.000010000>",
        'sendto(3<TCP:[99]>, "c", 1, 0, NULL, 0) = 1 <0.000010000>',
    ]
    text = "\n".join(f"7 {n + 1}.000000000 {line}" for n, line in enumerate(lines))
    calls = read_strace(text, HOSTS[0], HOSTS).calls
    assert [c.socket for c in calls] == [0, 1, 1, 2, 2]
    assert [c.flow.initiator.port if c.flow else None for c in calls] == [
        40000, 40001, 40001, None, None,
    ]  # fmt: skip


# resets and ends


def test_each_reset_has_its_cause():
    data = segment(100, [110], 1, 10, ack=1)
    took = call(112, 113, "recv", "in", 10, "server", requested=99)
    closed = call(200, 210, "close", host="server")
    reset = segment(205, [215], 1, flags=RST, back=True)
    later = segment(9 * MS, [9 * MS + 10], 1, flags=RST, back=True)

    def cause(*events):
        (link,) = [k for k in build([*HANDSHAKE, *events]).links
                   if k.kind in (LinkKind.SENT, LinkKind.PROVOKED, LinkKind.UNACCEPTED)
                   and k.cause is not Cause.CONNECT]  # fmt: skip
        return link.kind, link.cause, link.last - link.first

    accepted = call(45, 70, "accept", host="server", result=4)
    assert cause(accepted, data, closed, reset) == (LinkKind.SENT, Cause.CLOSE_UNREAD, 10)
    option = call(90, 91, "setsockopt", host="server", option="SO_LINGER")
    assert cause(accepted, data, took, option, closed, reset) == (LinkKind.SENT, Cause.LINGER, 0)
    assert cause(accepted, data, took, closed, reset) == (LinkKind.SENT, Cause.ABORT, 0)
    after = segment(300, [8 * MS], 11, 10, ack=1)
    assert cause(accepted, data, took, closed, after, later)[1] is Cause.ALREADY_CLOSED
    assert cause(accepted, data, took, later)[1] is Cause.UNKNOWN_CONNECTION
    gone = Process(-1, 10 * MS, "server", process=1, status=0)
    assert cause(accepted, data, gone, later) == (LinkKind.SENT, Cause.EXIT_UNREAD, 10)
    elsewhere = call(1, 2, "listen", host="server", flow=None, local=("0.0.0.0", 12000))
    assert cause(elsewhere, data, later)[:2] == (LinkKind.UNACCEPTED, Cause.LISTENER_CLOSED)
    shared = replace(closed, shared=True)
    assert cause(accepted, data, shared, later)[1] is Cause.UNKNOWN_CONNECTION


def test_a_fin_is_sent_by_close_or_shutdown_or_the_end_of_the_program():
    fin = segment(100, [110], 1, flags=FIN | ACK, ack=1)
    ends = Process(-1, 150, "client", process=1, status=0)
    sends = call(70, 71, "send", "out", 0, requested=0)

    def sender(*events):
        timeline = build([*HANDSHAKE, sends, fin, *events])
        found = [k for k in timeline.links if k.kind is LinkKind.SENT]
        return [(k.cause, getattr(timeline.events[k.source], "name", "")) for k in found]

    assert sender(call(90, 95, "close"), ends) == [(Cause.CLOSE, "close")]
    assert sender(call(90, 95, "shutdown", flags="SHUT_WR"), call(97, 98, "close")) == [
        (Cause.CLOSE, "shutdown"),
    ]  # fmt: skip
    assert sender(call(90, 95, "shutdown", flags="SHUT_RD"), ends) == [(Cause.EXIT, "")]
    assert sender(call(90, 95, "close", shared=True), ends) == [(Cause.EXIT, "")]
    assert sender(call(90, 95, "close", error="EIO"), ends) == [(Cause.EXIT, "")]
    assert sender(call(101, 105, "close"), ends) == [(Cause.EXIT, "")]
    assert sender(replace(ends, at=60 * MS)) == []
    assert sender(replace(ends, host="server")) == []


def test_the_end_of_a_stream_is_a_receive_of_nothing_after_the_fin():
    fin = segment(100, [110], 1, flags=FIN | ACK, back=True, ack=1)

    def ended(end=115, **fields):
        known = {"requested": 99, **fields}
        return [k.cause for k in build([*HANDSHAKE, fin, call(105, end, "recv", "in", 0, **known)])
                .links if k.kind is LinkKind.ENDED]  # fmt: skip

    assert ended() == [Cause.FIN]
    assert ended(requested=0) == []
    assert ended(result=-1, error="EAGAIN") == []
    assert ended(end=109) == []


def test_acknowledgements_are_linked_to_what_they_are_for():
    events = [
        segment(100, [110], 1, 10, ack=1), segment(101, [111], 11, 10, ack=1),
        segment(120, [130], 1, back=True, ack=21), segment(121, [131], 1, back=True, ack=21),
        segment(140, [], 21, 10, ack=1), segment(141, [151], 31, 10, ack=1),
        segment(160, [170], 1, back=True, ack=22),
    ]  # fmt: skip
    timeline = build([*HANDSHAKE, *events])
    found = {(timeline.events[k.source].at, timeline.events[k.target].at) for k in timeline.links
             if k.kind is LinkKind.ACKNOWLEDGED}  # fmt: skip
    assert found == {(10, 30), (30, 50), (101, 120), (101, 160)}


def test_a_poll_is_woken_by_the_segment_that_brings_something():
    poll = call(60, 200, "epoll_wait", flow=None, result=1, ready=(FLOW,))
    only_ack = segment(100, [110], 1, back=True, ack=1)
    data = segment(120, [130], 1, 5, back=True, ack=1)
    assert causes([poll, only_ack], LinkKind.WOKE) == [Cause.WRITABLE]
    assert causes([poll, only_ack, data], LinkKind.WOKE) == [Cause.READABLE]
    assert causes([poll, replace(data, arrivals=(Arrival(300),))], LinkKind.WOKE) == []
    assert causes([replace(poll, end=None), data], LinkKind.WOKE) == []
    accepts = call(50, 70, "poll", host="server", flow=None, result=1, local=("0.0.0.0", 12000))
    assert causes([accepts], LinkKind.WOKE) == [Cause.ACCEPTABLE]
    assert causes([replace(accepts, local=("0.0.0.0", 9))], LinkKind.WOKE) == []
    assert causes([replace(accepts, at=61)], LinkKind.WOKE) == []


def test_relative_numbers_without_a_syn_count_from_the_first_segment():
    events = [segment(100, [110], 501, 10, ack=701), segment(120, [130], 701, back=True, ack=511)]
    frames = [e for e in build(events).events if isinstance(e, Frame)]
    assert [(f.seq, f.ack) for f in frames] == [(1, 1), (1, 11)]
    only_acks = [segment(100, [110], 501, 10, ack=701), segment(105, [115], 511, 10, ack=731)]
    frames = [e for e in build(only_acks).events if isinstance(e, Frame)]
    assert [(f.seq, f.ack) for f in frames] == [(1, 1), (11, 31)]


def test_windows_are_scaled_only_if_both_ends_can():
    def windows(*scales):
        opened = [replace(f, packet=replace(f.packet, scale=scale, window=10))
                  for f, scale in zip(HANDSHAKE, (*scales, None), strict=True)]  # fmt: skip
        (found,) = build(opened).tcp.values()
        return [size for side in found.sides for _, size in side.windows]

    assert windows(3, 4) == [10, 80, 10]
    assert windows(3, None) == [10, 10, 10]
