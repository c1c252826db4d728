"""What several tests need: servers in a thread, the command as a process, naive peers."""

from __future__ import annotations

import os
import pty
import re
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from stretta.net.server.server import Server

PATIENCE = 20.0
"""Seconds after which a condition that never comes fails the test."""

UNMEASURED = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE_")}
"""The environment for processes that coverage would change: its modules, its files, its exit."""

S = TypeVar("S", bound=Server)


@contextmanager
def serving(server: S) -> Iterator[S]:
    """Serve from a thread while the block goes on; what is still open then is cut."""
    server.drain_timeout = 0.0
    with server.in_background():
        yield server


def until(condition: Callable[[], object], what: str = "the condition") -> None:
    """Wait for a condition that some other process or thread brings about."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{what} never came"
        time.sleep(0.005)


def stretta(*words: str, stdin: bytes | None = None, **options) -> subprocess.CompletedProcess:
    """Run the command to its end."""
    feed = {"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}
    return subprocess.run(
        [sys.executable, "-m", "stretta", *words],
        capture_output=True,
        timeout=PATIENCE,
        check=False,
        **feed,
        **options,
    )


class Running:
    """A server command in its own process; ``port`` is the one it got, ``lines`` what it said."""

    def __init__(self, *words: str, **options) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "stretta", *words, "-p", "0", "--any-port"],
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **options,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.port = int(self.expect(r"(?:waiting on \(.*, |at port )(\d+)")[1])

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))

    def expect(self, pattern: str) -> re.Match[str]:
        """Wait for a line, and return what matched."""
        found: list[re.Match[str]] = []

        def seen() -> bool:
            found.extend(m for line in list(self.lines) if (m := re.search(pattern, line)))
            return bool(found) or (self.process.poll() is not None and not self._reader.is_alive())

        until(seen, f"{pattern!r} in {self.lines}")
        assert found, f"{pattern!r} is not in {self.lines}"
        return found[0]

    def stop(self, signal: int = 15) -> int:
        """Send a signal and return the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal)
        status = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        self.process.stdout.close()
        self.process.stderr.close()
        return status

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.stop()


class Terminal:
    """The command on a pseudo-terminal: what a person sees, and types."""

    def __init__(self, *words: str, columns: int = 80, env: dict[str, str] | None = None) -> None:
        self.screen = ""
        self._master, slave = pty.openpty()
        import fcntl  # noqa: PLC0415
        import struct  # noqa: PLC0415
        import termios  # noqa: PLC0415

        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "stretta", *words],
            stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            env={**os.environ, "TERM": "xterm", **(env or {})},
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(slave)

    def type(self, text: str) -> None:
        """Type text."""
        os.write(self._master, text.encode())

    def expect(self, text: str) -> None:
        """Wait until the screen shows the text."""
        until(lambda: text in self._read(), f"{text!r} on the screen {self.screen!r}")

    def _read(self) -> str:
        while select.select([self._master], [], [], 0.01)[0]:
            try:
                data = os.read(self._master, 65536)
            except OSError:  # the program has gone
                break
            if not data:
                break
            self.screen += data.decode(errors="replace").replace("\r\n", "\n")
        return self.screen

    def end(self) -> int:
        """Wait for the program's end and return its status."""
        until(lambda: self._read() and self.process.poll() is not None, "the end")
        self._read()
        return self.process.returncode

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        os.close(self._master)


@contextmanager
def naive_tcp_server(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """Accept connections one after the other, as a beginner's server does; yields the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(PATIENCE)
                    with suppress(OSError):
                        answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(PATIENCE)


def one_recv(connection: socket.socket) -> None:
    """Do what the simplest server does: one recv(), one send(), close."""
    connection.send(connection.recv(1024).upper())


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """Return a port on which nothing listens."""
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]
