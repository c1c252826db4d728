"""The protocol object of a server's HTTP connection, as sequence diagrams."""

import pytest

from playbook import Playbook
from stretta.http.server.protocol import (
    INPUT_TRANSITIONS,
    OUTPUT_TRANSITIONS,
    Closing,
    Event,
    Input,
    Output,
    ServerProtocol,
    Timeout,
)
from stretta.http.server.request import Refused, Request
from stretta.options import HttpLimits

GET = b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n%b\r\n"
LIMITS = HttpLimits(header_timeout=10, body_timeout=20, body_rate=500)


@pytest.fixture
def play():
    playbook = Playbook(ServerProtocol(LIMITS, lambda _: (1000, True)))
    playbook.item = None  # the request that was handed out last
    return playbook


# events


def received(data):
    return lambda play: play.protocol.receive(data)


def end_of_input():
    return lambda play: play.protocol.receive_eof()


def responded(length=0, *, close=False, lingers=False):
    """Start the response to the request that was handed out last."""

    def respond(play):
        asked = play.item.request if isinstance(play.item, Refused) else play.item
        return play.protocol.start_response(asked, length, close=close, lingers=lingers)

    return respond


def written():
    return lambda play: play.protocol.end_response()


def stopped(*, lingers):
    return lambda play: play.protocol.stop(lingers=lingers)


def cached_response_begun():
    return lambda play: play.protocol.resume_cached()


def our_side_shut():
    return lambda play: play.protocol.shut_down()


def blocked():
    return lambda play: setattr(play.protocol, "blocked", True)


def unblocked():
    return lambda play: setattr(play.protocol, "blocked", False)


def ticked(elapsed, quiet=0.0):
    return lambda play: play.protocol.tick(elapsed, quiet)


def started(waited):
    return lambda play: play.protocol.start(waited)


# decisions


def request(path):
    """Ask for the next request: None, a path, or the status of a refusal."""

    def ask(play):
        item = play.protocol.next_request()
        play.item = item or play.item
        found = item.status if isinstance(item, Refused) else item and item.target.decode()
        return path, found

    return ask


def framing(connection, *, chunked=False):
    return lambda play: ((connection, chunked), tuple(play.result[:2]))


def reads():
    return lambda play: (True, play.protocol.reads)


def pauses_reading():
    return lambda play: (False, play.protocol.reads)


def at_rest():
    return lambda play: (True, play.protocol.at_rest)


def active():
    return lambda play: (False, play.protocol.at_rest)


def busy():
    return lambda play: (True, play.protocol.is_busy)


def not_busy():
    return lambda play: (False, play.protocol.is_busy)


def closing(value):
    return lambda play: (value, play.protocol.closing)


def invites_body():
    return lambda play: (True, play.protocol.take_continue())


def invites_nothing():
    return lambda play: (False, play.protocol.take_continue())


def limit(value):
    return lambda play: (value, play.result)


def test_a_request_is_answered_and_the_connection_rests(play):
    play << at_rest() << reads()
    play >> received(GET % b"x") << active() << request("/x") << pauses_reading() << busy()
    play << closing(Closing.KEEP)
    play >> responded(5) << framing("") << pauses_reading() << active()
    play >> written() << request(None) << reads() << at_rest() << not_busy()
    play << closing(Closing.KEEP)


def test_pipelined_requests_are_handed_out_one_at_a_time(play):
    play >> received(GET % b"a" + GET % b"b" + b"GET /c HT") << request("/a") << request(None)
    play >> responded() << request(None) >> written() << pauses_reading() << busy()
    play << request("/b") >> responded() >> written() << request(None) << reads()
    play << active() << not_busy()
    play >> received(b"TP/1.1\r\nHost: a\r\n\r\n") << request("/c")


def test_nothing_is_answered_while_the_peer_does_not_read(play):
    play >> received(GET % b"a") >> blocked() << request(None) << pauses_reading() << active()
    play >> unblocked() << request("/a") >> responded() >> written() << at_rest()


def test_after_a_response_the_peer_may_still_be_blocked(play):
    play >> received(GET % b"a") << request("/a") >> responded() >> blocked() >> written()
    play << request(None) << pauses_reading() << active() << closing(Closing.KEEP)


def test_requests_before_the_end_of_input_are_answered(play):
    play >> received(GET % b"a" + GET % b"b" + b"GET /c") >> end_of_input()
    play << request("/a") << closing(Closing.KEEP)
    play >> responded() >> written() << closing(Closing.KEEP)
    play << request("/b") >> responded() >> written()
    play << request(None) << closing(Closing.CLOSE) << active()


def test_end_of_input_without_a_request_closes(play):
    play >> end_of_input() << closing(Closing.CLOSE)
    play >> end_of_input() << closing(Closing.CLOSE)


def test_data_after_the_end_of_input_is_ignored(play):
    play >> end_of_input() >> received(GET % b"a") << request(None)


def test_the_last_response_closes_and_lingers_for_a_client_that_may_send(play):
    play >> received(GET % b"a" + GET % b"b") << request("/a")
    play >> responded(close=True) << framing("close") << closing(Closing.KEEP)
    play >> written() << request(None) << closing(Closing.LINGER)
    play >> our_side_shut() << reads() << closing(Closing.KEEP)
    play >> received(GET % b"c") << request(None) >> end_of_input() << closing(Closing.KEEP)
    assert play.protocol.input is Input.LINGERING


def test_a_client_that_asks_to_close_is_not_waited_for(play):
    play >> received(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n") << request("/")
    play >> responded(3) << framing("close") >> written() << closing(Closing.CLOSE)


def test_a_refused_request_lingers(play):
    play >> received(b"nonsense\r\n" + GET % b"a") << request(400)
    play >> responded(9, lingers=True) << framing("close") >> written() << request(None)
    play << closing(Closing.LINGER)


def test_the_peer_may_end_its_input_during_the_last_response(play):
    play >> received(GET % b"a") << request("/a") >> responded(close=True) >> end_of_input()
    play >> written() << closing(Closing.LINGER)


def test_http_1_0_is_told_that_the_connection_is_kept(play):
    play >> received(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n") << request("/")
    play >> responded(3) << framing("keep-alive") >> written() << request(None) << at_rest()


def test_a_body_of_unknown_length_is_chunked_in_http_1_1_only(play):
    play >> received(GET % b"a") << request("/a") >> responded(None) << framing("", chunked=True)
    play >> written() << request(None) << closing(Closing.KEEP)
    play >> received(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n") << request("/")
    play >> responded(None) << framing("close") >> written() << closing(Closing.LINGER)


def test_a_client_is_invited_to_send_its_body_once_and_in_its_turn(play):
    expecting = POST % b"Expect: 100-continue\r\n"
    play >> received(GET % b"a" + expecting) << invites_nothing() << request("/a")
    play << invites_nothing() >> responded() >> written() << request(None)
    play << invites_body() << invites_nothing() << busy() << reads()
    play >> received(b"ciao") << request("/p")


def test_the_rest_of_a_cached_response_is_sent_before_further_requests(play):
    play >> cached_response_begun() << pauses_reading() >> received(GET % b"a") << request(None)
    play >> written() << request("/a")


def test_a_cached_response_to_a_closing_request_closes(play):
    play >> cached_response_begun() >> stopped(lingers=False) << closing(Closing.KEEP)
    play >> written() << closing(Closing.CLOSE)


class TestTimeLimits:
    def test_a_head_has_its_time_from_its_first_byte(self, play):
        play >> received(b"GET / HT") << request(None)
        play >> ticked(9.9) << limit(None)
        play >> received(b"TP/1.1\r\n") << request(None)
        play >> ticked(0.1) << limit(Timeout.HEAD)

    def test_the_time_before_the_first_byte_of_a_connection_counts(self, play):
        play >> started(9.0) >> received(b"G") << request(None)
        play >> ticked(0.9) << limit(None) >> ticked(0.1) << limit(Timeout.HEAD)

    def test_a_pipelined_head_has_its_time_from_the_response_before_it(self, play):
        play >> received(GET % b"a" + b"GET /b") >> ticked(9.0) << request("/a")
        play >> ticked(1000.0) << limit(None) >> responded() >> ticked(1000.0) << limit(None)
        play >> written() << request(None) >> ticked(9.9) << limit(None)
        play >> ticked(0.1) << limit(Timeout.HEAD)

    def test_a_handler_has_all_the_time_it_needs(self, play):
        play >> received(GET % b"a") << request("/a") >> ticked(10_000, 10_000) << limit(None)

    def test_a_blocked_peer_is_not_a_late_one(self, play):
        play >> received(b"GET") >> blocked() >> ticked(1000, 1000) << limit(None)
        play >> unblocked() >> ticked(9.9) << limit(None)

    def test_a_body_that_stops(self, play):
        play >> received(POST % b"" + b"ci") << request(None)
        (
            play
            >> ticked(19.9, 19.9)
            << limit(None)
            >> ticked(0.1, 20.0)
            << limit(Timeout.BODY_STOPPED)
        )

    def test_a_body_that_is_too_slow(self, play):
        play >> received(POST % b"" + b"ci") << request(None)
        play >> ticked(19.9, 1.0) << limit(None) >> ticked(0.1, 1.0) << limit(Timeout.BODY_SLOW)

    def test_a_body_that_is_slow_but_fast_enough_goes_on(self):
        protocol = ServerProtocol(LIMITS, lambda _: (100_000, True))
        play = Playbook(protocol)
        play.item = None
        play >> received(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\n")
        play << request(None)
        for _ in range(30):  # exactly 500 bytes a second
            play >> received(bytes(500)) << request(None) >> ticked(1.0) << limit(None)
        play >> ticked(0.1) << limit(Timeout.BODY_SLOW)

    def test_after_the_last_response_the_lifecycle_limits_the_connection(self, play):
        play >> received(GET % b"a") << request("/a") >> responded(close=True) >> written()
        play >> ticked(1000, 1000) << limit(None) >> our_side_shut()
        play >> ticked(1000, 1000) << limit(None)


def test_the_tables_name_every_state_and_event():
    assert {state for state, _ in INPUT_TRANSITIONS} == set(Input)
    assert {state for state, _ in OUTPUT_TRANSITIONS} == set(Output)
    assert {event for _, event in [*INPUT_TRANSITIONS, *OUTPUT_TRANSITIONS]} == set(Event)
    assert set(OUTPUT_TRANSITIONS.values()) == set(Output)


@pytest.mark.parametrize(
    "misuse",
    [
        lambda protocol: protocol.end_response(),
        lambda protocol: protocol.shut_down(),
        lambda protocol: (protocol.resume_cached(), protocol.resume_cached()),
    ],
)
def test_an_impossible_event_is_an_error(play, misuse):
    with pytest.raises(KeyError):
        misuse(play.protocol)


def test_a_request_object_is_handed_out(play):
    play >> received(GET % b"a") << request("/a")
    assert isinstance(play.item, Request)
