"""Credentials of a request are hidden wherever it is shown, unless that is asked for."""

import json

import pytest

from canned import HELLO, canned
from stretta import http
from stretta.cli.http.show import Show
from stretta.cli.ui.console import Console
from stretta.errors import StrettaError, UsageError
from stretta.http.client.blocking import make_request
from stretta.http.client.redirect import redirected
from stretta.http.client.reports import Requesting
from stretta.http.client.response_parser import Head
from stretta.http.client.status_error import status_error
from stretta.http.message.headers import Headers
from stretta.http.message.redaction import redact_head, redact_value
from stretta.http.message.url import parse_url
from stretta.net.client.channel.observed import Moved
from stretta.options.http_client import HttpRequestOptions, HttpRoute
from support import stretta

SECRETS = ("segreto", "c2VncmV0bw", "anna:")
HEADERS = [
    ("Authorization", "Basic segreto"), ("X", "y"), ("cookie", "a=segreto"),
    ("PROXY-AUTHORIZATION", "segreto"), ("Authorization", "Digest username=segreto, x=y"),
]  # fmt: skip


def hides(text):
    return not any(secret in text for secret in SECRETS)


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("Authorization", "Basic YTpi", "Basic ***"),
        ("authorization", "Bearer x y", "Bearer ***"),
        ("Proxy-Authorization", "Basic YTpi", "Basic ***"),
        ("Authorization", "YTpi", "***"),
        ("Authorization", "a:b c", "***"),
        ("Cookie", "a=b; c=d", "***"),
        ("Cookie", "abc def", "***"),
        ("Authorization", "", ""),
        ("Set-Cookie", "a=b", "a=b"),
        ("Accept", "a b", "a b"),
    ],
)
def test_the_value_of_a_field(name, value, shown):
    assert redact_value(name, value) == shown
    head = f"GET / HTTP/1.1\r\nA: b\r\n{name}:\t{value}\r\nCookies: c\r\n\r\n".encode()
    assert redact_head(head) == head.replace(f"\t{value}\r".encode(), f"\t{shown}\r".encode())


def test_every_repr():
    request = make_request("GET", "http://anna:segreto@a/x", HEADERS)
    head = Head("1.1", 200, "OK", Headers(HEADERS), b"segreto")
    route = HttpRoute(proxy="http://anna:segreto@p")
    options = HttpRequestOptions(header=("Cookie: segreto",), auth="anna:segreto")
    for value in (request, request.url, request.headers, head, route, options):
        assert hides(repr(value)), value
    with canned(HELLO) as server:
        response = http.get(server.url.replace("//", "//anna:segreto@"), headers=HEADERS)
    assert repr(response) == f"Response(200, '{server.url}')"
    assert "segreto" in server.requests[0].decode()


@pytest.mark.parametrize(
    "make",
    [
        lambda: make_request("GET", ":1", {"Authorization": "Basic segreto\n"}),
        lambda: make_request("GET", ":1", {"Cookie": "segreto\0"}),
        lambda: parse_url("http://anna:segreto@a b/"),
        lambda: redirected(make_request("GET", ":1"),
                           Head("1.1", 302, "", Headers([("Location", "ftp://anna:segreto@x/")]))),
    ],
)  # fmt: skip
def test_errors(make):
    with pytest.raises(StrettaError) as caught:
        make()
    assert hides(str(caught.value))


def test_the_error_for_a_redirect_that_is_not_followed():
    head = Head("1.1", 302, "", Headers([("Location", "http://anna:segreto@x/")]))
    error = status_error(head, "http://a/")
    assert "http://x/" in error.why
    assert hides(str(error))


def test_a_report_of_a_request():
    report = Requesting(make_request("GET", ":1", HEADERS).head(), 0)
    assert hides(str(report) + json.dumps(report.as_json()))
    assert "Authorization: Basic ***\n" in str(report)
    assert b"segreto" in report.head


@pytest.mark.parametrize("verbose", [0, 1, 2])
@pytest.mark.parametrize("show_secrets", [True, False])
def test_the_display(verbose, show_secrets, capsys):
    show = Show(Console(quiet=False, as_json=False), verbose=verbose, show_secrets=show_secrets)
    head = make_request("GET", ":1", HEADERS).head()
    show(Requesting(head, 0))
    if verbose > 1:
        show(
            Moved(
                outwards=True, offset=0, size=len(head), begins=head[:16], ends=b"segreto\r\n\r\n"
            )
        )
    shown = capsys.readouterr().err
    assert hides(shown) is not show_secrets
    if verbose > 1:
        assert f"write {len(head)} bytes, 1 to {len(head)}" in shown


def test_reads_and_writes_are_shown_in_full_without_credentials(capsys):
    show = Show(Console(quiet=False, as_json=False), verbose=2)
    show(Requesting(b"GET / HTTP/1.1\r\n\r\n", 0))
    show(Moved(outwards=True, offset=0, size=18, begins=b"GET / HTTP/1.1\r\n\r\n", ends=b""))
    assert "'GET / HTTP/1.1" in capsys.readouterr().err


@pytest.mark.parametrize("words", [(), ("-v",), ("-vv",), ("--json",), ("--json", "--har", "x")])
def test_the_command(words, tmp_path):
    (tmp_path / "x").touch(mode=0o666)
    with canned(HELLO) as server:
        url = server.url.replace("//", "//anna:segreto@")
        given = ("-H", "Cookie: a=segreto", url, f"anna:segreto@127.0.0.1:{server.port}/x")
        hidden = stretta("http", "client", *words, *given, cwd=tmp_path)
        shown = stretta("http", "client", "--show-secrets", *words, *given, cwd=tmp_path)
    assert hides((hidden.stdout + hidden.stderr).decode())
    assert b"a=segreto" in shown.stdout + shown.stderr
    if "--har" in words:
        assert (tmp_path / "x").stat().st_mode & 0o777 == 0o600
        assert "segreto" in (tmp_path / "x").read_text()


@pytest.mark.parametrize(
    "words", [("-H", "Authorization segreto", ":1"), ("-H", "Cookie: segreto\x01", ":1"),
              ("--auth", "anna:segreto", "-H", "Authorization: x", ":1")]
)  # fmt: skip
def test_usage_errors(words):
    result = stretta("http", "client", *words)
    assert result.returncode == UsageError.status
    assert hides(result.stderr.decode())
