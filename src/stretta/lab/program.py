"""A running program on a host: its process, its namespaces, the terminal that it writes to."""

from __future__ import annotations

import contextlib
import os
import pty
import socket
import subprocess
import termios

from stretta.lab import kernel, messages

__all__ = ["RunningProgram"]


class RunningProgram:
    """A program that was started in a host's namespaces; ``terminal`` is -1 if it has none.

    ``space`` is the host's network namespace, ``wire`` the wire's, to which the caller returns.
    Raises OSError when the program cannot start.
    """

    def __init__(self, program: messages.Program, space: int, wire: int) -> None:
        self.host = program.host
        self.own_session = program.captured
        self.terminal = -1
        stdout: int | None = None
        if program.captured:
            self.terminal, stdout = pty.openpty()  # a terminal, so that output is not held back
            settings = termios.tcgetattr(stdout)
            settings[1] &= ~termios.OPOST  # output bytes stay as they are
            termios.tcsetattr(stdout, termios.TCSANOW, settings)
            os.set_blocking(self.terminal, False)
        try:
            kernel.setns(space)
            kernel.unshare(kernel.CLONE_NEWUTS)
            socket.sethostname(program.host)
            self.process = subprocess.Popen(  # noqa: S603 - what the user asked for
                program.argv,
                stdin=None if program.stdin else subprocess.DEVNULL,
                stdout=stdout,
                stderr=stdout,
                pass_fds=program.descriptors,
                start_new_session=self.own_session,
                env={**os.environ, **dict(program.environment)},
                restore_signals=True,
            )
        finally:
            kernel.setns(wire)
            if stdout is not None:
                os.close(stdout)

    def read(self) -> bytes:
        """Return what the program has printed; close the terminal at its end."""
        try:
            data = os.read(self.terminal, 65536)
        except BlockingIOError:
            return b""
        except OSError:  # EIO: no process has the other end open any more
            data = b""
        if not data:
            os.close(self.terminal)
            self.terminal = -1
        return data

    def signal(self, number: int) -> None:
        """Send a signal to the program, and to its process group if it has a session of its own."""
        with contextlib.suppress(ProcessLookupError):
            if self.own_session:
                os.killpg(self.process.pid, number)
            else:
                os.kill(self.process.pid, number)
