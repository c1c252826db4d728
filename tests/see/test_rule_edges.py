"""The edges of the rules: the least that counts, and the most that does not."""

from dataclasses import replace

import pytest

from conversation import build
from milliseconds import MS, OPENED, SENDS, asked, datagram, did, frame, lost, notes, rules
from stretta.see.events import Process
from stretta.see.explain import explain
from stretta.see.packets import ACK, FIN, RST, SYN


def test_a_rule_reports_one_repair_and_counts_the_others():
    pairs = [(1, 5, 50), (301, 6, 51)]
    missing = [frame(20 + n, ack=1, back=True, sacks=((900, 901),)) for n in (0, 1)]
    seen = [e for seq, at, again in pairs for e in (
        *lost(at, f"--drop data:{at}", at, length=10, seq=seq, ack=1),
        frame(again, seq=seq, length=10, ack=1),
    )]  # fmt: skip
    (text,) = notes(OPENED, seen, missing, rule="fast-retransmit")
    assert text.endswith("2 segments were repaired like this.")
    assert "was lost on the wire (--drop data:5)" in text


def test_a_delayed_acknowledgement_is_one_that_waited():
    data = frame(10, length=10, ack=1)

    def delayed(at, **kwargs):
        return rules(OPENED, [data, frame(at, back=True, ack=11, **kwargs)]).count("delayed-ack")

    assert delayed(41) == 1
    assert delayed(511) == 1
    assert delayed(40.9) == 0
    assert delayed(511.1) == 0
    assert delayed(60, length=5) == 0  # it rode on a reply
    assert delayed(60, flags=FIN | ACK) == 0


def test_crossing_fins_left_before_the_other_arrived():
    def crossed(one, two):
        ends = [frame(one, flags=FIN | ACK, ack=1), frame(two, flags=FIN | ACK, back=True, ack=1)]
        return "both-closed" in rules(OPENED, ends)

    assert crossed(10, 10.5)
    assert not crossed(10, 11)
    assert not crossed(11, 10)


def test_a_handshake_that_took_its_round_trip():
    def said(took):
        return notes([did(-0.1, took, "connect")], OPENED, rule="handshake")

    assert "one round trip: SYN there" in said(2.4)[0]
    assert "took 2.51 ms: one round trip" in said(2.51)[0]
    assert said(1.9) == []  # less than the round trip: another clock


def test_bytes_before_a_reset_are_counted_where_both_ends_called():
    reset = frame(30.05, flags=RST | ACK, back=True, ack=101)
    closed = did(30, 0.1, "close", host="server")
    sent = [frame(5.05, length=100, ack=1)]
    (text,) = notes(OPENED, [SENDS, closed], sent, [reset], rule="unread-data")
    assert text.startswith("The server's close() with 100 bytes unread sent RST")
    took = did(20, 0.1, "recv", "in", 40, host="server", requested=40)
    (text,) = notes(OPENED, [SENDS, took, closed], sent, [reset], rule="unread-data")
    assert text.startswith("The client sent 100 bytes in one send(); by then 1 segment of them")
    assert "one recv() of the server returned 40 bytes" in text
    gone = Process(-1, int(31 * MS), "server", process=1, status=0)
    (text,) = notes(OPENED, [SENDS, took], sent, [reset, gone], rule="unread-data")
    assert "The server's program ended with 60 bytes unread" in text


def test_a_window_probe_asks_and_nothing_else_does():
    shut, opened = frame(10, ack=101, back=True, window=0), frame(90, ack=101, back=True)
    data = [SENDS, frame(5.05, length=100, ack=1)]

    def asked(*probes):
        (text,) = notes(OPENED, data, [shut, opened], probes, rule="zero-window")
        assert "It offered room again after 80 ms." in text
        return text.partition("The client asked ")[2].partition(" meanwhile")[0]

    assert asked(frame(30, seq=100, ack=1)) == "once"
    assert asked(frame(30, seq=101, length=1, ack=1)) == "once"
    assert asked(frame(30, seq=101, ack=1)) == ""
    assert asked(frame(30, seq=100, length=2, ack=1)) == ""
    assert asked(frame(30, seq=100, flags=FIN | ACK, ack=1)) == ""
    assert asked(frame(30, seq=100, flags=RST, ack=1)) == ""
    assert asked(replace(frame(30, seq=100, ack=1), forged=True)) == ""
    assert asked(frame(95, seq=100, ack=1)) == ""
    assert asked(frame(9, seq=100, ack=1)) == ""


@pytest.mark.parametrize(("took", "window", "why"), [
    (20, 65535, "than the wire carries"), (20, 2919, "than the server's program reads"),
    (20, 2920, "than the wire carries"), (19.9, 65535, ""),
])  # fmt: skip
def test_a_send_that_had_to_wait(took, window, why):
    offer = frame(4, back=True, ack=1, window=window)
    found = notes(OPENED, [offer], [did(5, took, "send", "out", 100)], rule="send-blocked")
    assert [why in text for text in found] == ([True] if why else [])


def test_a_partial_send_is_one_that_took_less():
    def part(transferred, name="send", **kwargs):
        call_ = did(5, 0.1, name, "out", transferred, requested=100, **kwargs)
        return "partial-send" in rules(OPENED, [call_])

    assert part(99)
    assert not part(100)
    assert not part(0)
    assert not part(99, name="sendfile")


def test_segments_are_named_by_their_size_and_the_options_that_they_carry():
    big = did(5, 0.1, "send", "out", 2800)

    def segments(first, second):
        one = frame(5.1, length=first, ack=1)
        two = frame(5.2, seq=1 + first, length=second, ack=1)
        return notes(OPENED, [big, one, two], rule="segmented")

    assert (
        "in 2 segments of at most 1,448 bytes (MSS 1,460, less 12 of options)"
        in (segments(1448, 1352)[0])
    )
    assert "(MSS" not in segments(1460, 1340)[0]
    assert "less 40 of options" in segments(1420, 1380)[0]
    assert "(MSS" not in segments(1419, 1381)[0]
    assert segments(2800, 0) == []


def test_an_accept_that_waited_and_one_that_came_late():
    def said(at, took):
        accept = did(at, took, "accept", host="server")
        return {n.rule for n in explain(build([*OPENED, accept]))} & {
            "accept-waited",
            "accepted-late",
        }

    assert said(-5, 9) == {"accept-waited"}
    assert said(2.5, 0.6) == set()
    assert said(4, 0.1) == set()
    assert said(8, 0.1) == set()
    assert said(8.1, 0.1) == {"accepted-late"}


def test_an_established_connection_that_no_program_accepted():
    listens = did(-5, 0.1, "listen", host="server", flow=None)
    connect = did(0, 2, "connect")
    assert "never-accepted" in rules(OPENED, [listens, connect])
    assert "never-accepted" not in rules(OPENED, [connect])  # the server's calls are not seen
    assert "never-accepted" not in rules(OPENED[:2], [listens, connect])
    accept = did(1, 4, "accept", host="server")
    assert "never-accepted" not in rules(OPENED, [listens, connect, accept])


def test_a_lost_acknowledgement_that_another_makes_good():
    first, second = lost(10, "--drop ack:1", 9, back=True, ack=51), frame(20, back=True, ack=101)
    data = [SENDS, frame(5.05, length=50, ack=1), frame(5.1, seq=51, length=50, ack=1)]
    assert rules(OPENED, data, first, [second]).count("lost-ack") == 1
    assert "lost-ack" not in rules(OPENED, data, first)
    assert "lost-ack" not in rules(OPENED, data, first, [frame(20, None, back=True, ack=101)])
    again = frame(18, length=50, ack=1)  # it did harm
    assert "lost-ack" not in rules(OPENED, data, first, [second, again])


def test_bytes_behind_a_gap_are_held():
    sends = did(5, 0.1, "send", "out", 20)
    gone = lost(5.05, "--drop data:1", 9, length=10, ack=1)
    later, again = frame(5.1, seq=11, length=10, ack=1), frame(30, length=10, ack=1)
    reads = did(4, 30, "recv", "in", 20, host="server", requested=99)
    (text,) = notes(OPENED, [sends, reads], gone, [later, again], rule="held-behind-gap")
    assert "held them for 24.9 ms" in text
    soon = frame(6, length=10, ack=1)
    assert not notes(OPENED, [sends, reads], gone, [later, soon], rule="held-behind-gap")


def test_duplicates_and_disorder():
    twice = frame(10, length=10, ack=1)
    twice = replace(twice, arrivals=twice.arrivals * 3)
    assert "3 times" in notes(OPENED, [twice], rule="doubled")[0]
    assert not notes(OPENED, [replace(frame(10, ack=1), arrivals=twice.arrivals)], rule="doubled")
    late, soon = frame(10, 9, length=10, ack=1), frame(11, 1, seq=11, length=10, ack=1)
    assert notes(OPENED, [late, soon], rule="overtaken")
    assert not notes(OPENED, [frame(10, 1, length=10, ack=1), soon], rule="overtaken")


def test_datagrams_that_no_program_receives():
    known = asked(0, 0.1, "bind", host="server")
    assert (
        rules([known, asked(9, 0.1, "sendto", "out", 4)], [datagram(10)]).count("udp-unread") == 1
    )
    took = asked(20, 0.1, "recvfrom", "in", 4, host="server")
    assert "udp-unread" not in rules([known, took], [datagram(10)])
    assert "udp-unread" not in rules([asked(9, 0.1, "sendto", "out", 4)], [datagram(10)])
    assert "udp-unread" not in rules([known], [datagram(10, None)])


def test_bytes_that_a_reset_discarded_are_counted_by_the_receiver():
    reset = frame(12, flags=RST, back=True, ack=0)
    theirs = did(6, 0.1, "send", "out", 30, host="server")
    mine = did(14, 0.1, "recv", "in", 0, error="ECONNRESET", result=-1)
    (text,) = notes(OPENED, [theirs, mine, reset], rule="connection-reset")
    assert text.endswith(
        "an RST had arrived. 30 bytes that the server had sent before are lost too."
    )
    sends = did(14, 0.1, "send", "out", 0, error="ECONNRESET", result=-1)
    (text,) = notes(OPENED, [theirs, sends, reset], rule="connection-reset")
    assert text.endswith("an RST had arrived.")


def test_three_coalesced_segments_are_explained_and_no_more():
    calls, frames = [], []
    for n in range(5):
        calls += [did(5 + n, 0.1, "send", "out", 5), did(5.2 + n, 0.1, "send", "out", 5)]
        frames.append(frame(5.4 + n, seq=1 + 10 * n, length=10, ack=1))
    assert rules(OPENED, calls, frames).count("coalesced") == 3
    assert rules(OPENED, calls[:1], frames[:1]).count("coalesced") == 0


def test_a_forged_reset_names_the_segment_of_its_own_conversation():
    other = lost(3, "--rst data:1", 8, "reset", length=5, ack=1)
    other[0] = replace(other[0], packet=replace(other[0].packet, source_port=40009))
    own = lost(10, "--rst data:2", 9, "reset", length=5, ack=1)
    made = replace(frame(10.5, flags=RST, back=True, ack=0), forged=True)
    timeline = build([*OPENED, *other, *own, made])
    (note,) = (n for n in explain(timeline) if n.rule == "forged-reset")
    assert timeline.events[note.events[0]].at == own[0].at


def test_a_datagram_that_leaves_at_the_time_of_its_call():
    sends = asked(10, 0.1, "sendto", "out", 4)
    (found,) = build([sends, datagram(10)]).udp.values()
    assert found.datagrams[0].call is not None
    (found,) = build([replace(sends, at=sends.at + 1), datagram(10)]).udp.values()
    assert found.datagrams[0].call is None


def test_the_fault_of_the_first_frame_is_linked():
    gone = lost(1, "--drop syn:1", 4, flags=SYN, seq=0)
    timeline = build(gone)
    assert [(k.source, k.target, k.kind) for k in timeline.links] == [(0, 1, "fault")]
