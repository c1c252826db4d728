"""What keeps a lab harmless and honest: privileges, ends, losses of its own."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from processes import as_nobody, children_of, processes_with
from stretta.lab.controller import MOST_OUTPUT
from support import PATIENCE, until


def python(text, *arguments):
    return [sys.executable, "-c", text, *arguments]


def printed(recording):
    return b"".join(output.data for output in recording.capture.output).decode()


def test_programs_get_no_ambient_capabilities(lab):
    """The lab's own commands need CAP_NET_ADMIN; the user's programs must not inherit it."""
    seen = lab(None, ["grep", "CapAmb", "/proc/self/status"], calls=False)
    assert printed(seen).split() == ["CapAmb:", "0" * 16]


def test_an_ordinary_user_stays_one(lab):
    """It needs no privilege, and its programs get none, although the lab is theirs to configure."""
    text = (
        "import sys\nfrom stretta.lab import record\n"
        "seen = record(None, ['cat', '/proc/self/status'], calls=False)\n"
        "sys.stdout.buffer.write(b''.join(o.data for o in seen.capture.output))\n"
    )
    done = as_nobody(text)
    assert done.returncode == 0, done.stderr
    status = dict(line.split(":", 1) for line in done.stdout.splitlines())
    assert {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapAmb")} == {0}
    assert "0" not in status["Uid"].split()


def test_a_lab_that_is_stopped_dies_with_its_controller(lab):
    """The init cannot see its channel close while it is stopped: the kernel must kill it."""
    word = f"9753.{os.getpid()}"
    process = subprocess.Popen(
        [
            sys.executable, "-m", "stretta", "lab", "run", "--no-calls",
            "--client", f"echo ready; exec sleep {word}",
        ],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    inside = []
    try:
        assert "ready" in process.stderr.readline()
        (outer,) = children_of(process.pid)
        inside = [outer, *children_of(outer)]
        assert len(inside) == 2
        os.kill(inside[1], signal.SIGSTOP)
        process.kill()
        process.wait(PATIENCE)
        until(lambda: not processes_with(word), "the end of the programs")
        until(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in inside), "the end")
    finally:
        process.kill()
        process.stderr.close()
        for pid in inside:
            if Path(f"/proc/{pid}/exe").exists():
                os.kill(pid, signal.SIGKILL)


def test_frames_that_the_lab_loses_are_counted(lab, tmp_path):
    """While the wire's process is stopped, frames overflow its ring."""
    go, done = tmp_path / "go", tmp_path / "done"
    text = (
        "import os, socket, sys, time\nprint('ready', flush=True)\n"
        "while not os.path.exists(sys.argv[1]): time.sleep(0.01)\n"
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "for n in range(12000): s.sendto(b'x', ('10.0.0.2', 9))\n"
        "open(sys.argv[2], 'w').close()\n"
    )

    def stop_the_wire(output):
        if b"ready" in output.data:
            (outer,) = [p for p in children_of(os.getpid()) if children_of(p)]
            (init,) = children_of(outer)
            os.kill(init, signal.SIGSTOP)
            go.touch()
            until(done.exists, "the end of the burst")
            os.kill(init, signal.SIGCONT)

    seen = lab(None, python(text, str(go), str(done)), calls=False, show=stop_the_wire)
    assert seen.status == 0
    assert seen.lost > 0


def test_endless_output_is_bounded(lab):
    """The recording keeps the beginning; a program that prints faster than we read must wait."""
    shown = 0

    def show(output):
        nonlocal shown
        shown += len(output.data)

    seen = lab(None, "yes | head -c 20000000", calls=False, show=show)
    assert seen.status == 0
    assert shown == seen.capture.printed["client"] == 20_000_000
    kept = sum(len(output.data) for output in seen.capture.output)
    assert MOST_OUTPUT // 2 < kept <= MOST_OUTPUT
