"""HTTP servers that send given responses, byte for byte."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from support import naive_tcp_server

HELLO = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nciao"

Answer = bytes | Callable[[socket.socket], None]


def read_request(connection: socket.socket) -> bytes:
    """Return the next request's head and body, b"" when the client has closed."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            return b""
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    length = next((int(x[15:]) for x in lines if x.startswith(b"content-length:")), 0)
    chunked = b"\r\ntransfer-encoding: chunked" in head.lower()
    while len(body) < length or (chunked and not body.endswith(b"0\r\n\r\n")):
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


class Canned:
    """A server: its ``url``, the requests it received, and the number of connections."""

    def __init__(self) -> None:
        self.url = ""
        self.port = 0
        self.requests: list[bytes] = []
        self.connections = 0


@contextmanager
def canned(*answers: Answer, keep: bool = False) -> Iterator[Canned]:
    """Answer each request with the next of ``answers``, and repeat the last one.

    The connection is closed after each answer unless ``keep`` is set.
    """
    seen = Canned()

    def serve(connection: socket.socket) -> None:
        seen.connections += 1
        while request := read_request(connection):
            seen.requests.append(request)
            answer = answers[min(len(seen.requests), len(answers)) - 1]
            if callable(answer):
                answer(connection)
            else:
                connection.sendall(answer)
            if not keep:
                return

    with naive_tcp_server(serve) as port:
        seen.port = port
        seen.url = f"http://127.0.0.1:{port}/"
        yield seen
