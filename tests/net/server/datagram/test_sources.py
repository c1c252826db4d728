"""The guards of a UDP server, without sockets: time is counted in ticks."""

import pytest

from stretta.net.server.datagram import sources
from stretta.net.server.datagram.sources import (
    DEFAULT_RATE,
    LOOP,
    LOOP_TICKS,
    MOST_EXCESS,
    DropReason,
    SourceTable,
)

FAR = "192.0.2.1"


def table(max_rate=None, *, breaks_loops=True):
    return SourceTable(12000, max_rate, breaks_loops=breaks_loops)


def drops(table, source, request, reply, count):
    return [table.refuses_reply(source, request, reply) for _ in range(count)]


@pytest.mark.parametrize(("port", "refused"), [(0, True), (1023, True), (1024, False),
                                               (12000, True), (65535, False)])  # fmt: skip
def test_a_server_s_port_is_refused(port, refused):
    assert (table().add("key", FAR, port).refusal is not None) == refused


def test_sources_have_a_rate_and_loopback_has_none_unless_an_option_says_so():
    for host, most in {FAR: DEFAULT_RATE, "127.0.0.9": None, "::1": None, "::ffff:127.0.0.1": None,
                       "2001:db8::1": DEFAULT_RATE}.items():  # fmt: skip
        assert table().add("key", host, 5000).most == most
        assert table(7).add("key", host, 5000).most == 7


def test_a_source_has_room_up_to_its_rate_in_each_tick():
    guard = table(10)
    source = guard.add("key", FAR, 5000)
    for _ in range(2):
        guard.count(source, 9)
        assert guard.has_room(source, 1) and not guard.has_room(source, 2)
        guard.count(source, 1)
        assert not guard.has_room(source, 1)
        guard.tick()


@pytest.mark.parametrize(
    ("other", "shared"),
    [("2001:db8::ffff", True), ("2001:db8:0:1::1", False)],
)
def test_an_ipv6_network_is_one_source(other, shared):
    guard = table(1)
    first, second = guard.add(1, "2001:db8::1", 5000), guard.add(2, other, 6000)
    guard.count(first, 1)
    assert guard.has_room(second, 1) != shared


def test_one_of_many_unchanged_replies_is_dropped():
    guard = table()
    source = guard.add("key", FAR, 5000)
    for _ in range(2):
        assert drops(guard, source, b"A", b"A", LOOP) == [
            *[None] * (LOOP - 1), DropReason.REFLECTION,
        ]  # fmt: skip


def test_unchanged_replies_are_counted_over_several_ticks_and_for_each_port():
    guard = table()
    guard.tick()
    for tick in range(LOOP_TICKS - 1):
        source = guard.add("key", FAR, 5000)
        assert drops(guard, source, b"A", b"A", LOOP // 2) == [None] * (LOOP // 2 - tick % 2) + [
            DropReason.REFLECTION
        ] * (tick % 2)
        guard.tick()
    source, other = guard.add("key", FAR, 5000), guard.add("other", FAR, 5001)
    assert drops(guard, source, b"A", b"A", LOOP - 1) == [None] * (LOOP - 1)
    assert drops(guard, other, b"A", b"A", LOOP - 1) == [None] * (LOOP - 1)


def test_a_service_whose_replies_all_equal_their_requests_breaks_no_loop():
    guard = table(breaks_loops=False)
    source = guard.add("key", FAR, 5000)
    assert drops(guard, source, b"A", b"A", 3 * LOOP) == [None] * 3 * LOOP


def test_changed_replies_are_never_dropped_as_a_loop():
    guard = table()
    assert drops(guard, guard.add("key", FAR, 5000), b"a", b"A", 3 * LOOP) == [None] * 3 * LOOP


def test_replies_may_be_longer_than_their_requests_up_to_a_bound():
    guard = table()
    half = bytes(MOST_EXCESS // 2)
    source, same = guard.add(1, "2001:db8::1", 5000), guard.add(2, "2001:db8::2", 5000)
    other = guard.add(3, FAR, 5000)
    assert drops(guard, source, b"", half, 2) == [None, None]
    assert drops(guard, same, b"", b"x", 1) == [DropReason.AMPLIFICATION]
    assert drops(guard, source, b"xx", b"y", 1) == [None]
    assert drops(guard, other, b"", half, 1) == [None]
    guard.tick()
    assert drops(guard, source, b"", half, 1) == [None]


def test_loopback_may_be_amplified_to():
    guard = table()
    reply = bytes(MOST_EXCESS + 1)
    assert drops(guard, guard.add("key", "127.0.0.1", 5000), b"", reply, 2) == [None, None]


def test_the_tables_are_bounded(monkeypatch):
    monkeypatch.setattr(sources, "MOST_SOURCES", 10)
    guard = table()
    for number in range(100):
        source = guard.add(number, f"192.0.2.{number}", 5000)
        assert guard.has_room(source, 1)
        guard.count(source, 1)
        guard.refuses_reply(source, b"A", b"A")
        guard.refuses_reply(source, b"", b"A")
    for held in (guard.known, guard._rates, guard._unchanged, guard._excess):
        assert 0 < len(held) <= 10
