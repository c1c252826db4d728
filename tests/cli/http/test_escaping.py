"""Control characters of a peer reach no terminal: every field of every report, error, document."""

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from canned import canned
from stretta.address import Endpoint
from stretta.cli.http.fetch import save_har
from stretta.cli.http.show import Show
from stretta.cli.ui.console import Console, print_error
from stretta.errors import StrettaError
from stretta.http.client import reports
from stretta.http.client.blocking import make_request
from stretta.http.client.exchange_json import ExchangeRecord, as_json
from stretta.http.client.exchange_state import Phases
from stretta.http.client.response_parser import Head
from stretta.http.client.status_error import status_error
from stretta.http.message.headers import Headers
from stretta.net.client.channel.observed import Moved
from stretta.net.client.channel.tls import Secured
from stretta.reports import LookedUp, NotReached, Report
from support import Terminal, stretta

HOSTILE = "a\x1b[31m\x07\x08\x9b2J\x7f\u202eb\x00\r\x85c"
BYTES = HOSTILE.encode()
RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
LATIN = BYTES.decode("latin-1")

HEAD = Head("1.1", 200, LATIN, Headers([(LATIN, LATIN), ("Content-Type", LATIN)]), BYTES + b"\r\n")
SECURED = Secured(version=HOSTILE, cipher=HOSTILE, checked=True, subject=HOSTILE, issuer=HOSTILE,
                  until=HOSTILE, names=[HOSTILE])  # fmt: skip

VALUES = {
    "server": Endpoint(HOSTILE, 1), "secured": SECURED, "head": HEAD, "url": HOSTILE, "status": 302,
    "body": 1, "outwards": False, "offset": 0, "size": 99, "begins": BYTES, "ends": BYTES,
    "host": HOSTILE, "addresses": [HOSTILE], "why": HOSTILE,
}  # fmt: skip


def every_report():
    classes = [value for value in vars(reports).values() if isinstance(value, type)
               and issubclass(value, Report) and value is not Report]  # fmt: skip
    assert len(classes) >= 7
    for cls in [*classes, Moved, LookedUp, NotReached]:
        values = {field.name: VALUES[field.name] for field in fields(cls)}
        if cls is reports.Requesting:
            values["head"] = BYTES
        yield cls(**values)


@pytest.mark.parametrize("verbose", [0, 1, 2])
@pytest.mark.parametrize("report", list(every_report()), ids=lambda report: type(report).__name__)
def test_reports(report, verbose, capsys):
    show = Show(Console(quiet=False, as_json=False), verbose=verbose)
    show._several_addresses = True
    show(report)
    shown = capsys.readouterr().err
    assert not RAW.search(shown), ascii(shown)


def test_a_certificate_cannot_forge_lines(capsys):
    names = Secured(version="TLS 1.3", cipher="x", checked=True, subject="s", issuer="i\nforged: 1",
                    until="u\nforged: 2", names=["n\nforged: 3"])  # fmt: skip
    Show(Console(quiet=False, as_json=False))(reports.Securing(names))
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_errors(capsys):
    print_error(StrettaError(HOSTILE, HOSTILE, HOSTILE))
    for status in (302, 304, 401, 404, 500):
        head = Head("1.1", status, LATIN, Headers([("Location", LATIN + "\nforged: 1")]))
        print_error(status_error(head, "http://a/"))
    shown = capsys.readouterr().err
    assert not RAW.search(shown)
    assert not re.search("^forged", shown, re.MULTILINE)


def record():
    return ExchangeRecord(
        started="", url=HOSTILE, addresses=[HOSTILE], tls={"subject": HOSTILE}, head=HEAD,
        first_request=make_request("GET", ":1"), request=make_request("GET", ":1"),
        request_head=BYTES, server=Endpoint(HOSTILE, 1), interim=[HEAD], framing="length",
        body=BYTES.replace(b"\x00", b""), trailers=Headers([(LATIN, LATIN)]), phases=Phases(),
        redirects=[(302, HOSTILE)], error=StrettaError(HOSTILE, HOSTILE, HOSTILE),
    )  # fmt: skip


def test_the_json_document(capfd):
    document = as_json(record())
    Console(quiet=False, as_json=True).write_json(document)
    text = capfd.readouterr().out
    assert not RAW.search(text)
    assert json.loads(text) == json.loads(json.dumps(document))
    assert text.count("\n") == 1


def test_the_har_file(tmp_path):
    save_har(str(tmp_path / "x"), [record()])
    text = (tmp_path / "x").read_text()
    assert not RAW.search(text)
    (entry,) = json.loads(text)["log"]["entries"]
    assert entry["response"]["statusText"] == LATIN


HOSTILE_REPLY = (
    b"HTTP/1.1 200 O\x1b[2JK\r\nX: \x1b]0;x\x07\xc2\x9b\r\n"
    b"Content-Type: text/plain\x1b[1m\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"6\r\n\x1b[31m\x08\r\n0\r\nT: \x1b[2J\r\n\r\n"
)


@pytest.mark.parametrize("words", [(), ("-v",), ("-vv",), ("--json",), ("-O",)])
def test_a_hostile_server_on_a_terminal(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    disposition = b'Content-Disposition: attachment; filename="\x1b[2Jx\x9b"\r\nTransfer'
    reply = HOSTILE_REPLY.replace(b"Transfer", disposition, 1)
    env = {"NO_COLOR": "1"}
    with canned(reply) as server, Terminal("http", "client", *words, server.url, env=env) as person:
        assert person.end() == 0
    shown = person.screen.replace("\r", "")
    assert not RAW.search(shown), ascii(shown)
    for path in Path().iterdir():
        assert path.name.isprintable()


def test_a_file_name_on_the_command_line_is_escaped(tmp_path):
    with canned(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx") as server:
        saved = stretta("http", "client", "-o", "a\x1b[2J", server.url, cwd=tmp_path)
        there = stretta("http", "client", "-o", "no\x1b[2J/a", server.url, cwd=tmp_path)
    assert (saved.returncode, there.returncode) == (0, 1)
    assert b"\x1b" not in saved.stderr + there.stderr
