"""The control channel: the socket between the process inside the lab and the one outside."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Any

from stretta.lab.messages import COMMANDS, Failed, MessageError, Stage, from_line, to_line

__all__ = ["ControlChannel"]

MOST_BUFFERED = 1024 * 1024
"""Bytes of events that may wait for the process outside; programs print no more until it reads."""

LARGEST = 16 * 1024 * 1024
"""Bytes of a message; the longest is the plan, which holds the programs' arguments."""


class ControlChannel:
    """The inside end of the channel: sends events, receives commands.

    Output that the socket does not take at once is buffered. The process ends when the other end
    closes, or sends something else than commands.
    """

    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self._out = bytearray()
        self._in = bytearray()

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self.control.fileno()

    def send(self, event: object) -> None:
        """Send an event, now or with a later ``flush``."""
        self._out += to_line(event)
        self.flush()

    def fail(self, stage: Stage, error: OSError) -> None:
        """Send that a step failed, and wait until it is sent."""
        self.control.setblocking(True)
        self.send(Failed(stage, error.errno or 0, error.strerror or str(error)))

    def flush(self) -> None:
        """Send what is buffered, as far as the socket takes it."""
        with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            while self._out:
                del self._out[: self.control.send(self._out[:65536])]

    @property
    def pending(self) -> bool:
        """Whether output is buffered."""
        return bool(self._out)

    @property
    def congested(self) -> bool:
        """Whether so much is buffered that programs must wait with their output."""
        return len(self._out) > MOST_BUFFERED

    def wait(self) -> Any:
        """Wait for one command, and return it."""
        while True:
            for command in self.receive():
                return command

    def receive(self) -> list[Any]:
        """Return the commands that have come."""
        try:
            data = self.control.recv(65536)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        self._in += data
        if not data or len(self._in) > LARGEST:
            os._exit(1)
        *lines, rest = self._in.split(b"\n")
        self._in = bytearray(rest)
        try:
            return [from_line(bytes(line), COMMANDS) for line in lines]
        except MessageError as error:
            self.fail(Stage.INTERNAL, OSError(0, str(error)))
            os._exit(1)
