"""Regenerate the outputs that README.md and docs/*.md quote: python docs/outputs.py [--check].

A quoted output is a code block after ``<!-- output: NAME -->``. Pictures are drawn from recordings
in tests/see/recordings; sessions run in a lab, where no other program uses their ports.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from stretta.lab import record

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"(?<=<!-- output: )(?P<name>[\w-]+) -->\n```\n(?P<text>.*?)```\n", re.DOTALL)
STRETTA = f"{sys.executable} -m stretta"

# the server runs in the background of the client's host, so that both ends are on 127.0.0.1
TCP = f"""
{STRETTA} tcp server 2> "$LOG" &
until grep -q waiting "$LOG"; do sleep 0.05; done
{STRETTA} tcp client perché
"""


def stretta(*words: str) -> str:
    """Return what the command prints, without colour, on a terminal of 80 columns."""
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "stretta", *words],
        cwd=ROOT, text=True, encoding="utf-8", check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONUTF8": "1", "COLUMNS": "80", "NO_COLOR": "1"},
    )  # fmt: skip
    return done.stdout


def in_lab(script: str) -> str:
    """Return what a shell script prints on a terminal, on a host of its own."""
    made = record(None, ["sh", "-c", f"export PYTHONUTF8=1\n{script}"], calls=False)
    text = b"".join(output.data for output in made.capture.output).decode()
    return re.sub(r"(127\.0\.0\.1), (?!12000)\d+", r"\1, 45330", text)  # the client's port


def handshake() -> str:
    """Return the picture of the handshake, up to its second explanation."""
    text = stretta("lab", "draw", "tests/see/recordings/handshake.json", "--width", "80")
    return text[: text.index("\n[3] ")] + "\n...\n"


def tcp_server() -> str:
    """Return what the TCP server prints while a client asks it."""
    return "$ stretta tcp server\n" + in_lab(
        f"LOG=$(mktemp)\n({TCP}) > /dev/null 2>&1\n"
        'until grep -q Sent "$LOG"; do sleep 0.05; done\ncat "$LOG"; rm "$LOG"'
    )


def tcp_client() -> str:
    """Return what the TCP client prints."""
    return "$ stretta tcp client perché\n" + in_lab(f'LOG=$(mktemp)\n{TCP}\nrm "$LOG"')


def udp_refused() -> str:
    """Return what the UDP client prints where no server is."""
    return "$ stretta udp client ciao\n" + in_lab(f"{STRETTA} udp client ciao")


def caret() -> str:
    """Return the error for a mistake in a fault."""
    return stretta("lab", "run", "handshake", "--drop", "syn-akc:1").partition("Usage")[0]


DRAWN: dict[str, Callable[[], str]] = {"handshake": handshake, "caret": caret}
RUN: dict[str, Callable[[], str]] = {
    "tcp-server": tcp_server,
    "tcp-client": tcp_client,
    "udp-refused": udp_refused,
}
"""Those that need a lab."""


def stale(outputs: dict[str, Callable[[], str]], *, write: bool = False) -> list[str]:
    """Return the names of the blocks that differ from their outputs; with ``write``, mend them."""
    found: list[str] = []

    def mended(block: re.Match[str]) -> str:
        name = block["name"]
        make = outputs.get(name)
        text = make() if make else block["text"]
        if text != block["text"]:
            found.append(name)
        return f"{name} -->\n```\n{text}```\n"

    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        new = BLOCK.sub(mended, text)
        if write and new != text:
            page.write_text(new, encoding="utf-8")
    return found


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        names = stale({**DRAWN, **RUN})
        sys.exit(f"out of date: {', '.join(names)}: run {__file__}" if names else 0)
    stale({**DRAWN, **RUN}, write=True)
