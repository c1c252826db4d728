"""The exchange of one TCP connection, as sequence diagrams: what arrives, what it decides."""

import pytest

from stretta.services import whole_characters
from stretta.tcp.exchange import Decision, Exchange
from stretta.tcp.framing import LineFraming, StreamFraming

EOF = object()


class Playbook:
    """Plays events to an exchange, and checks each decision.

    ``>> data`` receives bytes or EOF, ``<< decision`` expects the next decision, and ``reply``
    gives the service's reply and expects the bytes to send.
    """

    def __init__(self, framing):
        self.exchange = Exchange(framing)

    def __rshift__(self, data):
        if data is EOF:
            self.exchange.receive_eof()
        else:
            self.exchange.receive_data(data)
        return self

    def __lshift__(self, decision):
        assert self.exchange.next_decision() == decision
        return self

    def reply(self, data, sent):
        assert self.exchange.reply(data) == sent
        return self


def lines():
    return Playbook(LineFraming(5))


def stream():
    return Playbook(StreamFraming(whole_characters))


def test_a_request_and_its_reply():
    play = stream() << Decision.READ
    play >> b"ciao" << b"ciao" << Decision.WAIT
    play.reply(b"CIAO", b"CIAO") << Decision.READ
    assert play.exchange.is_empty


def test_requests_are_answered_one_at_a_time_and_in_order():
    play = lines() >> b"uno\ndue\r\n" << b"uno" << Decision.WAIT
    play.reply(b"UNO", b"UNO\n") << b"due"
    assert not play.exchange.is_empty
    play.reply(b"DUE", b"DUE\r\n") << Decision.READ


def test_data_that_arrives_while_the_service_works_waits():
    play = lines() >> b"uno\n" << b"uno"
    play >> b"due\n" << Decision.WAIT
    play.reply(b"", b"\n") << b"due"


def test_eof_closes_after_everything_is_answered():
    play = lines() >> b"uno\ndue" << b"uno" >> EOF << Decision.WAIT
    play.reply(b"UNO", b"UNO\n") << b"due"
    play.reply(b"DUE", b"DUE") << Decision.CLOSE << Decision.CLOSE


def test_eof_alone_closes():
    stream() >> EOF << Decision.CLOSE


def test_a_character_that_eof_cuts_is_a_request():
    play = stream() >> b"\xc3" << Decision.READ
    assert not play.exchange.is_empty
    play >> EOF << b"\xc3"
    play.reply(b"\xc3", b"\xc3") << Decision.CLOSE


def test_no_reply_sends_nothing_not_even_the_end_of_the_line():
    play = lines() >> b"uno\ndue\n" << b"uno"
    play.reply(None, b"") << b"due"
    play.reply(b"", b"\n") << Decision.READ


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_line_that_is_too_long_is_refused_after_the_lines_before_it(end):
    play = lines() >> b"uno\n123456" + end << b"uno"
    play.reply(b"UNO", b"UNO\n") << Decision.REFUSE << Decision.READ
    assert play.exchange.refusal == "a line is longer than 5 bytes"


def test_after_a_refusal_nothing_is_answered_and_nothing_kept():
    play = lines() >> b"123456" << Decision.REFUSE
    play >> b"uno\n" << Decision.READ >> EOF << Decision.READ
    assert not play.exchange.is_empty
    assert bytes(play.exchange._framing._data) == b"123456"
