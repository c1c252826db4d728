"""``stretta http client`` on a terminal and in a pipe."""

import gzip
import json
import os
import threading
from types import SimpleNamespace

import pytest

from canned import HELLO, canned
from stretta.cli.http.show import Show
from stretta.cli.ui.console import Console
from stretta.http.message.charset import charset_of
from stretta.http.message.headers import Headers
from support import Terminal, free_port, stretta, until


def reply(head, body=b""):
    return b"HTTP/1.1 " + head.replace(b"\n", b"\r\n") + b"\r\n\r\n" + body


def prompted(person, times):
    """Wait until the prompt was shown so many times: input before that may be lost."""
    until(lambda: person._read().count("Type the object's URL:") >= times, f"prompt {times}")


def test_the_lectures_conversation_at_the_prompt(tmp_path):
    env = {"NO_COLOR": "1", "XDG_STATE_HOME": str(tmp_path)}
    with canned(HELLO) as server, Terminal("http", "client", env=env) as person:
        prompted(person, 1)
        person.type(server.url + "\r")
        person.expect(f"Connecting to server at (127.0.0.1, {server.port})\nGET / HTTP/1.1\n")
        person.expect("\n\nWaiting for response ... received\nResponse:\nHTTP/1.1 200 OK\n")
        person.expect("Content-Length: 4\n\nciao\n")
        # the prompt is drawn anew when the line is entered
        prompted(person, 3)
        person.type("http://a b/\r")
        person.expect("cannot use the URL <http://a b/>: its host holds a character")
        prompted(person, 5)
        person.type(f":{free_port()}\r")
        person.expect("connection refused")
        prompted(person, 7)
        person.type("\r")
        assert person.end() == 0
    assert "Traceback" not in person.screen
    assert server.url in (tmp_path / "stretta" / "urls").read_text()


def test_the_prompt_stores_urls_without_credentials(tmp_path):
    env = {"NO_COLOR": "1", "XDG_STATE_HOME": str(tmp_path)}
    with canned(HELLO) as server:
        secret = server.url.replace("//", "//anna:segreto@")
        with Terminal("http", "client", env=env) as person:
            prompted(person, 1)
            person.type(server.url + "earlier\r")
            prompted(person, 3)
            person.type(secret + "\r")
            person.expect("Authorization: Basic")
            prompted(person, 5)
            person.type("\x04")
            assert person.end() == 0
        with Terminal("http", "client", env=env) as person:
            prompted(person, 1)
            person.type("\x12")  # Ctrl-R
            person.expect("i-search")
            person.type("earl\r")
            prompted(person, 2)
            person.type("\r")
            person.expect("GET /earlier HTTP/1.1")
            person.expect("total ")
            prompted(person, 4)
            person.type("\x04")
            assert person.end() == 0
    assert "segreto" not in (tmp_path / "stretta" / "urls").read_text()


def test_ctrl_c_at_the_prompt_and_in_a_transfer(tmp_path):
    env = {"NO_COLOR": "1", "XDG_STATE_HOME": str(tmp_path)}
    with Terminal("http", "client", env=env) as person:
        person.expect("Type the object's URL:")
        person.type("\x03")
        assert person.end() == 130
    held = threading.Event()
    with canned(lambda _: held.wait(20)) as server:
        with Terminal("http", "client", server.url, env=env) as person:
            person.expect("Waiting for response ...")
            person.type("\x03")
            assert person.end() == 130
        held.set()
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


def test_in_a_pipe_stdout_is_the_body():
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
        (b"hello\r\n", 1, "not valid HTTP"),
    ],
)
def test_exit_statuses(answer, status, words):
    with canned(answer) as server:
        result = stretta("http", "client", server.url)
    assert result.returncode == status
    assert words in result.stderr.decode()
    assert "Traceback" not in result.stderr.decode()


@pytest.mark.parametrize(
    "answer",
    [
        reply(b"404 \x1b[2JNo\x9b1m\nContent-Length: 0"),
        reply(b"302 Found\nLocation: /\x1b[2J\x9b1m\nContent-Length: 0"),
    ],
)
def test_control_characters_in_an_error_are_escaped(answer):
    with canned(answer) as server:
        result = stretta("http", "client", "-q", server.url)
    assert result.returncode in {3, 4}
    assert b"\\x1b[2J" in result.stderr
    assert b"\x1b" not in result.stderr
    assert "\x9b" not in result.stderr.decode()


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
        (
            b"Content-Type: image/png",
            b"\x89PNG\r\n",
            "(binary, not shown: image/png, 6 bytes; to save it",
        ),
        (b"Content-Type: text/plain", b"a\0b", "(binary, not shown: text/plain, 3 bytes; "),
        (b"X: y", b"\x00\xff\xfe\x01" * 999, "3996 bytes"),
        (b"X: \x9b31m\xc3\xa9", b"ciao", "X: \\x9b31mé"),
        (b"Content-Encoding: gzip", gzip.compress(b"ciao " * 400, mtime=0), "ciao ciao"),
    ],
)
def test_on_a_terminal_text_is_shown_and_binary_data_is_named(head, body, shown):
    answer = reply(b"200 OK\nContent-Length: %d\n" % len(body) + head, body)
    with (
        canned(answer) as server,
        Terminal("http", "client", server.url, env={"NO_COLOR": "1"}) as person,
    ):
        person.expect(shown)
        assert person.end() == 0
    assert "\x1b" not in person.screen
    assert "\x9b" not in person.screen


@pytest.mark.parametrize(
    "charset",
    ["punycode", "idna", "undefined", "utf-7", "unicode_escape", "rot13", "hex", "utf-32", "x\0"],
)
def test_an_unknown_charset_means_utf_8(charset):
    assert charset_of(f"text/plain; charset={charset}", b"") == "utf_8"
    answer = reply(b"200 OK\nContent-Length: 17\n", b"+2AA- \\ud800 \xd8\x00")
    answer = answer.replace(b"\r\n\r\n", b"\r\nContent-Type: text/plain; charset=%b\r\n\r\n", 1)
    with canned(answer % charset.strip("\0").encode()) as server:
        result = stretta("http", "client", "--json", server.url)
    assert b"Traceback" not in result.stderr
    assert json.loads(result.stdout)["response"]["body_bytes"] == 17


def test_text_in_one_byte_chunks_is_shown_once(monkeypatch):
    shown = []
    monkeypatch.setattr("stretta.cli.http.show.stdout_is_terminal", lambda: True)
    monkeypatch.setattr("stretta.cli.http.show.write_stdout", shown.append)
    text = "perché\r\n" * 300
    pieces = (bytes([byte]) for byte in text.encode())
    parser = SimpleNamespace(framing="close", trailers=(), expected=None)

    class Stream:
        head = SimpleNamespace(headers=Headers([("Content-Type", "text/plain")]))
        exchange = SimpleNamespace(parser=parser)

        def __iter__(self):
            return pieces

    Show(Console(quiet=False, as_json=False)).body(Stream())
    assert "".join(shown) == text.replace("\r", "")


@pytest.mark.parametrize(
    ("kind", "body", "coloured"),
    [
        ("text/html", "&" * 8192, True),
        ("text/html", "&" * 8193, False),
        ("application/json", "[" + "1," * 9000 + "1]", True),
    ],
)
def test_only_short_markup_is_coloured(kind, body, coloured, monkeypatch):
    lengths, shown = [], []
    monkeypatch.setattr("stretta.cli.http.show.stdout_is_terminal", lambda: True)
    monkeypatch.setattr("stretta.cli.http.show.wants_colour", lambda _: True)
    monkeypatch.setattr("stretta.cli.http.show.write_stdout", shown.append)
    monkeypatch.setattr("stretta.cli.ui.pretty.colour_text",
                        lambda _, text: lengths.append(len(text)) or text)  # fmt: skip

    class Stream:
        head = SimpleNamespace(headers=Headers([("Content-Type", kind)]))
        exchange = SimpleNamespace(parser=SimpleNamespace(framing="length", trailers=()))

        def __iter__(self):
            return iter([body.encode()])

    Show(Console(quiet=False, as_json=False)).body(Stream())
    assert bool(lengths) is coloured
    assert body[:8000] in "".join(shown).replace("\n  ", "").replace("\n", "")


@pytest.mark.parametrize(
    ("framing", "body"),
    [
        (b"Content-Length: 14", b'{"a":1,"b":[]}'),
        (b"Transfer-Encoding: chunked", b'4\r\n{"a"\r\na\r\n:1,"b":[]}\r\n0\r\n\r\n'),
        (b"Connection: close", b'{"a":1,"b":[]}'),
    ],
)
def test_json_is_laid_out_however_it_is_framed(framing, body):
    answer = reply(b"200 OK\nContent-Type: application/json\n" + framing, body)
    env = {"NO_COLOR": "1"}
    with canned(answer) as server, Terminal("http", "client", server.url, env=env) as person:
        person.expect('\n\n{\n  "a": 1,\n  "b": []\n}\n')
        assert person.end() == 0


@pytest.mark.parametrize(
    ("kind", "body", "shown"),
    [
        (b"text/event-stream", b"data: ciao\n\n", "data: ciao\n"),
        (b"application/json", b'{"a":1}', '{\n  "a": 1\n}'),
        (b"image/png", b"\x89PNG", "(binary, not shown: image/png; to save it: -o FILE)\n"),
    ],
)
def test_an_endless_body_is_shown_while_it_arrives(kind, body, shown):
    over = threading.Event()

    def drip(connection):
        connection.sendall(reply(b"200 OK\nContent-Type: " + kind, body))
        over.wait(20)

    env = {"NO_COLOR": "1"}
    with canned(drip) as server, Terminal("http", "client", server.url, env=env) as person:
        person.expect(shown)
        over.set()
        assert person.end() == 0
    assert kind != b"image/png" or "(4 bytes arrived)" in person.screen


def test_json_prints_one_object_for_each_exchange():
    with canned(HELLO, reply(b"404 No\nContent-Length: 2", b"\0\1")) as server:
        result = stretta("http", "client", "--json", server.url, server.url + "x", ":1")
    first, second, third = (json.loads(line) for line in result.stdout.splitlines())
    assert first["request"]["head"].encode() == server.requests[0]
    assert first["response"]["headers"] == [["Content-Type", "text/plain"], ["Content-Length", "4"]]
    assert (first["response"]["text"], first["response"]["framing"]) == ("ciao", "length")
    assert first["server"] == ["127.0.0.1", server.port]
    assert 0 < first["phases"]["connected"] < first["phases"]["ended"]
    assert (first["error"], first["exit_status"]) == (None, 0)
    assert (second["response"]["base64"], second["exit_status"]) == ("AAE=", 4)
    assert third["response"] is third["request"] is None
    assert "connection refused" in third["error"]["why"]
    assert result.returncode == 4


@pytest.mark.parametrize(
    "words", [("http://localhost/\udcff",), ("--auth", "\udcff:x", ":1"), ("-o", "\udcff", "{url}")]
)
@pytest.mark.parametrize(
    "env", [{}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}]
)
def test_arguments_that_are_not_utf_8_cause_no_traceback(words, env, tmp_path):
    with canned(HELLO) as server:
        words = [word.format(url=server.url) for word in words]
        result = stretta(
            "http", "client", "--json", "--har", "\udcfe", *words,
            cwd=tmp_path, env={**os.environ, **env},
        )  # fmt: skip
    assert b"mistake" not in result.stderr
    assert json.loads(result.stdout)["exit_status"] == result.returncode
    assert json.loads((tmp_path / "\udcfe").read_bytes())["log"]


def test_json_names_the_last_url_and_no_password():
    moved = b"HTTP/1.1 302 F\r\nLocation: http://127.0.0.1:1/x\r\nContent-Length: 0\r\n\r\n"
    with canned(moved) as server:
        secret = server.url.replace("//", "//anna:segreto@")
        words = ("--json", "--follow", secret, "anna:segreto@127.0.0.1:1", "anna:segreto@a b")
        result = stretta("http", "client", *words)
    found = [json.loads(line) for line in result.stdout.splitlines()]
    urls = [one["url"] for one in found]
    assert urls == ["http://127.0.0.1:1/x", "http://127.0.0.1:1/", "a b"]
    assert b"segreto" not in result.stdout + result.stderr


def test_ctrl_c_at_the_prompt_ends_one_exchange(tmp_path):
    env = {"NO_COLOR": "1", "XDG_STATE_HOME": str(tmp_path)}
    held = threading.Event()
    with (
        canned(lambda _: held.wait(20)) as slow,
        canned(HELLO) as server,
        Terminal("http", "client", env=env) as person,
    ):
        prompted(person, 1)
        person.type(slow.url + "\r")
        person.expect("Waiting for response ...")
        person.type("\x03")
        person.expect("interrupted")
        prompted(person, 3)
        person.type(server.url.replace("//", "//anna:segreto@")[7:] + "\r")
        person.expect("ciao")
        prompted(person, 5)
        person.type("\r")
        assert person.end() == 0
        held.set()
    assert "segreto" not in (tmp_path / "stretta" / "urls").read_text()


def test_json_contains_the_request_without_a_response():
    with canned(b"hello\r\n") as server:
        result = stretta("http", "client", "--json", server.url)
    (found,) = map(json.loads, result.stdout.splitlines())
    assert found["request"] == {"head": server.requests[0].decode()}
    assert (found["response"], found["exit_status"]) == (None, 1)


def test_a_closed_pipe_causes_no_traceback():
    with canned(reply(b"200 OK", bytes(5_000_000))) as server:
        result = stretta_head(server.url)
    assert (result.returncode, result.stderr) == (0, b"")


def stretta_head(url):
    """Run the client with a reader that takes one byte."""
    import subprocess  # noqa: PLC0415
    import sys  # noqa: PLC0415

    script = f"{sys.executable} -m stretta http client -q {url} | head -c 1 > /dev/null"
    return subprocess.run(["sh", "-c", script], capture_output=True, timeout=20, check=False)
