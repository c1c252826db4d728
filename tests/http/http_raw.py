"""A client that sends what it is told, byte for byte, and reads replies with http.client."""

from __future__ import annotations

import http.client
import io
import socket
from typing import NamedTuple

from support import PATIENCE


class Answer(NamedTuple):
    """One reply."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes
    version: int


class Raw:
    """One connection to a server on loopback."""

    def __init__(self, port: int, **options: int) -> None:
        self.sock = socket.socket()
        for name, value in options.items():
            self.sock.setsockopt(socket.SOL_SOCKET, getattr(socket, name), value)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(("127.0.0.1", port))
        self.file = self.sock.makefile("rb")

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def get(self, target: str, *headers: str, method: str = "GET", body: bytes = b"") -> Answer:
        """Send one request and read its reply."""
        lines = [f"{method} {target} HTTP/1.1", "Host: a", *headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join([*lines, "", ""]).encode() + body)
        return self.answer(method)

    def answer(self, method: str = "GET") -> Answer:
        """Read one reply to a request of this method."""
        response = http.client.HTTPResponse(_Kept(self.file), method=method)
        response.begin()
        return Answer(response.status, response.headers, response.read(), response.version)

    def rest(self) -> bytes:
        """Read to the end of the connection."""
        return self.file.read()

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.sock.close()


class _Kept:
    """What HTTPResponse takes for a socket; its file stays open for the next reply."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file

    def makefile(self, _mode: str) -> _Borrowed:
        return _Borrowed(self._file)


class _Borrowed:
    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)

    def close(self) -> None:
        """Leave the file open."""
