"""A program on this machine's own network: its calls always, its segments where that is allowed."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading

import pytest

PROGRAM = (
    "import socket, sys\nc = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n"
    "c.sendall(b'ciao'); c.recv(9); c.close(); sys.exit(3)\n"
)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_a_program_is_traced(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def answer():
            connection, _ = listener.accept()
            with connection:
                connection.sendall(connection.recv(9))

        thread = threading.Thread(target=answer)
        thread.start()
        file = tmp_path / "t.json"
        done = subprocess.run(
            [
                sys.executable, "-m", "stretta", "trace", "--json", file, "--",
                sys.executable, "-c", PROGRAM, str(port),
            ],
            capture_output=True, text=True, check=False, timeout=60,
            env={**os.environ, "PYTHONUTF8": "1"},
        )  # fmt: skip
        thread.join()
    assert done.returncode == 3, done.stderr
    document = json.loads(file.read_text(encoding="utf-8"))
    calls = {e["name"]: e for e in document["events"] if e["kind"] == "call" and e.get("flow")}
    assert calls["connect"]["flow"]["responder"] == {
        "host": "remote", "address": "127.0.0.1", "port": port,
    }  # fmt: skip
    assert (calls["send"]["transferred"], calls["recv"]["transferred"]) == (4, 4)
    frames = [e for e in document["events"] if e["kind"] == "frame"]
    assert "┌ connect" in done.stdout or "connect() = 0" in done.stdout
    if not document["about"]["segments"]:
        assert "Calls only" in done.stderr
        assert not frames
    elif not document["about"]["missed"]:
        sizes = [e["packet"]["length"] for e in frames if e["packet"].get("length")]
        assert sizes == [4, 4]  # each once, though the loopback shows them twice
        carried = {k["target"] for k in document["links"] if k["kind"] == "carried"}
        assert len(carried) == 1  # the peer's calls are not seen


def test_a_program_that_is_not_there():
    done = subprocess.run(
        [sys.executable, "-m", "stretta", "trace", "--", "/no/such/program"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
