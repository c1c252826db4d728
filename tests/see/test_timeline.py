"""The links between calls and segments hold whatever the wire does to a stream."""

from collections import defaultdict
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from conversation import HANDSHAKE, build, call, segment
from stretta.see.byte_ranges import ByteRangeMap, ByteRangeSet
from stretta.see.events import Call, Frame
from stretta.see.packets import ACK, FIN

MSS = 1000


@st.composite
def conversations(draw):
    """Draw sends, segments that are lost, doubled and overtaken until all have come, receives."""
    sizes = draw(st.lists(st.integers(1, 3500), min_size=1, max_size=6))
    total = sum(sizes)
    events, at = [], 1000
    for size in sizes:
        events.append(call(at, at + 5, "send", "out", size))
        at += 10
    cuts = [(n, min(MSS, total - n)) for n in range(0, total, MSS)]
    missing = list(cuts)
    came = []
    while missing:
        start, length = missing[draw(st.integers(0, len(missing) - 1))] if came else missing[0]
        fate = draw(st.sampled_from(["comes", "comes", "lost", "twice", "late"]))
        delays = {"comes": [100], "lost": [], "twice": [100, 150], "late": [5000]}[fate]
        # a kernel sends new bytes in order; again, whatever it likes
        sent = {c for c in cuts if any(e[0] == c for e in came)}
        fresh = next((c for c in cuts if c not in sent), None)
        if (start, length) not in sent and fresh:
            start, length = fresh
        events.append(segment(at, [at + d for d in delays], start + 1, length, ack=1))
        came.append(((start, length), at, delays))
        if delays and (start, length) in missing:
            missing.remove((start, length))
        at += draw(st.integers(1, 200))
    at += 10_000
    left = total
    while left:
        size = min(left, draw(st.integers(1, 5000)))
        events.append(call(at, at + 5, "recv", "in", size, host="server"))
        left -= size
        at += 10
    return sizes, events


@given(conversations())
@settings(max_examples=150, deadline=None)
def test_every_byte_of_a_call_has_one_first_transmission(drawn):
    sizes, events = drawn
    timeline = build([*HANDSHAKE, *events])
    carried, delivered = defaultdict(list), defaultdict(list)
    for link in timeline.links:
        if link.kind == "carried":
            carried[link.source].append((link.first, link.last, link.target))
        elif link.kind == "delivered":
            delivered[link.target].append((link.first, link.last, link.source))
    offset = 0
    for each in (e for e in timeline.events if isinstance(e, Call) and e.direction == "out"):
        parts = sorted(carried[each.id])
        assert parts[0][0] == offset
        assert all(a[1] == b[0] for a, b in pairwise(parts))
        offset = parts[-1][1]
    assert offset == sum(sizes)
    frames = [part[2] for parts in carried.values() for part in parts]
    assert all(timeline.events[f].retransmission_of is None for f in frames)
    offset = 0
    for each in (e for e in timeline.events if isinstance(e, Call) and e.direction == "in"):
        parts = sorted(delivered[each.id])
        assert parts[0][0] == offset
        assert all(a[1] == b[0] for a, b in pairwise(parts))
        assert all(timeline.events[f].arrived < each.latest_end for _, _, f in parts)
        offset = parts[-1][1]
    assert offset == sum(sizes)
    for frame in (e for e in timeline.events if isinstance(e, Frame) and e.packet.length):
        assert (frame.id in frames) == (frame.retransmission_of is None)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), max_size=20))
@settings(deadline=None)
def test_cover_finds_what_is_new(ranges):
    cover, have = ByteRangeSet(), set()
    for first, size in ranges:
        new = {n for a, b in cover.add(first, first + size) for n in range(a, b)}
        assert new == set(range(first, first + size)) - have
        have |= new
    gap = next((n for n in range(100) if n not in have), 0)
    assert cover.contiguous == gap


def test_pieces_know_their_owners():
    pieces = ByteRangeMap()
    pieces.add(10, 20, "b")
    pieces.add(0, 10, "a")
    assert list(pieces.within(5, 15)) == [(5, 10, "a"), (10, 15, "b")]
    assert list(pieces.within(20, 30)) == []


def test_states_of_an_orderly_life():
    fin = [
        segment(100, [110], 1, flags=FIN | ACK, ack=1),
        segment(120, [130], 1, back=True, ack=2),
        segment(140, [150], 1, flags=FIN | ACK, back=True, ack=2),
        segment(160, [170], 2, ack=2),
    ]
    timeline = build([*HANDSHAKE, *fin])
    states = defaultdict(list)
    for event in timeline.events:
        if type(event).__name__ == "State":
            states[event.host].append(event.state)
    assert states["client"] == [
        "SYN_SENT", "ESTABLISHED", "FIN_WAIT_1", "FIN_WAIT_2", "TIME_WAIT",
    ]  # fmt: skip
    assert states["server"] == ["SYN_RECEIVED", "ESTABLISHED", "CLOSE_WAIT", "LAST_ACK", "CLOSED"]


def test_a_call_that_never_returned_owns_what_followed():
    lost = call(1000, None, "send", "out", 0, result=None)
    timeline = build([*HANDSHAKE, lost, segment(1010, [1020], 1, 500, ack=1)])
    (link,) = [k for k in timeline.links if k.kind == "carried"]
    assert (link.first, link.last) == (0, 500)


def test_no_call_returns_before_its_cause():
    # by strace's clock it returned before the SYN ACK arrived
    connect = call(5, 35, "connect", next_seen=90)
    timeline = build([*HANDSHAKE, connect])
    (seen,) = [e for e in timeline.events if isinstance(e, Call)]
    assert 40 < seen.end <= 90
    assert {k.kind for k in timeline.links} >= {"sent", "returned", "answered"}
