"""``stretta http client`` as a person and as a script meet it."""

import gzip
import json

import pytest

from canned import HELLO, canned
from support import Terminal, free_port, stretta


def reply(head, body=b""):
    return b"HTTP/1.1 " + head.replace(b"\n", b"\r\n") + b"\r\n\r\n" + body


def test_the_lectures_conversation_at_the_prompt():
    with canned(HELLO) as server, Terminal("http", "client") as person:
        person.expect("Type the object's URL: ")
        person.type(server.url + "\n")
        person.expect(f"Connecting to server at (127.0.0.1, {server.port})\nGET / HTTP/1.1\n")
        person.expect("\n\nWaiting for response ... received\nResponse:\nHTTP/1.1 200 OK\n")
        person.expect("Content-Length: 4\n\nciao\nType the object's URL: ")
        person.type("http://a b/\n")
        person.expect("cannot use the URL <http://a b/>: its host holds a character")
        person.type(f":{free_port()}\n")
        person.expect("connection refused")
        person.type("\n")
        assert person.end() == 0
    assert "Traceback" not in person.screen


def test_the_prompt_reads_urls_from_a_pipe_too():
    with canned(HELLO) as server:
        result = stretta("http", "client", stdin=f"{server.url}\nhttp:///\n\n".encode())
    assert result.stdout == b"ciao"
    assert result.returncode == 2
    assert result.stderr.count(b"Type the object's URL: ") == 3


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_the_request_is_shown_as_it_is_sent(version):
    with canned(HELLO) as server:
        result = stretta("http", "client", "--http", version, server.url)
    assert server.requests[0].replace(b"\r\n", b"\n") in result.stderr
    assert b"HTTP/" + version.encode() in server.requests[0]


def test_in_a_pipe_there_are_the_bodys_bytes_and_nothing_else():
    body = bytes(range(256)) * 5000
    with canned(reply(b"200 OK\nContent-Type: image/png", body)) as server:
        result = stretta("http", "client", "-q", server.url, server.url)
    assert result.stdout == body * 2
    assert result.stderr == b""
    assert result.returncode == 0


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (reply(b"302 Found\nLocation: /x\nContent-Length: 0"), 3, "--follow"),
        (reply(b"404 Not Found\nContent-Length: 4", b"ciao"), 4, "answered 404 Not Found"),
        (reply(b"500 Oops\nContent-Length: 0"), 5, "the server failed"),
        (reply(b"200 OK\nContent-Length: 10", b"ciao"), 7, "4 of the 10 promised bytes"),
        (b"hello\r\n", 1, "no valid HTTP"),
    ],
)
def test_exit_statuses(answer, status, words):
    with canned(answer) as server:
        result = stretta("http", "client", server.url)
    assert result.returncode == status
    assert words in result.stderr.decode()
    assert "Traceback" not in result.stderr.decode()


def test_the_first_failure_of_several_urls_is_the_exit_status():
    with canned(reply(b"404 No\nContent-Length: 0"), HELLO) as server:
        result = stretta("http", "client", "-q", server.url, server.url)
    assert (result.returncode, result.stdout) == (4, b"ciao")


def test_a_silent_server_is_exit_status_6():
    with canned(lambda connection: connection.recv(1)) as server:
        result = stretta("http", "client", "--timeout", "0.1", server.url)
    assert result.returncode == 6
    assert b"--timeout" in result.stderr


@pytest.mark.parametrize(
    ("head", "body", "shown"),
    [
        (b"Content-Type: text/plain", "perché\x1b[31m\x9b".encode(), "perché\\x1b[31m\\x9b\n"),
        (b"Content-Type: text/plain; charset=latin1", b"perch\xe9", "perché\n"),
        (b"Content-Type: text/plain; charset=utf-16", "perché".encode("utf-16"), "perché\n"),
        (b"X: y", b"\xef\xbb\xbfciao", "\n\nciao\n"),
        (b"Content-Type: image/png", b"\x89PNG\r\n", "(binary, not shown: image/png, 6 bytes)"),
        (b"Content-Type: text/plain", b"a\0b", "(binary, not shown: text/plain, 3 bytes)"),
        (b"X: y", b"\x00\xff\xfe\x01" * 999, "3996 bytes"),
        (b"X: \x9b31m\xc3\xa9", b"ciao", "X: \\x9b31mé"),
        (b"Content-Encoding: gzip", gzip.compress(b"ciao " * 400), "ciao ciao"),
    ],
)
def test_a_person_sees_text_and_is_spared_the_rest(head, body, shown):
    answer = reply(b"200 OK\nContent-Length: %d\n" % len(body) + head, body)
    with canned(answer) as server, Terminal("http", "client", server.url) as person:
        person.expect(shown)
        assert person.end() == 0
    assert "\x1b" not in person.screen
    assert "\x9b" not in person.screen


def test_json_is_one_object_a_line():
    with canned(HELLO) as server:
        result = stretta("http", "client", "--json", server.url)
    objects = [json.loads(line) for line in result.stdout.splitlines()]
    assert objects[0] == {"event": "connecting", "server": ["127.0.0.1", server.port]}
    assert objects[-1] == {"event": "reply", "bytes": 4, "text": "ciao"}


def test_a_reader_that_leaves_is_no_traceback():
    with canned(reply(b"200 OK", bytes(5_000_000))) as server:
        result = stretta_head(server.url)
    assert (result.returncode, result.stderr) == (0, b"")


def stretta_head(url):
    """Run the client with a reader that takes one byte."""
    import subprocess  # noqa: PLC0415
    import sys  # noqa: PLC0415

    script = f"{sys.executable} -m stretta http client -q {url} | head -c 1 > /dev/null"
    return subprocess.run(["sh", "-c", script], capture_output=True, timeout=20, check=False)
