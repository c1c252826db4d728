"""When the system refuses something, a lab ends with one clear error and leaves nothing behind."""

import errno
import os
import re
import shutil
import subprocess
import sys

import pytest

from processes import as_nobody, processes_with
from stretta.lab import record
from stretta.lab.unavailable import LabUnavailable
from support import until

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="root may mount over /proc")

RUN = """
import sys
from stretta.errors import StrettaError
from stretta.lab import record
try:
    seen = record(None, ["sleep", sys.argv[1]], calls=False, lab=None)
except StrettaError as error:
    print(f"{error.what}|{error.why}|{error.hint}")
else:
    print("ran", seen.status)
"""


def three_parts(text):
    """Return whether a text is one error with its three parts, and no traceback."""
    what, why, hint = text.strip().split("|")
    return bool(what and why and hint) and "Traceback" not in text


def stretta(*before):
    done = subprocess.run(
        [*before, sys.executable, "-m", "stretta", "lab", "run", "handshake", "--no-calls"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done


def says(done, what, why, hint):
    """Return whether a failed command printed one error with these parts."""
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("stretta: ")]
    return done.returncode == 1 and re.search(f"{what}.*: .*{why}.*\\. .*{hint}", line)


@pytest.mark.parametrize("limit", [*range(1, 9), 200])
def test_a_limit_on_processes(lab, limit):
    """fork(2) fails at one step or another: in the controller, in the init, in its children."""
    word = f"0.1{limit}{os.getpid()}"
    done = as_nobody(RUN.replace("sys.argv[1]", repr(word)), "prlimit", f"--nproc={limit}", "--")
    assert "ran 0" in done.stdout or three_parts(done.stdout), (done.stdout, done.stderr)
    if limit == 200:
        assert done.stdout == "ran 0\n"
    until(lambda: not processes_with(word), "the end of its processes")


@pytest.mark.parametrize("limit", [64, 199, 201, 202, 203, 205, 206, 208, 1024])
def test_a_limit_on_open_files(lab, limit):
    done = stretta("prlimit", f"--nofile={limit}", "--")
    if limit == 1024:
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == 0 or says(done, "cannot", "too many open files", "ulimit -n")


@pytest.mark.parametrize(
    ("kind", "name"),
    [("user", "user"), ("net", "network"), ("mnt", "mount"), ("pid", "PID")],
)
def test_a_forbidden_kind_of_namespace(lab, kind, name):
    script = f'echo 0 > /proc/sys/user/max_{kind}_namespaces && exec "$@"'
    done = stretta("unshare", "--user", "--map-root-user", "sh", "-c", script, "sh")
    assert says(
        done, "cannot make a lab", f"no {name} namespace is allowed", f"max_{kind}_namespaces"
    )


def test_too_few_network_namespaces(lab):
    script = 'echo 2 > /proc/sys/user/max_net_namespaces && exec "$@"'
    done = stretta("unshare", "--user", "--map-root-user", "sh", "-c", script, "sh")
    assert says(done, "cannot make a lab", "no space left", "sysctl user")


@NEEDS_ROOT
def test_no_proc(lab):
    done = stretta("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh")
    assert says(done, "cannot make a lab", "/proc does not show", "mount -t proc")


@NEEDS_ROOT
def test_a_read_only_folder_for_temporary_files_is_enough(lab):
    script = 'mount --bind /tmp /tmp && mount -o remount,ro,bind /tmp && exec "$@"'
    without_coverage = [f"--unset={name}" for name in os.environ if name.startswith("COVERAGE_")]
    done = stretta("env", *without_coverage, "unshare", "--mount", "sh", "-c", script, "sh")
    assert done.returncode == 0, done.stderr


def test_no_file_is_left_behind(lab, tmp_path):
    before = set(os.listdir("/tmp"))
    done = stretta("env", f"TMPDIR={tmp_path}")
    assert done.returncode == 0
    assert not list(tmp_path.iterdir())
    assert not [name for name in set(os.listdir("/tmp")) - before if "stretta" in name]


@pytest.mark.parametrize("command", ["ip", "strace"])
def test_a_missing_command(lab, monkeypatch, command):
    which = shutil.which
    monkeypatch.setattr(
        shutil, "which", lambda name, **where: None if name == command else which(name, **where)
    )
    package = {"ip": "iproute2", "strace": "strace"}[command]
    with pytest.raises(Exception, match=f"{command} is missing.*apt install {package}"):
        record(None, ["true"])


@pytest.mark.parametrize("failing", ["socket.socketpair", "os.memfd_create", "subprocess.Popen"])
@pytest.mark.parametrize("number", ["EMFILE", "ENFILE", "ENOMEM", "EAGAIN"])
def test_a_failing_call(lab, monkeypatch, failing, number):
    def fail(*_args, **_kwargs):
        raise OSError(getattr(errno, number), os.strerror(getattr(errno, number)))

    monkeypatch.setattr(failing, fail)
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(LabUnavailable) as caught:
        record(None, ["true"], calls=False)
    assert caught.value.what
    assert os.strerror(getattr(errno, number)).lower() in caught.value.why
    assert caught.value.hint
    assert set(os.listdir("/proc/self/fd")) == before
