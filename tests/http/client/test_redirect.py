"""Redirects: the request that follows one; no sockets."""

import pytest

from stretta.errors import InvalidReply
from stretta.http.client.redirect import redirected
from stretta.http.client.request import ClientRequest
from stretta.http.client.response_parser import Head
from stretta.http.message.headers import Headers
from stretta.http.message.url import parse_url


def follow(method, status, location, url="http://a.example/x", headers=(), body=b""):
    request = ClientRequest(
        url=parse_url(url), method=method, headers=Headers(headers), body=body, size=len(body)
    )
    return redirected(request, Head("1.1", status, "", Headers([("Location", location)])))


@pytest.mark.parametrize(
    ("method", "status", "becomes"),
    [
        ("GET", 301, "GET"), ("HEAD", 303, "HEAD"), ("POST", 301, "GET"), ("POST", 302, "GET"),
        ("PUT", 302, "PUT"), ("PUT", 303, "GET"), ("POST", 307, "POST"), ("PUT", 308, "PUT"),
    ],
)  # fmt: skip
def test_the_method_and_the_body_after_a_redirect(method, status, becomes):
    fields = [("Content-Type", "text/plain"), ("Accept", "x")]
    following = follow(method, status, "/y", headers=fields, body=b"ciao")
    assert following.method == becomes
    kept = becomes == method
    assert (following.body, following.size) == ((b"ciao", 4) if kept else (b"", 0))
    assert ("content-type" in following.headers) is kept
    assert "accept" in following.headers


@pytest.mark.parametrize(
    ("location", "kept"),
    [("/y", True), ("http://a.example/y", True), ("http://b.example/", False),
     ("http://a.example:81/", False), ("https://a.example/", False), ("//b.example/", False)],
)  # fmt: skip
def test_credentials_are_sent_to_their_own_origin_only(location, kept):
    fields = [("Authorization", "Basic x"), ("Cookie", "a=b"), ("Accept", "x")]
    following = follow("GET", 302, location, "http://u:p@a.example/x", headers=fields)
    assert ("authorization" in following.headers) is kept
    assert ("cookie" in following.headers) is kept
    assert (following.url.username == "u") is kept
    assert "accept" in following.headers


@pytest.mark.parametrize(
    ("url", "location"),
    [("https://a.example/", "http://a.example/"), ("http://a.example/", "ftp://b.example/"),
     ("http://a.example/", "javascript:alert(1)"), ("http://a.example/", "http://[::1/"),
     ("http://a.example/", "file:///etc/passwd")],
)  # fmt: skip
def test_redirects_that_are_refused(url, location):
    with pytest.raises(InvalidReply, match="is not followed"):
        follow("GET", 302, location, url)


def test_a_redirect_from_https_to_https_is_followed():
    assert follow("GET", 302, "https://b.example/", "https://a.example/").url.host == "b.example"


def test_a_fragment_is_inherited():
    assert follow("GET", 302, "/y", "http://a.example/x#part").url.fragment == "part"
    assert follow("GET", 302, "/y#other", "http://a.example/x#part").url.fragment == "other"


@pytest.mark.parametrize("status", [200, 201, 300, 304, 305, 306, 309, 399, 404])
def test_other_statuses_are_not_redirects(status):
    assert follow("GET", status, "/y") is None


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects(status):
    assert str(follow("GET", status, "/y").url) == "http://a.example/y"
    request = ClientRequest(url=parse_url("http://a.example/x"))
    assert redirected(request, Head("1.1", status, "", Headers())) is None


def test_headers_that_are_dropped():
    names = ["Host", "Proxy-Authorization", "Expect", "X", "Content-Encoding", "Content-Language"]
    fields = [(name, "x") for name in names]
    same = follow("POST", 307, "/y", headers=fields, body=b"ciao")
    assert [name for name, _ in same.headers] == names
    other = follow("POST", 307, "http://b.example/", headers=fields, body=b"ciao")
    assert [name for name, _ in other.headers] == names[2:]
    get = follow("POST", 303, "/y", headers=fields, body=b"ciao")
    assert [name for name, _ in get.headers] == ["Host", "Proxy-Authorization", "X"]


def test_credentials_in_the_location_replace_the_earlier_ones():
    url = follow("GET", 302, "http://c:d@a.example/y", "http://u:p@a.example/x").url
    assert (url.username, url.password) == ("c", "d")
    url = follow("GET", 302, "/y", "http://u:p@a.example/x").url
    assert (url.username, url.password) == ("u", "p")


def test_a_location_is_utf_8():
    assert follow("GET", 302, "/perch\u00c3\u00a9").url.target == "/perch%C3%A9"
