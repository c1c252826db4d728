"""The demonstration: three servers, three clients, a real text, every reply checked."""

import json
import subprocess
import sys
from pathlib import Path

from stretta import demo
from support import stretta

TEXT = (Path(__file__).parents[2] / "examples" / "inferno-1.txt").read_bytes()


def test_the_demo_shows_the_conversations_and_verifies_them():
    done = stretta("demo")
    assert (done.returncode, done.stderr) == (0, b"")
    shown = done.stdout.decode()
    for line in (
        "Server waiting on (127.0.0.1, ",
        "Connected to server at (127.0.0.1, ",
        "Received request from (127.0.0.1, ",
        "Received reply <NEL MEZZO DEL CAMMIN DI NOSTRA VITA ... ",
        "Sent reply to (127.0.0.1, ",
        "Connection closed with server at (127.0.0.1, ",
        "Waiting for server response...",
        "MI RITROVAI PER UNA SELVA OSCURA,",
        "Serving at port ",
        "Type the object's URL: http://127.0.0.1:",
        "Connecting to server at (127.0.0.1, ",
        "GET /inferno-1.txt HTTP/1.1",
        "HTTP/1.1 200 OK",
    ):
        assert line in shown, line
    summary = shown.splitlines()[-3:]
    assert [line.split()[0] for line in summary] == ["TCP", "UDP", "HTTP"]
    assert all(line.endswith(" s  verified") for line in summary)
    assert f"{len(TEXT)} bytes sent" in summary[0] and "136 messages" in summary[1]


def test_json_and_quiet():
    outcomes = [json.loads(line) for line in stretta("demo", "--json").stdout.splitlines()]
    assert [o["protocol"] for o in outcomes] == ["TCP", "UDP", "HTTP"]
    assert not any(o["differences"] for o in outcomes)
    assert len(stretta("demo", "-q").stdout.splitlines()) == 3


def test_a_reply_that_differs_is_noticed():
    """The servers are given a service that is wrong in one byte."""

    def wrong(data):
        return data.upper().replace(b"SELVA", b"SALVA")

    folder = demo.text_folder()
    tcp, udp, http = demo.demonstrate(lambda _: None, folder, service=wrong)
    assert tcp.differences[0].startswith("the reply differs at byte")
    assert udp.differences[0].startswith("the reply to verse 2 differs at byte")
    assert "DIFFERENT" in str(tcp) and not http.differences


def test_a_listing_without_a_file_is_noticed(tmp_path):
    (tmp_path / demo.TEXT).write_bytes(TEXT)
    outcomes = list(demo.demonstrate(lambda _: None, tmp_path))
    assert not outcomes[-1].differences
    (tmp_path / "late.txt").touch()
    page = type("Page", (), {"status": 200, "text": '<a href="./inferno-1.txt">', "body": b""})
    assert list(demo._check_page(page, tmp_path)) == ["the page does not link to late.txt"]


def test_the_wheel_ships_the_text(tmp_path):
    root = Path(__file__).parents[2]
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=root, check=True, capture_output=True,
    )  # fmt: skip
    import zipfile  # noqa: PLC0415

    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert archive.read("stretta/examples/inferno-1.txt") == TEXT
