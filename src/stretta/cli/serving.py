"""Running a server from the command: what its errors and hints need to know of the command."""

from __future__ import annotations

import re
import shlex
import sys

from stretta.net.server.server import Server

__all__ = ["run_server", "typed_command"]


def run_server(server: Server, port: str, workers: int) -> None:
    """Run a server until a signal; ``port`` is the one that was asked for, as it was typed."""
    if "--auth" not in sys.argv:  # a hint is no place for a password
        server.command = typed_command(sys.argv[1:], port)
    server.run(workers=workers)


def typed_command(words: list[str], port: str) -> str:
    """Return the command that was typed, without its port, to be typed again with another one.

    >>> typed_command(["http", "server", "8000", "-a", "::1", "-d", "my folder"], "8000")
    "stretta http server -a ::1 -d 'my folder'"
    """
    kept: list[str] = []
    rest = iter(words)
    for word in rest:
        if word in ("-p", "--port"):
            next(rest, None)
        elif not re.fullmatch(r"--port=.*|-p\S+", word) and word != port:
            kept.append(word)
    return shlex.join(["stretta", *kept])
