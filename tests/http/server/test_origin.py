"""Requests for another server, and requests that pages of other sites send."""

import socket
import ssl

import pytest
from http_raw import Raw

from stretta import http as stretta_http
from stretta.http.server.origin import HostPolicy, is_cross_site, is_private
from stretta.options import ServerTls, SiteOptions
from support import serving


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "file").write_bytes(b"secret")
    return tmp_path


def ask(raw, host, *headers, method="GET", target="/file", body=b""):
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *headers]
    lines += [f"Content-Length: {len(body)}", "", ""]
    raw.send("\r\n".join(lines).encode() + body)
    return raw.answer()


OWN = ["localhost", "LOCALHOST:80", "127.0.0.1", "127.0.0.1:8080", "[::1]:8080", "192.0.2.1",
       "app.localhost", "nas", "localhost.", socket.gethostname()]  # fmt: skip
FOREIGN = ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example",
           "evil.localhost.example", "1.2.3.4.5", "EVIL.EXAMPLE.", "evil.local"]  # fmt: skip


@pytest.mark.parametrize("host", FOREIGN)
def test_a_private_server_does_not_answer_for_another_host(folder, host):
    with serving(stretta_http.serve(folder)) as server:
        with Raw(server.port) as raw:
            got = ask(raw, host)
            assert got.status == 421
            assert b"secret" not in got.body
            assert b"--allow-host" in got.body
            assert b"evil" not in got.body
        with Raw(server.port) as raw:
            assert ask(raw, "localhost", target=f"http://{host}/file").status == 421
        with Raw(server.port) as raw:
            assert ask(raw, host, method="POST", body=b"x").status == 421


@pytest.mark.parametrize("host", OWN)
def test_a_private_server_answers_for_its_own_names(folder, host):
    with serving(stretta_http.serve(folder)) as server, Raw(server.port) as raw:
        for _ in range(2):
            assert ask(raw, host).body == b"secret"
        assert ask(raw, host, target=f"http://{host}/file").body == b"secret"


def test_further_hosts_can_be_allowed(folder):
    options = SiteOptions(allow_host=("Box.example", "*.lan.example"))
    with serving(stretta_http.serve(folder, options=options)) as server, Raw(server.port) as raw:
        assert ask(raw, "box.example:80").status == 200
        assert ask(raw, "a.lan.example").status == 200
        assert ask(raw, "lan.example").status == 421
    with serving(stretta_http.serve(folder, options=SiteOptions(allow_host=("*",)))) as server:
        with Raw(server.port) as raw:
            assert ask(raw, "evil.example").status == 200


def test_http_1_0_needs_no_host(folder):
    with serving(stretta_http.serve(folder)) as server, Raw(server.port) as raw:
        raw.send(b"GET /file HTTP/1.0\r\n\r\n")
        assert raw.answer().body == b"secret"


def test_with_tls_the_certificate_names_the_host(folder, tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.getbasetemp() / "data"))
    with serving(stretta_http.serve(folder, tls=ServerTls(tls=True))) as server:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        plain = socket.create_connection(("127.0.0.1", server.port))
        with context.wrap_socket(plain) as sock:
            sock.sendall(b"GET https://far.example/file HTTP/1.1\r\nHost: far.example\r\n\r\n")
            assert sock.recv(100).startswith(b"HTTP/1.1 200 OK\r\n")


def test_an_https_url_is_refused_without_tls(folder):
    with serving(stretta_http.serve(folder)) as server, Raw(server.port) as raw:
        assert ask(raw, "localhost", target="HTTPS://localhost/file").status == 421


CROSS_SITE = [
    ("Sec-Fetch-Site: cross-site",),
    ("Sec-Fetch-Site: same-site",),
    ("Origin: http://evil.example",),
    ("Origin: null",),
    ("Origin: http://localhost:1",),
    ("Origin: http://localhost", "Sec-Fetch-Site: cross-site"),
]


@pytest.mark.parametrize("headers", CROSS_SITE)
def test_a_page_of_another_site_cannot_post(folder, headers):
    called = []
    with serving(stretta_http.serve(folder, service=called.append)) as server:
        with Raw(server.port) as raw:
            got = ask(raw, "localhost", *headers, method="POST", body=b"x")
            assert (got.status, called) == (403, [])
        with Raw(server.port) as raw:  # reading is for CORS to forbid
            assert ask(raw, "localhost", *headers).status == 200
    options = SiteOptions(cors=True)
    with serving(stretta_http.serve(folder, service=called.append, options=options)) as server:
        with Raw(server.port) as raw:
            assert ask(raw, "localhost", *headers, method="POST", body=b"x").status == 204


@pytest.mark.parametrize(
    "headers",
    [
        (),
        ("Sec-Fetch-Site: same-origin", "Origin: http://other"),
        ("Sec-Fetch-Site: none",),
        ("Origin: http://localhost:80",),
        ("Origin: HTTP://LOCALHOST:80",),
    ],
)
def test_programs_and_the_server_s_own_pages_can_post(folder, headers):
    with serving(stretta_http.serve(folder, service=bytes.upper)) as server:
        with Raw(server.port) as raw:
            got = ask(raw, "localhost:80", *headers, method="POST", body=b"x")
            assert (got.status, got.body) == (200, b"X")


def test_private_addresses():
    private = ["127.0.0.1", "::1", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.0.1",
               "fe80::1%eth0", "fd00::1", "100.64.0.1", "::ffff:10.0.0.1"]  # fmt: skip
    assert all(map(is_private, private))
    assert not any(map(is_private, ["8.8.8.8", "172.32.0.1", "2606:4700::1", "::ffff:8.8.8.8"]))


def test_the_policy_and_the_origin_alone():
    assert HostPolicy(["*"]).allows("evil.example")
    assert not HostPolicy(["*.b.example"]).allows("ab.example")
    assert is_cross_site({"origin": "https://a", "host": "b"})
    assert not is_cross_site({"origin": "https://a", "host": "a"})
    assert is_cross_site({"origin": "ftp://a", "host": "a"})
    assert is_cross_site({"origin": "http://a"})
