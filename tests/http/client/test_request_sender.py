"""Sending requests over a scripted network: reuse, retries, redirects; no sockets."""

import gzip
import io

import pytest

from scripted_network import BREAK, END, IDLE, RECEIVE, SEND, ScriptedNetwork, fetch, sender
from stretta.errors import InvalidReply, NetworkError, ReplyEndedEarly, TimedOut, UsageError
from stretta.http.client.blocking import make_request
from stretta.http.client.reports import Redirected, Reusing
from stretta.http.client.retry import Attempt, is_retried, not_retried
from stretta.net.client.channel.interface import run_now
from stretta.options.http_client import HttpClientLimits, HttpPatience, HttpRoute

HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nciao"
OK = (200, b"ciao")
URL = "http://a.example/"


def moved(location, status=302, body=b""):
    head = b"HTTP/1.1 %d M\r\nLocation: %b\r\nContent-Length: %d\r\n\r\n"
    return head % (status, location, len(body)) + body


def request(method="GET", url=URL, headers=(), body=b"", **options):
    return make_request(method, url, headers, body, **options)


# reuse


def test_a_connection_is_reused_after_a_complete_response():
    reports = []
    network = ScriptedNetwork([[SEND(b"GET / "), RECEIVE(HELLO), IDLE, SEND(b"POST / "),
                                RECEIVE(HELLO), IDLE]])  # fmt: skip
    subject = sender(network, watch=reports.append)
    assert fetch(subject, request()) == OK
    assert len(subject.pool) == 1
    assert fetch(subject, request("POST", body=b"x")) == OK
    assert network.finished()
    assert network.log == ["open 1 to a.example:80"]
    assert [type(report) for report in reports].count(Reusing) == 1
    subject.close()
    assert network.log[-1] == "close 1"


@pytest.mark.parametrize(
    ("words", "reply"),
    [
        ({}, b"HTTP/1.1 200 OK\r\n\r\nciao"),
        ({}, HELLO + b"x"),
        ({}, HELLO.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")),
        ({}, HELLO.replace(b"1.1", b"1.0")),
        ({"version": "1.0"}, HELLO),
        ({"headers": {"Connection": "close"}}, HELLO),
        ({"headers": {"Connection": "x, Close"}}, HELLO),
    ],
)
def test_a_connection_is_closed_when_either_side_wants_it(words, reply):
    network = ScriptedNetwork([[SEND(b"GET / "), RECEIVE(reply), END]])
    subject = sender(network)
    assert fetch(subject, request(**words)) == OK
    assert network.log[-1] == "close 1"
    assert len(subject.pool) == 0


def test_a_connection_whose_request_was_not_sent_completely_is_not_reused():
    body = bytes(200_000)
    network = ScriptedNetwork([[SEND(b"PUT / "), SEND(b"\0", size=10), RECEIVE(HELLO)]])
    subject = sender(network)
    assert fetch(subject, request("PUT", body=body)) == OK
    assert network.log[-1] == "close 1"


def test_an_early_reply_while_sending_is_kept_until_it_is_read():
    head, rest = HELLO[:-2], HELLO[-2:]
    body = bytes(200_000)
    network = ScriptedNetwork([[SEND(b"PUT / "), SEND(b"\0", size=10), RECEIVE(head),
                                SEND(b"\0"), RECEIVE(rest), IDLE]])  # fmt: skip
    subject = sender(network)
    assert fetch(subject, request("PUT", body=body)) == OK
    assert len(network.channels[0].sent) > len(body)
    assert len(subject.pool) == 1


def test_an_error_response_ends_the_sending():
    refused = b"HTTP/1.1 413 Large\r\nContent-Length: 2\r\n\r\n"
    network = ScriptedNetwork([[SEND(b"PUT / "), SEND(b"\0", size=10), RECEIVE(refused),
                                RECEIVE(b"no")]])  # fmt: skip
    assert fetch(sender(network), request("PUT", body=bytes(200_000))) == (413, b"no")
    assert network.log[-1] == "close 1"


def test_an_interim_response_does_not_end_the_sending():
    interim = b"HTTP/1.1 103 Early\r\n\r\n"
    network = ScriptedNetwork([[SEND(b"PUT / "), SEND(b"\0", size=10), RECEIVE(interim),
                                SEND(b"\0"), RECEIVE(HELLO), IDLE]])  # fmt: skip
    assert fetch(sender(network), request("PUT", body=bytes(200_000))) == OK


@pytest.mark.parametrize("waiting", [RECEIVE(b"x"), END, BREAK])
def test_a_connection_that_is_not_quiet_is_closed_and_replaced(waiting):
    network = ScriptedNetwork([[SEND(b"GET / "), RECEIVE(HELLO), waiting],
                               [SEND(b"GET / "), RECEIVE(HELLO)]])  # fmt: skip
    subject = sender(network)
    assert [fetch(subject, request()) for _ in range(2)] == [OK, OK]
    assert network.log == ["open 1 to a.example:80", "close 1", "open 2 to a.example:80"]


def test_a_response_that_is_given_up_closes_its_connection():
    network = ScriptedNetwork([[SEND(b"GET / "), RECEIVE(HELLO)]])
    subject = sender(network)
    exchange = run_now(subject.send(request()))
    exchange.abort()
    exchange.abort()
    assert network.log == ["open 1 to a.example:80", "close 1"]
    assert run_now(exchange.read()) in (b"", b"ciao")


def test_a_connection_that_ends_after_its_client_was_closed_is_closed():
    network = ScriptedNetwork([[SEND(b"GET / "), RECEIVE(HELLO), IDLE]])
    subject = sender(network)
    exchange = run_now(subject.send(request()))
    subject.close()
    assert network.log == ["open 1 to a.example:80"]
    while run_now(exchange.read()):
        pass
    assert network.log[-1] == "close 1"
    assert len(subject.pool) == 0


def test_a_response_without_body_that_is_given_up_keeps_its_connection():
    network = ScriptedNetwork([[SEND(b"GET / "), RECEIVE(b"HTTP/1.1 204 No\r\n\r\n")]])
    subject = sender(network)
    run_now(subject.send(request())).abort()
    assert len(subject.pool) == 1


# retries


def again(method, first, second=(), **words):
    """Send a second request over a connection whose script goes on with ``first``."""
    network = ScriptedNetwork([[SEND(b"GET / "), RECEIVE(HELLO), IDLE, *first], list(second)])
    subject = sender(network)
    assert fetch(subject, request()) == OK
    return network, lambda: fetch(subject, request(method, **words))


@pytest.mark.parametrize("method", ["GET", "OPTIONS", "TRACE", "PUT", "DELETE"])
@pytest.mark.parametrize("failure", [END, BREAK])
def test_an_idempotent_request_without_a_reply_is_sent_again_once(method, failure):
    line = method.encode()
    network, send = again(method, [SEND(line), failure], [SEND(line), RECEIVE(HELLO), IDLE])
    assert send() == OK
    assert network.finished()
    assert network.log == ["open 1 to a.example:80", "close 1", "open 2 to a.example:80"]


@pytest.mark.parametrize("failure", [END, BREAK])
def test_a_request_that_fails_on_a_new_connection_is_not_sent_again(failure):
    network, send = again("GET", [SEND(b"GET"), failure], [SEND(b"GET"), failure])
    with pytest.raises((NetworkError, InvalidReply)):
        send()
    assert network.log[-1] == "close 2"
    fresh = ScriptedNetwork([[SEND(b"GET"), failure]])
    with pytest.raises((NetworkError, InvalidReply)):
        fetch(sender(fresh), request())
    assert fresh.log == ["open 1 to a.example:80", "close 1"]


@pytest.mark.parametrize("method", ["POST", "PATCH", "CUSTOM"])
@pytest.mark.parametrize("failure", [END, BREAK])
def test_a_request_that_is_not_idempotent_is_not_sent_again(method, failure):
    network, send = again(method, [SEND(method.encode()), failure])
    with pytest.raises(NetworkError, match="may have carried out the request") as caught:
        send()
    assert method in caught.value.what
    assert caught.value.hint
    assert len(network.channels) == 1


def test_any_request_of_which_nothing_was_sent_is_sent_again():
    network, send = again("POST", [BREAK], [SEND(b"POST"), RECEIVE(HELLO), IDLE], body=b"x")
    network.channels[0].is_quiet = lambda: True  # it breaks after the check
    assert send() == OK


@pytest.mark.parametrize("first", [b"H", b"HTTP/1.1 100 Continue\r\n\r\n", HELLO[:20]])
@pytest.mark.parametrize("failure", [END, BREAK])
def test_no_request_is_sent_again_once_a_byte_of_a_reply_came(first, failure):
    network, send = again("GET", [SEND(b"GET"), RECEIVE(first), failure])
    with pytest.raises(ReplyEndedEarly):
        send()
    assert len(network.channels) == 1


def test_a_head_request_is_sent_again():
    _, send = again("HEAD", [SEND(b"HEAD"), END], [SEND(b"HEAD"), RECEIVE(HELLO[:-4]), IDLE])
    assert send() == (200, b"")


def test_no_request_is_sent_again_after_a_reply_that_is_not_valid():
    network, send = again("GET", [SEND(b"GET"), RECEIVE(b"220 mail\r\n")])
    with pytest.raises(InvalidReply, match="not valid HTTP"):
        send()
    assert len(network.channels) == 1


def test_a_time_out_is_not_retried():
    network, send = again("GET", [SEND(b"GET")])
    channel = network.channels[0]

    async def receive(timer):
        network.now += 1000
        timer.left()
        raise timer.expired()

    channel.receive = receive
    with pytest.raises(TimedOut):
        send()
    assert network.log[-1] == "close 1"


def test_a_file_is_sent_again_from_where_it_began():
    file = io.BytesIO(b"xxciao")
    file.seek(2)
    network, send = again("PUT", [SEND(b"PUT"), SEND(b"ciao"), BREAK],
                          [SEND(b"PUT"), SEND(b"ciao"), RECEIVE(HELLO)], body=file)  # fmt: skip
    assert send() == OK
    assert network.finished()


def test_a_body_that_can_be_read_once_takes_a_new_connection():
    class Pipe(io.BytesIO):
        def seekable(self):
            return False

    network, send = again("PUT", [], [SEND(b"PUT"), SEND(b"4\r\nciao"), SEND(b"0\r\n\r\n"),
                                      RECEIVE(HELLO)], body=Pipe(b"ciao"))  # fmt: skip
    assert send() == OK
    assert len(network.channels) == 2


def test_the_decision_to_retry_and_the_error_otherwise():
    error = NetworkError("it broke", "reset")
    heard = Attempt("POST", reused=True, bytes_sent=9, reply_began=False)
    assert not is_retried(heard)
    assert not is_retried(Attempt("GET", reused=False, bytes_sent=9, reply_began=False))
    assert not is_retried(Attempt("GET", reused=False, bytes_sent=0, reply_began=False))
    assert not_retried(heard, error) is not error
    for harmless in (
        heard._replace(method="GET"), heard._replace(bytes_sent=0), heard._replace(reply_began=True)
    ):  # fmt: skip
        assert not_retried(harmless, error) is error


# redirects


def test_a_redirect_is_followed_over_the_same_connection():
    reports = []
    network = ScriptedNetwork([[SEND(b"GET / "), RECEIVE(moved(b"/x", body=b"moved")), IDLE,
                                SEND(b"GET /x "), RECEIVE(HELLO), IDLE]])  # fmt: skip
    subject = sender(network, follow=True, watch=reports.append)
    exchange = run_now(subject.send(request()))
    assert [one.head.status for one in exchange.history] == [302]
    assert [str(one) for one in reports if isinstance(one, Redirected)] == [
        "Redirected (302) to http://a.example/x"
    ]
    assert network.log == ["open 1 to a.example:80"]


def test_a_redirect_is_not_followed_without_follow():
    network = ScriptedNetwork([[SEND(b"GET / "), RECEIVE(moved(b"/x"))]])
    assert fetch(sender(network), request()) == (302, b"")


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_the_limit_of_redirects(limit):
    steps = [step for _ in range(limit + 1)
             for step in (SEND(b"GET / "), RECEIVE(moved(b"/")), IDLE)]  # fmt: skip
    allowed = ScriptedNetwork([[*steps[:-3], SEND(b"GET / "), RECEIVE(HELLO), IDLE]])
    limits = HttpClientLimits(max_redirects=limit)
    assert fetch(sender(allowed, follow=True, limits=limits), request()) == OK
    network = ScriptedNetwork([steps])
    with pytest.raises(InvalidReply, match=f"after {limit} another one leads to {URL}"):
        fetch(sender(network, follow=True, limits=limits), request())


def test_a_refused_redirect_closes_its_connection():
    network = ScriptedNetwork([[SEND(b"GET / "), RECEIVE(moved(b"ftp://b/", body=b"x" * 9))]])
    with pytest.raises(InvalidReply, match="is not followed"):
        fetch(sender(network, follow=True), request())
    assert network.log[-1] == "close 1"


@pytest.mark.parametrize(
    ("size", "framing", "kept"),
    [
        (64 * 1024, b"Content-Length: %d", True),
        (64 * 1024 + 1, b"Content-Length: %d", False),
        (5, b"X: %d", False),
    ],
)
def test_the_body_of_a_redirect_is_read_only_if_it_is_short(size, framing, kept):
    head = b"HTTP/1.1 302 F\r\nLocation: /x\r\n" + framing % size + b"\r\n\r\n"
    first = [SEND(b"GET / "), RECEIVE(head)]
    target = [SEND(b"GET /x "), RECEIVE(HELLO), IDLE]
    if kept:
        network = ScriptedNetwork([[*first, RECEIVE(bytes(size)), IDLE, *target]])
    else:
        network = ScriptedNetwork([first, target])
    assert fetch(sender(network, follow=True), request()) == OK
    assert len(network.channels) == (1 if kept else 2)
    assert network.finished()


def test_the_body_of_a_redirect_is_read_for_a_second_at_most():
    head = b"HTTP/1.1 302 F\r\nLocation: /x\r\nContent-Length: 9\r\n\r\n"
    network = ScriptedNetwork([[SEND(b"GET / "), RECEIVE(head), *[RECEIVE(b"x")] * 8],
                               [SEND(b"GET /x "), RECEIVE(HELLO), IDLE]], delay=0.3)  # fmt: skip
    assert fetch(sender(network, follow=True), request()) == OK
    assert len(network.channels[0].steps) == 4  # it came 0.3, 0.6, 0.9, 1.2 s after the head


def test_a_redirect_of_a_body_that_can_be_read_once_is_an_error():
    class Pipe(io.BytesIO):
        def seekable(self):
            return False

    steps = [SEND(b"PUT"), SEND(b"4\r\nciao"), SEND(b"0\r\n\r\n")]
    network = ScriptedNetwork([[*steps, RECEIVE(moved(b"/x", 307))]])
    with pytest.raises(UsageError, match="a second time"):
        fetch(sender(network, follow=True), request("PUT", body=Pipe(b"ciao")))


def test_credentials_are_not_sent_to_another_origin():
    network = ScriptedNetwork([[SEND(b"GET / "), RECEIVE(moved(b"http://b.example/y"))],
                               [SEND(b"GET /y "), RECEIVE(HELLO), IDLE]])  # fmt: skip
    secret = request(url="http://anna:x@a.example/", headers={"Cookie": "a=b"})
    assert fetch(sender(network, follow=True), secret) == OK
    first, second = (channel.sent.lower() for channel in network.channels)
    assert b"authorization" in first and b"cookie" in first
    assert b"authorization" not in second and b"cookie" not in second


# proxies and limits


def test_a_proxy_gets_the_whole_url_and_its_connection_serves_several_hosts():
    a, b = SEND(b"GET http://a.example/ "), SEND(b"GET http://b.example/ ")
    network = ScriptedNetwork([[a, RECEIVE(HELLO), IDLE, b, RECEIVE(HELLO), IDLE]])
    subject = sender(network, route=HttpRoute(proxy="http://p:8"))
    assert [fetch(subject, request(url=f"http://{name}.example/")) for name in "ab"] == [OK, OK]
    assert network.log == ["open 1 to p:8"]


def test_a_proxy_that_refuses_a_tunnel_ends_the_request():
    network = ScriptedNetwork([[SEND(b"CONNECT a.example:443 "),
                                RECEIVE(b"HTTP/1.1 403 \x1bNo\r\n\r\n")]])  # fmt: skip
    subject = sender(network, route=HttpRoute(proxy="http://p:8"))
    with pytest.raises(NetworkError, match=r"the proxy p:8 answered 403 \\x1bNo"):
        fetch(subject, request(url="https://a.example/"))
    assert network.log[-1] == "close 1"


def test_bytes_after_the_head_of_a_tunnel_are_refused():
    network = ScriptedNetwork([[SEND(b"CONNECT "), RECEIVE(b"HTTP/1.1 200 OK\r\n\r\nx")]])
    subject = sender(network, route=HttpRoute(proxy="http://p:8"))
    with pytest.raises(NetworkError):
        fetch(subject, request(url="https://a.example/"))


@pytest.mark.parametrize(("limit", "fits"), [(4, True), (3, False)])
def test_the_largest_body(limit, fits):
    network = ScriptedNetwork([[SEND(b"GET / "), RECEIVE(HELLO), IDLE]])
    subject = sender(network, limits=HttpClientLimits(max_size=limit))
    if fits:
        assert fetch(subject, request()) == OK
    else:
        with pytest.raises(ReplyEndedEarly, match="4 bytes arrived, and 3 is the limit"):
            fetch(subject, request())
        assert network.log[-1] == "close 1"


def test_the_time_limit_covers_all_redirects():
    steps = [step for _ in range(9) for step in (SEND(b"GET / "), RECEIVE(moved(b"/")), IDLE)]
    network = ScriptedNetwork([steps], delay=1.0)
    with pytest.raises(TimedOut, match="longer than 3 s"):
        fetch(sender(network, follow=True, patience=HttpPatience(timeout=3.0)), request())
    assert network.log[-1] == "close 1"


def test_the_time_limit_covers_data_that_arrives_without_waiting():
    head = b"HTTP/1.1 200 OK\r\n\r\n"
    network = ScriptedNetwork([[SEND(b"GET / "), RECEIVE(head), *[RECEIVE(b"x")] * 9]])
    exchange = run_now(sender(network, patience=HttpPatience(timeout=3.0)).send(request()))
    with pytest.raises(TimedOut, match="longer than 3 s"):
        while run_now(exchange.read()):
            network.now += 1.0
    assert network.now == 3.0
    assert network.log[-1] == "close 1"


def test_the_time_limit_covers_decoding():
    coded = gzip.compress(bytes(2_000_000), mtime=0)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n"
    network = ScriptedNetwork([[SEND(b"GET / "), RECEIVE(head + coded)]])
    exchange = run_now(sender(network, patience=HttpPatience(timeout=3.0)).send(request()))
    assert len(run_now(exchange.read())) < 1_000_000
    network.now += 4.0
    with pytest.raises(TimedOut):
        run_now(exchange.read())


def test_the_time_limit_covers_sending():
    steps = [SEND(b"PUT / ")] + [SEND(b"\0")] * 50
    network = ScriptedNetwork([steps], send_delay=1.0)
    file = io.BytesIO(bytes(9_000_000))
    with pytest.raises(TimedOut):
        fetch(sender(network, patience=HttpPatience(timeout=3.0)), request("PUT", body=file))
    assert network.now == 3.0
