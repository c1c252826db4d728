"""A program on a host: its process, its namespaces, the terminal that it writes to."""

from __future__ import annotations

import contextlib
import os
import pty
import socket
import subprocess
import termios
from typing import Any

from stretta.lab import kernel

__all__ = ["Program"]


class Program:
    """One program on one host: its process, and the terminal that it writes to, if it has one."""

    def __init__(self, name: str, plan: dict[str, Any], space: int, wire: int) -> None:
        self.name = name
        self.own_session = bool(plan["recorded"])
        self.terminal = -1
        stdout: int | None = None
        if plan["recorded"]:
            self.terminal, stdout = pty.openpty()  # so that output comes as it is printed
            settings = termios.tcgetattr(stdout)
            settings[1] &= ~termios.OPOST  # and as it was written
            termios.tcsetattr(stdout, termios.TCSANOW, settings)
            os.set_blocking(self.terminal, False)
        environment = {**os.environ, **plan["environment"]}
        kernel.setns(space)
        kernel.unshare(kernel.CLONE_NEWUTS)
        socket.sethostname(name)
        try:
            self.process = subprocess.Popen(  # noqa: S603 - what the user asked for
                plan["command"],
                stdin=None if plan["stdin"] else subprocess.DEVNULL,
                stdout=stdout,
                stderr=stdout,
                pass_fds=plan["descriptors"],
                start_new_session=self.own_session,
                env=environment,
                restore_signals=True,
            )
        finally:
            kernel.setns(wire)
            if stdout is not None:
                os.close(stdout)

    def read(self) -> bytes:
        """Return what it has printed; close the terminal at its end."""
        try:
            data = os.read(self.terminal, 65536)
        except BlockingIOError:
            return b""
        except OSError:  # EIO: nobody has the other end any more
            data = b""
        if not data:
            os.close(self.terminal)
            self.terminal = -1
        return data

    def signal(self, number: int) -> None:
        """Send it a signal, and whoever it started where it has a session of its own."""
        with contextlib.suppress(ProcessLookupError):
            if self.own_session:
                os.killpg(self.process.pid, number)
            else:
                os.kill(self.process.pid, number)
