"""The route of a request over real sockets: redirects, proxies, TLS, several addresses."""

import asyncio
import io
import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta

import pytest
import trustme

from canned import HELLO, canned, read_request
from stretta import http
from stretta.errors import InvalidReply, NetworkError, ReplyEndedEarly, UsageError
from stretta.http.client.proxy import proxy_for
from stretta.http.message.url import parse_url
from stretta.options.http_client import HttpClientLimits, HttpPatience, HttpRoute
from stretta.reports import Connecting, LookedUp, NotReached
from support import PATIENCE, free_port, naive_tcp_server

BOTH = pytest.mark.parametrize(
    "get", [http.get, lambda *words, **options: asyncio.run(http.get_async(*words, **options))]
)


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def move(status, place):
    return b"HTTP/1.1 %d Moved\r\nContent-Length: 0\r\nLocation: %b\r\n\r\n" % (status, place)


# redirects


@BOTH
def test_redirects_are_followed_with_follow_and_kept_in_the_history(get):
    with canned(move(301, b"/a"), move(302, b"b?c"), HELLO, keep=True) as server:
        assert get(server.url).status == 301
        server.requests.clear()
        response = get(server.url, follow=True)
    assert response.text == "ciao"
    assert [earlier.status for earlier in response.history] == [301, 302]
    assert [request.split()[1] for request in server.requests] == [b"/", b"/a", b"/b?c"]


@BOTH
@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 9\r\n\r\nx",
        b"Content-Length: 999999999\r\n\r\nx",
        b"A: b\r\n\r\nx",
        b"Transfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n\r\n1\r\nx\r\n",
    ],
)
def test_the_endless_body_of_a_redirect_is_not_read(get, body, monkeypatch):
    monkeypatch.setattr("stretta.http.client.request_sender.MAX_DRAIN_TIME", 0.05)

    def redirect(connection):
        connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: /x\r\n" + body)
        connection.recv(1)  # until the client has closed

    with canned(redirect, HELLO) as server:
        response = get(server.url, follow=True)
    assert (response.text, response.history[0].status) == ("ciao", 302)


@BOTH
def test_a_redirect_loop_is_an_error(get):
    with canned(move(302, b"/")) as server, pytest.raises(InvalidReply, match="too many redirects"):
        get(server.url, follow=True, limits=HttpClientLimits(max_redirects=3))
    assert len(server.requests) == 4


def test_a_redirected_body_is_sent_again_from_a_file_and_not_from_a_pipe():
    class Pipe(io.BytesIO):
        def seekable(self):
            return False

    with canned(move(307, b"/y"), HELLO) as server, http.Client(follow=True) as client:
        file = io.BytesIO(b"xxciao")
        file.seek(2)
        assert client.request("PUT", server.url, body=file).status == 200
        with pytest.raises(UsageError, match="second time"):
            server.requests.clear()
            client.request("PUT", server.url, body=Pipe(b"ciao"))
    assert b"Transfer-Encoding: chunked" in server.requests[0]


def test_a_body_from_a_socket_is_sent_in_chunks():
    received = []

    def serve(connection):
        data = b""
        while not data.endswith(b"0\r\n\r\n"):
            data += connection.recv(1 << 20)
        received.append(data)
        connection.sendall(HELLO)

    ours, theirs = socket.socketpair()
    with naive_tcp_server(serve) as port, ours, theirs, http.Client() as client:
        ours.sendall(b"ciao")
        ours.shutdown(socket.SHUT_WR)
        with theirs.makefile("rb") as body:
            client.request("POST", f"http://127.0.0.1:{port}/", body=body)
    assert received[0].endswith(b"Transfer-Encoding: chunked\r\n\r\n4\r\nciao\r\n0\r\n\r\n")


# proxies


@BOTH
def test_a_proxy_gets_the_whole_url_and_its_own_credentials(get):
    with canned(HELLO) as proxy:
        route = HttpRoute(proxy=proxy.url.replace("//", "//anna:a%3Ab@"))
        assert get("http://u:p@example.invalid:81/x?y", route=route).text == "ciao"
    lines = proxy.requests[0].split(b"\r\n")
    assert lines[:2] == [b"GET http://example.invalid:81/x?y HTTP/1.1", b"Host: example.invalid:81"]
    assert b"Proxy-Authorization: Basic YW5uYTphOmI=" in lines
    assert b"Authorization: Basic dTpw" in lines


@pytest.mark.parametrize(
    ("url", "environ", "proxy"),
    [
        ("http://a.example/", {"http_proxy": "p:1"}, "http://p:1/"),
        ("http://a.example/", {"HTTP_PROXY": "p:1"}, "http://p:1/"),
        ("http://a.example/", {"HTTP_PROXY": "p:1", "REQUEST_METHOD": "GET"}, None),
        ("https://a.example/", {"http_proxy": "p:1"}, None),
        ("https://a.example/", {"HTTPS_PROXY": "p:1"}, "http://p:1/"),
        ("http://a.example/", {"ALL_PROXY": "p:1"}, "http://p:1/"),
        ("http://a.example/", {"http_proxy": "p:1", "NO_PROXY": "*"}, None),
        ("http://a.example/", {"http_proxy": "p:1", "no_proxy": "b, .example"}, None),
        ("http://a.example/", {"http_proxy": "p:1", "no_proxy": "example"}, None),
        ("http://an.example/", {"http_proxy": "p:1", "no_proxy": "n.example"}, "http://p:1/"),
        ("http://a.example:8/", {"http_proxy": "p:1", "no_proxy": "a.example:8"}, None),
        ("http://a.example/", {"http_proxy": "p:1", "no_proxy": "a.example:8"}, "http://p:1/"),
        ("http://10.1.2.3/", {"http_proxy": "p:1", "no_proxy": "10.0.0.0/8"}, None),
        ("http://[::1]/", {"http_proxy": "p:1", "no_proxy": "::1"}, None),
    ],
)
def test_the_proxy_from_the_environment(url, environ, proxy):
    found = proxy_for(parse_url(url), None, environ)
    assert (None if found is None else str(found)) == proxy
    assert proxy_for(parse_url(url), "", environ) is None


def test_an_unusable_proxy_is_an_error():
    with pytest.raises(UsageError, match="cannot use the proxy"):
        http.get("http://a.example/", route=HttpRoute(proxy="socks5://127.0.0.1:1"))


# TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    ca = trustme.CA()
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    return ca, str(path)


@contextmanager
def tls_server(cert, answer=HELLO, requests=None):
    """Answer every request over TLS, and append it to ``requests``; yields the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    cert.configure_cert(context)

    def serve(connection):
        with context.wrap_socket(connection, server_side=True) as tls:
            while request := read_request(tls):
                if requests is not None:
                    requests.append(request)
                if callable(answer):
                    answer(tls)
                    return
                tls.sendall(answer)

    with naive_tcp_server(serve) as port:
        yield port


@BOTH
def test_a_trusted_server_is_accepted(get, authority):
    ca, path = authority
    with tls_server(ca.issue_cert("localhost")) as port:
        response = get(f"https://localhost:{port}/", route=HttpRoute(tls_ca=path))
    assert response.text == "ciao"
    assert response.phases.connected < response.phases.secured <= response.phases.sent


@BOTH
@pytest.mark.parametrize(
    ("names", "why"),
    [("other.example", "another name"), ("localhost", "not trusted")],
)
def test_a_server_with_the_wrong_certificate_is_refused(get, authority, names, why):
    ca, path = authority
    route = HttpRoute(tls_ca=path if names != "localhost" else None)
    with tls_server(ca.issue_cert(names)) as port, pytest.raises(NetworkError, match=why):
        get(f"https://localhost:{port}/", route=route)


def test_insecure_accepts_any_certificate(authority):
    ca, _ = authority
    with tls_server(ca.issue_cert("other.example")) as port:
        response = http.get(f"https://localhost:{port}/", route=HttpRoute(insecure=True))
    assert response.text == "ciao"


def test_a_server_without_tls_is_an_error():
    def answer(connection):
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with naive_tcp_server(answer) as port, pytest.raises(NetworkError, match="does not speak TLS"):
        http.get(f"https://127.0.0.1:{port}/", patience=HttpPatience(timeout=PATIENCE))


@BOTH
@pytest.mark.parametrize(("framing", "whole"), [(b"Content-Length: 4", True), (b"A: b", False)])
def test_a_missing_close_notify_matters_only_where_the_end_is_the_framing(
    get, authority, framing, whole
):
    ca, path = authority

    def cut(tls):
        tls.sendall(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\nciao")
        socket.socket(fileno=tls.detach()).close()

    with tls_server(ca.issue_cert("localhost"), cut) as port:
        url, route = f"https://localhost:{port}/", HttpRoute(tls_ca=path)
        if whole:
            assert get(url, route=route).text == "ciao"
        else:
            with pytest.raises(ReplyEndedEarly, match="cut off"):
                get(url, route=route)


def test_a_tls_connection_is_reused(authority):
    ca, path = authority
    with (
        tls_server(ca.issue_cert("localhost")) as port,
        http.Client(route=HttpRoute(tls_ca=path)) as client,
    ):
        first, second = (client.get(f"https://localhost:{port}/") for _ in range(2))
    assert first.phases.secured is not None
    assert second.phases.connected is None


@BOTH
def test_tls_through_the_tunnel_of_a_proxy(get, authority):
    ca, path = authority
    asked = []

    def relay(connection):
        asked.append(read_request(connection))
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with socket.create_connection(("127.0.0.1", port)) as upstream:
            back = threading.Thread(target=pump, args=(upstream, connection))
            back.start()
            pump(connection, upstream)
            back.join(PATIENCE)

    def pump(source, sink):
        while data := source.recv(65536):
            sink.sendall(data)
        with suppress(OSError):  # it has gone already
            sink.shutdown(socket.SHUT_WR)

    requests = []
    cert = ca.issue_cert("far.example")
    with tls_server(cert, requests=requests) as port, naive_tcp_server(relay) as proxy:
        route = HttpRoute(tls_ca=path, proxy=f"http://127.0.0.1:{proxy}")
        assert get("https://far.example/x", route=route).text == "ciao"
    assert asked[0].startswith(b"CONNECT far.example:443 HTTP/1.1\r\nHost: far.example:443\r\n")
    assert b"/x" not in asked[0]
    assert requests[0].startswith(b"GET /x HTTP/1.1\r\nHost: far.example\r\n")


def test_a_complete_response_over_tls_ends_the_sending_of_an_unread_request(authority):
    ca, path = authority
    over = threading.Event()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)

    def serve(connection):
        with context.wrap_socket(connection, server_side=True) as tls:
            tls.recv(1000)
            tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nciao")
            socket.socket.shutdown(tls, socket.SHUT_WR)
            over.wait(PATIENCE)

    with (
        naive_tcp_server(serve) as port,
        http.Client(route=HttpRoute(tls_ca=path)) as client,
    ):
        try:
            url = f"https://localhost:{port}/"
            assert client.request("POST", url, body=bytes(50_000_000)).text == "ciao"
        finally:
            over.set()


def test_large_bodies_in_both_directions_over_tls(authority):
    ca, path = authority
    body = bytes(range(256)) * 20_000
    route = HttpRoute(tls_ca=path)

    async def ask(url):
        async with http.AsyncClient(route=route) as client:
            return await client.request("PUT", url, body=body)

    def echo(tls):
        tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    with tls_server(ca.issue_cert("localhost"), echo) as port:
        url = f"https://localhost:{port}/"
        with http.Client(route=route) as client:
            assert client.request("PUT", url, body=body).body == body
        assert asyncio.run(ask(url)).body == body


def test_the_error_names_an_expired_certificate(authority):
    ca, path = authority
    past = datetime(2020, 1, 1, tzinfo=UTC)
    cert = ca.issue_cert("localhost", not_before=past, not_after=past + timedelta(days=1))
    with tls_server(cert) as port, pytest.raises(NetworkError, match="expired"):
        http.get(f"https://localhost:{port}/", route=HttpRoute(tls_ca=path))


def test_a_proxy_that_refuses_a_tunnel_is_an_error():
    with canned(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n") as proxy:
        with pytest.raises(NetworkError, match=r"answered 407 .* --proxy http://USER:PASSWORD"):
            http.get("https://far.example/", route=HttpRoute(proxy=proxy.url))


# addresses


def test_every_address_of_a_name_is_tried_and_reported(monkeypatch):
    reports = []
    with canned(HELLO) as server:
        both = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.2", server.port)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port)),
        ]
        real = socket.getaddrinfo

        def look_up(host, *words, **options):
            if options.get("flags", 0) & socket.AI_NUMERICHOST:
                return real(host, *words, **options)
            return both

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        with http.Client(watch=reports.append) as client:
            assert client.get(f"http://two.example:{server.port}/").text == "ciao"
    looked_up, first, failed, second = reports[:4]
    assert isinstance(looked_up, LookedUp)
    assert looked_up.addresses == ["127.0.0.2", "127.0.0.1"]
    assert [type(one) for one in (first, failed, second)] == [Connecting, NotReached, Connecting]
    assert (first.server.host, second.server.host) == ("127.0.0.2", "127.0.0.1")


@BOTH
def test_an_address_can_be_given_for_a_name(get):
    with canned(HELLO) as server:
        route = HttpRoute(resolve=(f"far.example:{server.port}:127.0.0.1",))
        assert get(f"http://far.example:{server.port}/", route=route).text == "ciao"
    assert f"Host: far.example:{server.port}".encode() in server.requests[0]


def test_a_family_can_be_chosen():
    with canned(HELLO) as server, http.Client(family=socket.AF_INET6) as client:
        with pytest.raises(NetworkError):
            client.get(server.url)
    with http.Client(family=socket.AF_INET) as client, pytest.raises(NetworkError):
        client.get(f"http://[::1]:{free_port()}/")


def test_an_international_name_can_be_given_an_address():
    with canned(HELLO) as server:
        route = HttpRoute(resolve=(f"Perché.example:{server.port}:127.0.0.1",))
        assert http.get(f"http://perché.example:{server.port}/", route=route).text == "ciao"


def test_a_bad_resolution_is_refused():
    with pytest.raises(UsageError, match="--resolve"):
        http.Client(route=HttpRoute(resolve=("nonsense",)))
