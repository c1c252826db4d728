"""What tests of processes need: children, processes by a word, another user."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import stretta


def as_nobody(text, *before):
    """Run Python code as an ordinary user, with an interpreter that it may execute."""
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    user = user if os.geteuid() == 0 else []
    source = str(Path(stretta.__file__).parents[1])
    for interpreter in (sys.executable, "/usr/bin/python3"):
        command = [*user, "env", f"PYTHONPATH={source}", "PYTHONDONTWRITEBYTECODE=1", *before]
        try_out = subprocess.run(
            [*command, interpreter, "-P", "-c", "import stretta.lab.controller"],
            capture_output=True, check=False, timeout=60,
        )  # fmt: skip
        if try_out.returncode == 0:
            return subprocess.run(
                [*command, interpreter, "-P", "-c", text],
                capture_output=True, text=True, check=False, timeout=60,
            )  # fmt: skip
    pytest.skip("no Python that an ordinary user may execute")


def children_of(pid):
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def processes_with(word):
    """Return the processes that have a word in their arguments."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if word in (process / "cmdline").read_bytes().decode(errors="replace"):
                found.append(int(process.name))
        except OSError:
            continue
    return found
