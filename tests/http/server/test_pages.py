"""The pages that the server writes itself, and their content security policy."""

import base64
import hashlib
import re
import subprocess
import sys

import pytest
from http_raw import Raw

from stretta import http as stretta_http
from stretta.http.server import pages
from stretta.http.server.pages import error_reply
from support import PATIENCE, serving


def policy_of(answer):
    """Return the directives of a Content-Security-Policy, by name."""
    rules = [rule.split() for rule in answer.headers["Content-Security-Policy"].split(";")]
    return {name: sources for name, *sources in rules}


def digest(content):
    return f"'sha256-{base64.b64encode(hashlib.sha256(content).digest()).decode()}'"


@pytest.mark.parametrize("path", ["/", "/missing", "/sub"])
def test_pages_allow_their_own_style_and_script_only(tmp_path, path):
    (tmp_path / "README.md").write_text("| a |\n|--:|\n| 1 |\n\n![image](a.png)")
    with serving(stretta_http.serve(tmp_path)) as server, Raw(server.port) as raw:
        got = raw.get(path)
    policy = policy_of(got)
    assert policy["default-src"] == ["'none'"]
    assert policy["frame-ancestors"] == ["'none'"]
    assert policy["base-uri"] == ["'none'"]
    (style,) = re.findall(rb"<style>(.*?)</style>", got.body, re.DOTALL)
    assert policy["style-src"] == [digest(style)]
    scripts = re.findall(rb"<script>(.*?)</script>", got.body, re.DOTALL)
    assert policy.get("script-src", []) == [digest(script) for script in scripts]
    assert len(scripts) == (path == "/")
    assert b' style="' not in got.body
    assert not re.search(rb"\son\w+=", got.body)


def test_json_listings_and_other_errors_have_a_policy_too(tmp_path):
    with serving(stretta_http.serve(tmp_path)) as server, Raw(server.port) as raw:
        for answer in (
            raw.get("/?format=json"),
            raw.get("/missing", "Accept: application/json"),
            raw.get("/missing", "Accept: text/plain"),
            raw.get("/", "If-Match: x"),
        ):
            assert policy_of(answer)["frame-ancestors"] == ["'none'"]


def test_an_error_is_reported_without_its_template(monkeypatch):
    def fail(*_, **__):
        raise FileNotFoundError("error.html")

    pages.preload()
    monkeypatch.setattr(pages, "render", fail)
    reply = error_reply(404)
    assert reply.status == 404
    assert b"404 Not Found" in reply.body


def test_a_listing_that_fails_is_answered_at_once(tmp_path, monkeypatch):
    with serving(stretta_http.serve(tmp_path)) as server, Raw(server.port) as raw:
        assert raw.get("/").status == 200
        for error in (MemoryError(), SystemExit(), StopIteration(), FileNotFoundError()):

            def fail(*_, error=error, **__):
                raise error

            monkeypatch.setattr("stretta.http.server.files.listing.render", fail)
            assert raw.get("/").status == 500
        monkeypatch.undo()
        assert raw.get("/").status == 200


@pytest.mark.parametrize("status", [400, 401, 404, 405, 408, 412, 416, 417, 500, 501, 503])
@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, "text/html; charset=utf-8"),
        ("application/json", "application/json"),
        ("text/plain", "text/plain; charset=utf-8"),
    ],
)
def test_every_error_has_an_explanation(status, accept, content_type):
    reply = error_reply(status, accept=accept)
    assert (reply.status, reply.length) == (status, len(reply.body))
    assert reply.headers[0] == ("Content-Type", content_type)
    assert ("Vary", "Accept") in reply.headers
    assert len(reply.body) > 20


WITHOUT_DESCRIPTORS = """
import resource, socket, sys
from stretta import http

with http.serve(sys.argv[1]).in_background() as server:
    with socket.create_connection(("127.0.0.1", server.port)) as sock:
        sock.sendall(b"GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
        first = sock.recv(1 << 20)
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
        sock.sendall(b"GET /file HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n")
        answer = b"".join(iter(lambda: sock.recv(1 << 20), b""))
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
sys.stdout.buffer.write(answer)
"""


def test_an_error_page_needs_no_descriptor(tmp_path):
    """The templates are loaded when the server starts, not with the first error."""
    (tmp_path / "index.html").write_text("index")
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_DESCRIPTORS, tmp_path],
        capture_output=True, timeout=PATIENCE, check=True,
    )  # fmt: skip
    head, _, page = ran.stdout.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"<h1>503 Service Unavailable</h1>" in page
