"""A sentence is true, or it is not said: conversations in which something else is the cause."""

from dataclasses import replace

import pytest

from conversation import HOSTS, TRACED, build
from milliseconds import MS, OPENED, SENDS, asked, datagram, did, fault, frame, links, lost, notes
from stretta.see.events import Arrival, Call, Frame, Process
from stretta.see.packets import ACK, FIN, RST, SYN, Packet
from stretta.see.strace_events import read_strace

# requests


def test_an_answer_is_not_a_continue_nor_the_one_before():
    post = frame(10, payload=b"POST /a HTTP/1.1\r\nExpect: 100-continue\r\n\r\n", ack=1)
    end = post.packet.length + 1
    both = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\n\r\n"
    created = frame(20, payload=both, back=True, ack=end)
    get = frame(30, seq=end, payload=b"GET /b HTTP/1.1\r\n\r\n", ack=len(both) + 1)
    ok = frame(45, seq=len(both) + 1, payload=b"HTTP/1.1 200 OK\r\n\r\n", back=True, ack=end + 19)
    assert notes(OPENED, [post, created, get, ok], rule="http-exchange") == [
        "POST /a HTTP/1.1: HTTP/1.1 201 Created - it came 11 ms after the request left.",
        "GET /b HTTP/1.1: HTTP/1.1 200 OK - it came 16 ms after the request left.",
    ]


def test_a_response_sent_before_the_request_arrived_is_not_its_response():
    early = frame(5, payload=b"HTTP/1.1 408 Request Timeout\r\n\r\n", back=True, ack=1)
    get = frame(5.5, payload=b"GET / HTTP/1.1\r\n\r\n", ack=1)
    assert not notes(OPENED, [early, get], rule="http-exchange")


# datagrams


def test_equal_answers_to_equal_questions_are_no_repetition():
    gone = datagram(20, None, number=7)
    seen = [
        datagram(10), datagram(12, data=b"pong", back=True),
        gone, fault(gone, "--drop udp:2"),
        datagram(400), datagram(402, data=b"pong", back=True),
    ]  # fmt: skip
    waited = [asked(21, 300, "poll", result=0, flow=None, socket=-1, watched_sockets=(1,))]
    calls = [asked(at, 0.1, "sendto", "out", 4) for at in (9, 19, 399)]
    (text,) = notes(calls, waited, seen, rule="udp-repeated")
    assert "The datagram was lost" in text
    assert "noticed that no reply arrived (its poll() waited 300 ms in vain)" in text
    assert not notes(calls, seen, rule="udp-repeated")
    assert "nothing told its sender" in notes(calls, seen, rule="udp-lost")[0]
    (text,) = notes(seen, rule="udp-repeated")
    assert "noticed" not in text
    assert "by the program, not by the kernel" in text


def test_a_program_that_waited_in_vain_did_notice():
    gone = datagram(10, None, number=7)
    gone_and_why = [gone, fault(gone, "--drop udp:1")]
    sent = [asked(9, 0.1, "sendto", "out", 4), asked(0, 0.1, "bind", host="server")]
    waited = [asked(11, 400, "poll", result=0, flow=None, socket=-1, watched_sockets=(1,))]
    (text,) = notes(sent, gone_and_why, rule="udp-lost")
    assert "and no program noticed" in text
    (text,) = notes(sent, waited, gone_and_why, rule="udp-lost")
    assert "no program noticed" not in text
    assert "its poll() waited 400 ms in vain" in text
    assert notes(sent, waited, gone_and_why, rule="udp-waited")
    (text,) = notes(sent, gone_and_why, [datagram(600, data=b"ping 2")], rule="udp-lost")
    assert "no program noticed" not in text


def test_many_losses_are_counted_in_the_last_explanation():
    many = [datagram(10 + n, None, data=b"%d" % n, number=n) for n in range(9)]
    texts = notes(many, rule="udp-lost")
    assert len(texts) == 3
    assert texts[-1].endswith("So it went with 6 more.")


def test_a_damaged_fragment_is_put_together_with_the_others():
    first = datagram(10, data=bytes(1472), identity=5, more=True, number=7)
    here = first.packet
    rest = Packet("fragment", 500, here.source, here.target, identity=5, length=400)
    damaged = (Arrival(11 * MS, corrupted=True),)
    second = Frame(8, 10 * MS, "client", packet=rest, arrivals=damaged)
    made = notes([first, second, fault(second, "--corrupt fragment:2", "corrupted")])
    assert [t for t in made if "when its 2 fragments were joined" in t]
    assert not [t for t in made if "keeps the others" in t]


def test_a_duplicate_is_not_counted_as_one_datagram_each_way():
    clean = [datagram(10), datagram(12, data=b"pong", back=True)]
    assert "two datagrams" in notes(clean, rule="udp-answered")[0]
    twice = [replace(clean[0], arrivals=(Arrival(11 * MS),) * 2), clean[1]]
    assert notes(twice, rule="udp-answered") == ["Question and answer took 3 ms."]


# openings


def test_a_connect_longer_than_its_round_trip_says_so():
    slow = did(-3, 5.1, "connect")
    (text,) = notes([slow], OPENED, rule="handshake")
    assert "took 5.1 ms: one round trip, SYN there and SYN ACK back, took 2 ms" in text
    assert "the scheduler and strace the rest" in text


def test_a_begin_moves_with_an_end_that_its_cause_moved():
    early = did(-12, 4, "connect", next_seen=20 * MS)
    events = build([early, *OPENED]).events
    (seen,) = [e for e in events if isinstance(e, Call)]
    assert seen.end == 2 * MS + 1000
    assert seen.end - seen.at == seen.duration
    assert events.index(seen) == 0


def test_accept_that_returned_late_says_so():
    late = did(-100, 150, "accept", host="server")
    (text,) = notes([late], OPENED, rule="accept-waited")
    assert "it returned 47 ms after the segment" in text


def syns(times, by="--drop syn"):
    return [e for n, at in enumerate(times) for e in lost(at, by, n + 1, flags=SYN, seq=0)]


def test_waits_of_syns_are_those_that_were_measured():
    stopped = did(0, 3700, "connect", result=None)
    gone = Process(-1, 3701 * MS, "client", process=1, status=-15)
    (text,) = notes([stopped, gone], syns([0, 1030, 2050, 3080]), rule="unanswered")
    assert "4 times, after waits of 1.03 s, 1.02 s, 1.03 s," in text
    assert "each was lost on the wire (--drop syn)" in text
    assert "still waiting when signal 15 ended the program" in text
    (text,) = notes([stopped, gone], syns([0]), rule="unanswered")
    assert "sent once and no answer arrived (it was lost" in text
    assert "waits of" not in text


def test_every_lost_syn_is_explained():
    rest = [
        frame(2040, flags=SYN, seq=0),
        frame(2041, flags=SYN | ACK, seq=0, ack=1, back=True),
        frame(2042, ack=1),
    ]
    (text,) = notes([did(0, 2042, "connect")], syns([0, 1010]), rest, rule="lost-syn")
    assert "(--drop syn) twice" in text
    assert "1.01 s and 1.03 s later" in text


@pytest.mark.parametrize("asked_again", [True, False])
def test_a_repeated_syn_or_a_time_out_repeats_the_syn_ack(asked_again):
    again = [frame(1010, flags=SYN, seq=0)] if asked_again else []
    seen = [
        frame(0, flags=SYN, seq=0),
        *lost(1.1, "--drop syn-ack:1", 9, flags=SYN | ACK, seq=0, ack=1, back=True),
        *again,
        frame(1011.05, flags=SYN | ACK, seq=0, ack=1, back=True),
        frame(1013, ack=1),
    ]
    (text,) = notes([did(0, 1012, "connect")], seen, rule="lost-syn-ack")
    assert ("sent its SYN again" in text) == asked_again
    assert ("the server's kernel sent it again" in text) != asked_again


def refusal(*calls):
    reset = frame(1, flags=RST | ACK, seq=0, ack=1, back=True)
    return list(calls), [frame(0, flags=SYN, seq=0), reset]


def test_the_call_that_reports_a_refusal_is_named():
    begun = did(-1, 0.5, "connect", error="EINPROGRESS", result=-1)
    (text,) = notes(*refusal(begun), rule="refused")
    assert "connect() failed" not in text
    assert "keeps ECONNREFUSED for the next call on it" in text
    read = did(5, 0.1, "getsockopt", option="SO_ERROR")
    (text,) = notes(*refusal(begun, read), rule="refused")
    assert "getsockopt(SO_ERROR) reported it to the program" in text
    failed = did(-1, 4, "connect", error="ECONNREFUSED", result=-1)
    (text,) = notes(*refusal(failed), rule="refused")
    assert "connect() failed after 4 ms" in text


def test_a_trace_has_this_end_and_the_other_end():
    failed = did(-1, 4, "connect", error="ECONNREFUSED", result=-1)
    (text,) = notes(*refusal(failed), rule="refused", hosts=TRACED)
    assert "server" not in text
    assert "the other end's kernel answered" in text


def test_a_listener_that_closes_throws_away_what_it_never_accepted():
    seen = [frame(10, length=20, ack=1), frame(50, flags=RST | ACK, back=True, ack=21)]
    calls = [
        did(0, 2, "connect"), did(9, 0.1, "send", "out", 20),
        did(-5, 0.1, "listen", host="server", flow=None),
    ]  # fmt: skip
    (text,) = notes(calls, OPENED, seen, rule="never-accepted")
    assert "RST was sent, and what had arrived was discarded (20 bytes)" in text
    (text,) = notes(calls, OPENED, seen[:1], rule="never-accepted")
    assert "holds what arrived (20 bytes)" in text


# the stream

NODELAY = did(4, 0.1, "setsockopt", option="TCP_NODELAY")
HELD = [
    frame(5.05, length=100, ack=1),
    frame(45, ack=101, back=True),
    frame(46.1, seq=101, length=50, ack=1),
]
SMALL = [did(5, 0.1, "send", "out", 100), did(6, 0.1, "send", "out", 50)]


def test_nagle_is_blamed_where_nothing_else_held_the_segment():
    assert notes(SMALL, OPENED, HELD, rule="nagle")
    assert not notes([NODELAY], SMALL, OPENED, HELD, rule="nagle")
    listening = replace(NODELAY, flow=None, local=("10.0.0.1", 40000))
    assert not notes([listening], SMALL, OPENED, HELD, rule="nagle")


def test_nagle_is_not_blamed_for_bytes_before_or_a_full_window():
    backlog = [did(5, 0.1, "send", "out", 5000), did(6, 0.1, "send", "out", 50)]
    sent = [
        frame(5.05, length=1400, ack=1), frame(45, ack=1401, back=True),
        frame(46.05, seq=1401, length=3600, ack=1), frame(46.1, seq=5001, length=50, ack=1),
    ]  # fmt: skip
    assert not notes(backlog, OPENED, sent, rule="nagle")
    shut = [OPENED[0], frame(1, flags=SYN | ACK, seq=0, ack=1, back=True, window=120), OPENED[2]]
    assert not notes(SMALL, shut, HELD, rule="nagle")


def test_the_parts_of_a_wait_add_up():
    waits = did(10, 91, "recv", "in", 100, host="server", requested=100)
    sends = did(30, 0.1, "send", "out", 100)
    (text,) = notes([waits, sends], OPENED, [frame(60, 40, length=100, ack=1)])[-1:]
    assert text == (
        "recv() of the server waited 91 ms: 20 ms until the client called send(), 30 ms until the"
        " client's kernel sent the bytes, 40 ms on the way, 1 ms until the scheduler resumed the"
        " process."
    )


def test_a_window_that_stays_shut():
    shut = frame(10, ack=101, back=True, window=0)
    plain = frame(20, seq=101, ack=1)
    probe = frame(30, seq=100, ack=1)
    seen = OPENED, [SENDS, frame(5.05, length=100, ack=1), shut, plain, probe]
    (text,) = notes(*seen, rule="zero-window")
    assert "It never offered room again." in text
    assert "asked once meanwhile" in text


def test_calls_of_several_names_are_named():
    calls = [
        did(5, 0.1, "writev", "out", 200), did(5.2, 0.1, "sendfile", "out", 300),
        did(8, 0.1, "recv", "in", 500, host="server"),
    ]  # fmt: skip
    (text,) = notes(calls, OPENED, [frame(5.3, length=500, ack=1)], rule="received-together")
    assert "the bytes of 2 calls (writev() and sendfile())" in text


# losses and ends


def ended(*, first, call_, repeat_after=200):
    """Return a life whose first FIN is lost, the other end's FIN, and the calls."""
    return [
        call_, did(250, 0.1, "close", host="server"),
        *lost(first, "--drop fin:1", 9, flags=FIN | ACK, ack=1),
        frame(first + repeat_after, flags=FIN | ACK, ack=1),
        frame(250.05, flags=FIN | ACK, back=True, ack=2),
        frame(252, seq=2, ack=2),
    ]  # fmt: skip


def test_a_lost_fin_crosses_nothing():
    shut = did(9.9, 0.1, "shutdown", flags="SHUT_WR")
    seen = OPENED, ended(first=10, call_=shut)
    assert not notes(*seen, rule="both-closed")
    (text,) = notes(*seen, rule="lost-fin")
    assert "shutdown() had returned before" in text
    assert "closed" not in text
    (text,) = notes(*seen, rule="time-wait")
    assert "The client was the first to send a FIN, with shutdown()" in text
    reads = did(205, 50, "recv", "in", 0, host="server", requested=100)
    causes = [source for kind, source, _ in links(*seen, [reads]) if kind == "ended"]
    assert [c.arrived is not None for c in causes] == [True]


def test_a_cut_is_explained_by_the_times_of_lost_frames():
    cut = "--cut 0.9s-1.0s"
    (text,) = notes(lost(950, cut, 3, "cut", flags=SYN, seq=0), rule="unplugged")
    assert "open" not in text
    assert text.endswith("Neither end can tell: each sees only that the other is silent.")
    seen = lost(950, cut, 3, "cut", length=10, ack=1), [frame(1101, length=10, ack=1)]
    (text,) = notes(OPENED, *seen, rule="unplugged")
    assert f"({cut}, counted from the client's start)" in text
    assert "stayed open" in text
    assert "plugged in again after" not in text
    assert "The next frame that arrived left 151 ms after" in text


def test_a_broken_pipe_after_the_programs_own_shutdown():
    shut = did(9.9, 0.1, "shutdown", flags="SHUT_WR")
    broken = did(20, 0.1, "send", "out", 0, error="EPIPE", result=-1)
    (text,) = notes(OPENED, [shut, broken, frame(10, flags=FIN | ACK, ack=1)], rule="broken-pipe")
    assert "reset" not in text
    assert "the program itself had closed this direction with shutdown()" in text
    reset = frame(12, flags=RST, back=True, ack=0)
    (text,) = notes(OPENED, [broken, reset], rule="broken-pipe")
    assert "had been reset before" in text


def test_unread_bytes_are_counted_over_all_calls():
    calls = [did(5 + n, 0.1, "send", "out", 2000) for n in range(4)]
    calls += [did(20 + n, 0.1, "recv", "in", 1024, host="server", requested=1024) for n in range(2)]
    calls += [did(30, 0.1, "close", host="server")]
    sent = [frame(5.05 + n, seq=1 + 2000 * n, length=2000, ack=1) for n in range(4)]
    reset = frame(30.05, flags=RST | ACK, back=True, ack=8001)
    (text,) = notes(OPENED, calls, sent, [reset], rule="unread-data")
    assert "sent 8,000 bytes in 4 calls of send()" in text
    assert "2 calls of recv() of the server returned 2,048 bytes" in text
    assert "with 5,952 bytes unread" in text


def test_a_half_close_that_is_a_whole_one():
    shut, closed = did(10, 0.1, "shutdown", flags="SHUT_WR"), did(10.5, 0.1, "close")
    fin = frame(10.05, flags=FIN | ACK, ack=1)
    (text,) = notes(OPENED, [shut, closed, fin], rule="half-close")
    assert "still reads" not in text
    assert "closed the socket 0.50 ms later without reading again" in text
    theirs = frame(5, flags=FIN | ACK, back=True, ack=1)
    assert not notes(OPENED, [theirs, shut, closed, fin], rule="half-close")


def test_back_off_is_of_time_outs():
    chain = [
        *lost(5, "--drop data", 5, length=10, ack=1),
        *lost(205, "--drop data", 6, length=10, ack=1),
        frame(605, length=10, ack=1),
    ]
    (text,) = notes(OPENED, [SENDS], chain, rule="back-off")
    assert "(200 ms, 400 ms, ...)" in text
    missing = frame(20, ack=1, back=True, sacks=((11, 12),))
    soon = [
        *lost(5, "--drop data", 5, length=10, ack=1),
        *lost(25, "--drop data", 6, length=10, ack=1),
        frame(605, length=10, ack=1),
    ]
    assert not notes(OPENED, [SENDS, missing], soon, rule="back-off")


# links


def test_the_nearest_end_of_a_program_sent_the_fin():
    fin = frame(50, flags=FIN | ACK, back=True, ack=1)
    calls = [did(5, 0.1, "recv", "in", 0, host="server", process=n, error="EAGAIN") for n in (1, 2)]
    ends = [Process(-1, at * MS, "server", process=n, status=0) for at, n in ((51, 2), (900, 1))]
    sent = [s for kind, s, t in links(OPENED, [fin], calls, ends) if kind == "sent"]
    assert [(s.process, s.at) for s in sent] == [(2, 51 * MS)]


def test_a_new_connection_wakes_epoll():
    text = (
        "7 0.000000000 listen(3<TCP:[0.0.0.0:12000]>, 5) = 0 <0.000010000>\n"
        "7 0.000100000 epoll_ctl(4<anon_inode:[eventpoll]>, EPOLL_CTL_ADD, 3<TCP:[0.0.0.0:12000]>,"
        " {events=EPOLLIN, data=0x3}) = 0 <0.000010000>\n"
        "7 0.000200000 epoll_wait(4<anon_inode:[eventpoll]>, [{events=EPOLLIN, data=0x3}], 10, -1)"
        " = 1 <0.003000000>\n"
    ).replace("data=0x3", "data={u32=3, u64=3}")
    seen = read_strace(text, HOSTS[1], HOSTS).calls
    (poll,) = [c for c in seen if c.name == "epoll_wait"]
    assert poll.local == ("0.0.0.0", 12000)
    assert len(poll.watched_sockets) == 1
    woke = [(s, t) for kind, s, t in links(OPENED, seen) if kind == "woke"]
    assert [(s.at, t.name) for s, t in woke] == [(2 * MS, "epoll_wait")]
