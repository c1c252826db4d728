"""Control characters in names, arguments, output and errors never reach the terminal."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

EVIL = "\x1b[2J\x9b31m\x07\x7f\u202eevil"
UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


def stretta(*words, **kwargs):
    done = subprocess.run(
        [sys.executable, "-m", "stretta", *words],
        capture_output=True, check=False, timeout=60, stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONUTF8": "1", "COLUMNS": "100", "NO_COLOR": "1"}, **kwargs,
    )  # fmt: skip
    done.text = done.stdout.decode() + done.stderr.decode()
    return done


@pytest.fixture
def evil_program(tmp_path):
    """A program with a hostile name, that speaks to the server and prints hostile text."""
    script = (
        f"#!{sys.executable}\nimport socket, sys\n"
        "c = socket.create_connection((sys.argv[2], 12000))\n"
        "c.sendall(sys.argv[1].encode()); c.recv(99); c.close()\n"
        "print(sys.argv[1]); print(sys.argv[1], file=sys.stderr)\n"
    )
    path = tmp_path / f"prog{EVIL}"
    path.write_text(script)
    path.chmod(0o755)
    return path


SERVER = "import socket\nc, _ = socket.create_server(('', 12000)).accept()\nc.sendall(c.recv(99))\n"


@needs_strace
@pytest.mark.parametrize("more", [[], ["--no-calls"]])
def test_a_program_and_its_output(lab, evil_program, tmp_path, more):
    client = f"'{evil_program}' 'text {EVIL}' 10.0.0.2"
    (tmp_path / "server.py").write_text(SERVER)
    server = f"{sys.executable} {tmp_path}/server.py"
    recorded = tmp_path / "t.json"
    done = stretta("lab", "run", "--server", server, "--client", client, *more, "--json", recorded)
    assert done.returncode == 0, done.text
    assert not UNSAFE.search(done.text)
    assert r"client │ text \x1b[2J\x9b31m\x07\x7f\u202eevil" in done.text
    if not more:
        assert r"prog\x1b" in done.text
    for form in (
        ["draw", recorded],
        ["draw", recorded, "--mermaid", "-"],
        ["draw", recorded, "--json", "-"],
        ["draw", recorded, "--all", "--width", "60"],
    ):
        done = stretta("lab", *form)
        assert done.returncode == 0, done.text
        assert not UNSAFE.search(done.text), form
    document = json.loads(recorded.read_text(encoding="utf-8"))
    assert EVIL in document["about"]["commands"]["client"]  # the value itself is unchanged


@needs_strace
def test_a_traced_program(evil_program):
    done = stretta("trace", "--json", "-", "--", evil_program, "hello", "127.0.0.1")
    assert not UNSAFE.search(done.stdout.decode())
    assert r"prog\u001b" in done.stdout.decode()
    done = stretta(
        "trace", "-q", "--", "sh", "-c", f'exec "{evil_program}" x 127.0.0.1 2> /dev/null'
    )
    assert not UNSAFE.search(done.text)


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["run", f"no{EVIL}\nsuch"], 2),
        (["run", "udp", "--drop", f"sy{EVIL}n:1"], 2),
        (["run", "udp", "--loss", f"client>{EVIL} 5%"], 2),
        (["run", "udp", "--cut", f"1s-{EVIL}\n\ttail"], 2),
        (["run", "udp", "--until", EVIL], 2),
        (["run", "udp", "--json", f"/no{EVIL}\nsuch/file"], 1),
        (["run", "--client", "'\x07\u202eevil"], 2),
        (["draw", f"no{EVIL}\nstretta: such"], 2),
        (["draw", f"--{EVIL}"], 2),
    ],
)
def test_an_error_is_one_safe_message(words, status):
    done = stretta("lab", *words)
    assert done.returncode == status, done.text
    assert not UNSAFE.search(done.text)
    assert done.text.startswith("stretta: ")
    assert not re.search(r"^(such|stretta: such|tail)", done.text, re.MULTILINE)


def test_a_program_that_cannot_start(lab, tmp_path):
    (tmp_path / f"prog{EVIL}").write_text("")
    done = stretta("lab", "run", "--no-calls", "--client", f"'{tmp_path}/prog{EVIL}'")
    assert done.returncode != 0
    assert not UNSAFE.search(done.text)


def test_a_file_that_is_not_a_recording(tmp_path):
    path = tmp_path / f"file{EVIL}"
    path.write_text("{")
    done = stretta("lab", "draw", path)
    assert done.returncode == 2
    assert not UNSAFE.search(done.text)
    assert "is not JSON: expecting property name" in done.text
