"""Rough peers against the three servers, a bounded number of times, every whole reply checked.

    .venv/bin/python tests/stress.py [ROUNDS] [SEED]

Clients send in random pieces, reset in the middle, end their side early, leave replies unread,
pipeline requests and change files meanwhile. ``dev.py sanitize`` runs it on sanitized modules.
"""

from __future__ import annotations

import random
import socket
import struct
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from stretta import http, tcp, udp

ROUNDS, SEED, CLIENTS = 150, 1, 8
RESET = struct.pack("ii", 1, 0)
ABC = b"abcdefghijklmnopqrstuvwxyz"


def text(chance: random.Random, most: int) -> bytes:
    """Return some letters."""
    return bytes(chance.choices(ABC, k=chance.randint(1, most)))


def send_in_pieces(sock: socket.socket, data: bytes, chance: random.Random) -> None:
    """Send data cut at random places."""
    while data:
        size = chance.choice((1, 7, 100, 5000, 70_000))
        sock.sendall(data[:size])
        data = data[size:]


def read_to_end(sock: socket.socket) -> bytes:
    """Return all that comes until the peer ends its side."""
    got = bytearray()
    while piece := sock.recv(65_536):
        got += piece
    return bytes(got)


def talk_tcp(port: int, chance: random.Random) -> None:
    """One conversation over TCP, whole or broken off."""
    message = text(chance, 120_000)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        kind = chance.randrange(4)
        if kind == 0:  # reset before the reply is read
            sock.sendall(message)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        elif kind == 1:  # gone without reading
            sock.sendall(message[:50_000])
        else:
            with ThreadPoolExecutor(1) as other:
                reading = other.submit(read_to_end, sock)
                send_in_pieces(sock, message, chance)
                sock.shutdown(socket.SHUT_WR)
                assert reading.result() == message.upper()


def talk_udp(port: int, chance: random.Random) -> None:
    """A burst of datagrams; each reply is the upper case of one of them."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.connect(("127.0.0.1", port))
        sent = [text(chance, chance.choice((1, 100, 9000))) for _ in range(chance.randint(1, 20))]
        for each in sent:
            sock.send(each)
        left = sorted(each.upper() for each in sent)
        while left:
            left.remove(sock.recv(65_536))


def talk_http(port: int, folder: Path, chance: random.Random) -> None:
    """Pipelined requests for files, some of which change meanwhile."""
    names = chance.choices(
        ("small", "large", "sub/", "missing", "changing"), k=chance.randint(1, 9)
    )
    request = b"".join(
        b"GET /%s HTTP/1.1\r\nHost: a\r\n%s\r\n" % (name.encode(), b"")
        for name in names
    ) + b"GET /small HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"  # fmt: skip
    if "changing" in names:
        new = folder / f"new-{chance.random()}"
        new.write_bytes(text(chance, 1000))
        new.replace(folder / "changing")
    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        if chance.randrange(4) == 0:
            sock.sendall(request)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            return
        send_in_pieces(sock, request, chance)
        got = read_to_end(sock)
        assert got.count(b"HTTP/1.1 ") >= len(names) + 1
        assert got.endswith((folder / "small").read_bytes())


def main(rounds: int = ROUNDS, seed: int = SEED) -> int:
    """Run the rounds; return 1 if a server broke a conversation that it should not."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "small").write_bytes(ABC)
        (folder / "large").write_bytes(ABC * 20_000)
        (folder / "changing").write_bytes(ABC)
        (folder / "sub").mkdir()
        servers = (
            tcp.serve(port=0, host="127.0.0.1"),
            udp.serve(port=0, host="127.0.0.1"),
            http.serve(folder, port=0, host="127.0.0.1"),
        )
        for server in servers:
            server.drain_timeout = 5.0
        first, second, third = servers
        with first.in_background(), second.in_background(), third.in_background():

            def work(number: int) -> None:
                chance = random.Random(f"{seed} {number}")
                talk_tcp(first.port, chance)
                talk_udp(second.port, chance)
                talk_http(third.port, folder, chance)

            with ThreadPoolExecutor(CLIENTS) as clients:
                failures = [
                    error
                    for done in [clients.submit(work, n) for n in range(rounds)]
                    if (error := done.exception()) is not None
                ]
    for error in failures[:5]:
        print(f"stress: {type(error).__name__}: {error}")
    print(f"stress: {rounds - len(failures)} of {rounds} rounds went well")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
