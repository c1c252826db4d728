"""The process that listens on a port, as far as this user may see it (proc(5), Linux only)."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

__all__ = ["port_owner"]

LISTEN = "0A"
"""The TCP state of a listening socket in /proc/net/tcp."""


def port_owner(port: int, kind: int, proc: Path = Path("/proc")) -> str:
    """Return ``name (process N)`` of the process that listens on the port, or '' if unknown."""
    inodes = set(_inodes(port, kind, proc))
    if not inodes:
        return ""
    for process in proc.iterdir():
        if process.name.isdecimal() and not inodes.isdisjoint(_sockets(process)):
            try:
                name = (process / "comm").read_text(errors="replace").strip()
            except OSError:
                continue
            printable = "".join(c if c.isprintable() else "?" for c in name)
            return f"{printable} (process {process.name})"
    return ""


def _inodes(port: int, kind: int, proc: Path) -> Iterator[str]:
    protocol = "tcp" if kind == socket.SOCK_STREAM else "udp"
    for table in (protocol, protocol + "6"):
        try:
            rows = (proc / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            columns = row.split()
            listening = protocol == "udp" or columns[3] == LISTEN
            if listening and int(columns[1].rpartition(":")[2], 16) == port:
                yield columns[9]


def _sockets(process: Path) -> Iterator[str]:
    try:
        for descriptor in (process / "fd").iterdir():
            try:
                found = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(descriptor))
            except OSError:  # closed in the meantime
                continue
            if found:
                yield found[1]
    except OSError:  # another user's process
        return
