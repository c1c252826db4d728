"""The socket between the process inside and the one outside: JSON lines."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from typing import Any

__all__ = ["Talk"]


class Talk:
    """The socket to the process outside: JSON lines; what does not fit now is kept."""

    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self._out = bytearray()
        self._in = bytearray()

    def fileno(self) -> int:
        return self.control.fileno()

    def say(self, **fields: Any) -> None:
        self._out += json.dumps(fields).encode() + b"\n"
        self.flush()

    def fail(self, stage: str, error: OSError) -> None:
        self.control.setblocking(True)
        call = error.filename if isinstance(error.filename, str) else ""
        words = error.strerror or str(error)
        self.say(event="failed", stage=stage, errno=error.errno or 0, words=words, call=call)

    def flush(self) -> None:
        with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            while self._out:
                del self._out[: self.control.send(self._out[:65536])]

    @property
    def pending(self) -> bool:
        return bool(self._out)

    def ask(self) -> dict[str, Any]:
        """Wait for one line, and return it; exit when there is nobody any more."""
        while True:
            for line in self.listen():
                return line

    def listen(self) -> list[dict[str, Any]]:
        """Return the lines that have come; exit when there is nobody any more."""
        try:
            data = self.control.recv(65536)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            os._exit(1)
        self._in += data
        *lines, rest = self._in.split(b"\n")
        self._in = bytearray(rest)
        return [json.loads(line) for line in lines]
