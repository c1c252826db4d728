"""Control characters from outside do not reach the terminal, in any field or message."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import os
import re
import types
import typing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stretta import errors, reports
from stretta.address import Endpoint
from stretta.cli.http.show import Show
from stretta.cli.ui import gate as gates
from stretta.cli.ui.console import Console, print_error
from stretta.cli.ui.gate import COLOURS, colour_mark, gate, keep_colours, write_stdout
from stretta.cli.ui.settings import SETTINGS
from stretta.http.client import reports as http_reports
from stretta.http.message.headers import Headers
from stretta.net.client.channel.tls import Secured
from support import Terminal, naive_tcp_server, stretta

EVIL = "a\x1b[2J\x1b[31mb\x9b2J\x07\r\u202ec\nd\te\x7f"
UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
SOURCE = Path(reports.__file__).parent


def subclasses(kind):
    for one in kind.__subclasses__():
        yield one
        yield from subclasses(one)


REPORTS = sorted(
    {one for one in subclasses(reports.Report) if one.__module__.startswith("stretta.")},
    key=lambda one: one.__name__,
)
ERRORS = [errors.StrettaError, *subclasses(errors.StrettaError)]


def value_for(kind, text):
    """Return a value of a type, with the text in every place that can hold one."""
    origin = typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        return value_for(next(one for one in typing.get_args(kind) if one is not type(None)), text)
    if origin is list:
        return [value_for(one, text) for one in typing.get_args(kind)]
    if origin is tuple:
        return tuple(value_for(one, text) for one in typing.get_args(kind) if one is not ...)
    if origin is dict:
        return dict([tuple(value_for(one, text) for one in typing.get_args(kind))])
    if kind is Headers:
        return Headers([(text, text)])
    simple = {
        str: text, bytes: text.encode() + b"\xff", int: 3, float: 0.5, bool: True,
        typing.Any: text, object: text,
    }  # fmt: skip
    if kind in simple:
        return simple[kind]
    hints = typing.get_type_hints(kind, localns={"Secured": Secured})
    names = getattr(kind, "_fields", None) or [one.name for one in dataclasses.fields(kind)]
    return kind(**{name: value_for(hints[name], text) for name in names})


@pytest.fixture
def printed(monkeypatch):
    """Collect what is written to stdout and stderr."""
    seen = []
    monkeypatch.setattr(gates.os, "write", lambda _, data: seen.append(bytes(data)) or len(data))
    monkeypatch.setattr(gates, "print", lambda text, **_: seen.append(text.encode()), raising=False)
    return lambda: b"".join(seen).decode()


@pytest.mark.parametrize("kind", REPORTS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("as_json", [False, True])
def test_no_field_of_a_report_reaches_the_terminal_raw(kind, as_json, printed):
    Console(quiet=False, as_json=as_json)(value_for(kind, EVIL))
    shown = printed()
    assert shown
    assert not UNSAFE.search(shown)
    if as_json:
        assert len(shown.splitlines()) == 1
        json.loads(shown)


@pytest.mark.parametrize("kind", REPORTS, ids=lambda kind: kind.__name__)
def test_no_field_of_a_report_begins_a_line_of_its_own(kind):
    if kind in (http_reports.Requesting, http_reports.Responding):
        return  # their text is the head of a message, with its lines
    made = [value_for(kind, text) for text in ("x", EVIL)]
    for name, value in vars(made[1]).items():
        if isinstance(value, Endpoint):  # a numeric address, from the kernel
            setattr(made[1], name, Endpoint("::1", 1))
    lines = [str(one).count("\n") for one in made]
    assert lines[0] == lines[1]


@pytest.mark.parametrize("kind", REPORTS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("verbose", [0, 1])
def test_no_field_of_a_report_of_an_exchange_reaches_the_terminal_raw(kind, verbose, printed):
    show = Show(Console(quiet=False, as_json=False), verbose=verbose)
    show(value_for(kind, EVIL))
    show.failed()
    assert not UNSAFE.search(printed())


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("debug", [False, True])
def test_no_part_of_an_error_reaches_the_terminal_raw(kind, debug, printed, monkeypatch):
    monkeypatch.setattr(SETTINGS, "debug", debug)
    names = [
        name for name, one in inspect.signature(kind.__init__).parameters.items()
        if name not in ("self", "args", "kwargs", "reply", "code", "status")
    ]  # fmt: skip
    made = kind(*([404] if "code" in inspect.signature(kind).parameters else []),
                **dict.fromkeys(names, EVIL))  # fmt: skip
    made.add_note(EVIL)
    print_error(made, *made.__notes__)
    shown = printed()
    assert "\\x1b[2J" in shown
    assert not UNSAFE.search(shown)
    if not debug:
        assert shown.splitlines()[0].endswith("e\\x7f") or "\\n" in shown.splitlines()[0]


@given(st.text(), st.sampled_from(sorted(COLOURS)))
def test_the_gate_lets_colours_of_ours_pass_and_nothing_else(text, colour):
    shown = gate(text + colour_mark(text, colour) + text)
    assert not UNSAFE.search(re.sub(r"\x1b\[(?:[1-9]\d*|0)m", "", shown))
    assert shown.count("\x1b") == 2
    assert f"\x1b[{COLOURS[colour]}m" in shown and shown.count("\x1b[0m") == 1


@given(st.text(alphabet="ab\n\té€"))
def test_the_gate_leaves_harmless_text_as_it_is(text):
    assert gate(text) == text
    assert gate(keep_colours(f"\x1b[1;31m{text}\x1b[0m")) == f"\x1b[1;31m{text}\x1b[0m"


def test_bytes_are_raw_in_a_pipe_and_escaped_on_a_terminal(printed, monkeypatch):
    monkeypatch.setattr(gates, "is_terminal", lambda _: False)
    write_stdout(b"\x1b[2J")
    assert printed() == "\x1b[2J"
    monkeypatch.setattr(gates, "is_terminal", lambda _: True)
    write_stdout(b"\xc3")
    write_stdout(b"\xa9\x1b[2J")
    assert printed() == "\x1b[2J" + "é\\x1b[2J"


def test_only_the_gate_writes_to_the_terminal():
    """No module of the command prints past the gate; what runs in the lab's hosts is a program."""
    writers = {"print", "echo", "secho", "print_exc", "print_exception"}
    found = []
    for path in SOURCE.rglob("*.py"):
        name = path.relative_to(SOURCE).as_posix()
        if name == "cli/ui/gate.py" or name.startswith("lab/scenarios/"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            if called.rpartition(".")[2] in writers or re.fullmatch(
                r"(?:sys\.)?(?:__)?std(?:out|err)(?:__)?(?:\.buffer)?\.write(?:lines)?", called
            ):
                found.append((name, ast.unparse(node)))
    allowed = {"cli/main.py": 1, "net/server/workers.py": 1}  # the version; an escaped line
    for name, _ in found:
        allowed[name] = allowed.get(name, 0) - 1
    assert not {name: count for name, count in allowed.items() if count < 0}, found


COMMANDS = [
    [EVIL], ["tcp", EVIL], ["tcp", "client", f"--{EVIL}"], ["tcp", "client", "-p", EVIL],
    ["tcp", "client", "-a", EVIL], ["tcp", "client", "--timeout", EVIL],
    ["tcp", "client", "--color", EVIL], ["tcp", "server", "--service", EVIL],
    ["tcp", "server", "--service", f"{EVIL}:{EVIL}"], ["tcp", "server", "--framing", EVIL],
    ["tcp", "server", "--tls-cert", EVIL], ["udp", "client", "--retries", EVIL],
    ["http", "server", EVIL], ["http", "server", "-d", EVIL], ["http", "server", "--log", EVIL],
    ["http", "server", "--header", EVIL], ["http", "server", "--base-path", EVIL],
    ["http", "server", "--auth", EVIL], ["http", "server", "--auth-file", EVIL],
    ["http", "client", EVIL], ["http", "client", "-H", EVIL],
    ["http", "client", "-X", EVIL, ":1"], ["http", "client", "--proxy", EVIL, ":1"],
    ["http", "client", "--resolve", EVIL, ":1"], ["http", "client", "--tls-ca", EVIL, "https://a"],
    ["http", "client", "-d", f"@{EVIL}", ":1"], ["http", "client", "-o", f"{EVIL}/{EVIL}", ":1"],
    ["http", "client", "--har", f"{EVIL}/x", ":1"], ["http", "client", "--curl", f":1/{EVIL}"],
    ["lab", "run", EVIL], ["lab", "run", "handshake", "--loss", EVIL],
    ["lab", "run", "handshake", "--until", EVIL], ["lab", "draw", EVIL],
    ["lab", "run", "handshake", "--json", f"{EVIL}/x"], ["demo", EVIL],
]  # fmt: skip


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words[:3]).encode())
def test_no_argument_reaches_the_terminal_raw(words, tmp_path):
    done = stretta(*words, cwd=tmp_path)
    assert done.returncode != 0 or "--curl" in words
    if "--curl" not in words:
        assert done.stdout == b""
    shown = done.stderr.decode()
    assert not UNSAFE.search(shown)
    assert "Traceback" not in shown and "internal error" not in shown


def test_a_wrong_variable_reaches_the_terminal_escaped():
    env = {**os.environ, "STRETTA_TCP_CLIENT_TIMEOUT": EVIL, "STRETTA_SERVER_TLS": EVIL}
    for words in (["tcp", "client", "x"], ["tcp", "server"]):
        assert not UNSAFE.search(stretta(*words, env=env).stderr.decode())


@pytest.mark.parametrize(
    "words",
    [
        ["http", "client", "{url}"], ["http", "client", "-v", "{url}"],
        ["http", "client", "-vv", "{url}"], ["http", "client", "-o", "-", "{url}"],
        ["http", "client", "--json", "{url}"], ["tcp", "client", "-p", "{port}", "GET / x"],
        ["tcp", "client", "-q", "-p", "{port}", "x"],
        ["tcp", "client", "--json", "-p", "{port}", "x"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_nothing_that_a_server_sends_commands_a_real_terminal(words):
    evil = EVIL.replace("\n", " ").replace("\r", " ").encode()
    reply = (
        b"HTTP/1.1 200 OK" + evil.replace(b"\x00", b"") + b"\r\nContent-Type: text/plain\r\n"
        b"X-Evil: " + "\x9b2J\u202e".encode() + b"\r\nConnection: close\r\n\r\n" + EVIL.encode()
    )

    def answer(connection):
        connection.recv(1000)
        connection.sendall(reply)

    with naive_tcp_server(answer) as port:
        words = [word.format(url=f"http://127.0.0.1:{port}/", port=port) for word in words]
        with Terminal(*words, "--color", "never") as terminal:
            terminal.end()
            shown = terminal.screen.replace("\r\x1b[K", "").replace("\r\n", "\n")
            assert not UNSAFE.search(shown)
