"""Measure what hostile clients cost: memory, and the waiting time of a good client, beside nginx.

    python3 bench/hostile.py [ROW…] [--clients N] [--rounds N] [--json]

ROW is the beginning of a row's name (``memory``, ``burst``, ``time-outs``, ``slow``); all rows
without one. Server and clients have a core each; the servers take turns; a figure is the median.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import shutil
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from run import use_own_python
from servers import LOAD_CORE, Missing, Place, Words, memory, nginx, running, stretta

HEAD = b"GET /small.html HTTP/1.1\r\nHost: a\r\n\r\n"
BURST = 260 * 1024
PIPELINED = 1000
LIMIT = 3
"""Seconds after which both servers end a slow request, in the rows that need it."""

PATIENCE = 60.0
MILLISECONDS = 1000.0


@dataclass(frozen=True)
class Row:
    """One attack: its name, unit, and the function that measures it against a running server."""

    name: str
    unit: str
    measure: Callable[[int, int, argparse.Namespace], float]
    options: tuple[str, ...] = ()


def ours(row: Row) -> Callable[[Place, int], Words]:
    return stretta("http", "-d", "{folder}", "--log", "off", *row.options)


def theirs(row: Row) -> Callable[[Place, int], Words]:
    """Return what starts nginx, with the same time limits and compression."""
    plain = nginx()

    def words(place: Place, port: int) -> Words:
        made = plain(place, port)
        file = Path(made[2]) / "nginx.conf"
        added = (
            f"client_header_timeout {LIMIT}s; client_body_timeout {LIMIT}s;"
            if row.options
            else "client_header_timeout 10s;"
        )
        text = file.read_text()
        text = text.replace("sendfile on;", f"sendfile on; {added} gzip on; gzip_types *;")
        file.write_text(text)
        return made

    return words


def connect(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def ask(sock: socket.socket) -> None:
    """Do one exchange over a kept connection; raises ConnectionError when that ends."""
    sock.sendall(HEAD)
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(65536)
        if not piece:
            raise ConnectionResetError
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
    while len(body) < length:
        body += sock.recv(65536)


def _good(port: int, told: Any) -> None:
    """Ask every 2 ms until told to stop; send back the milliseconds that each answer took."""
    os.sched_setaffinity(0, {LOAD_CORE})
    sock, waits = connect(port), []
    ask(sock)
    told.send("ready")
    while not told.poll():
        start = time.perf_counter()
        try:
            ask(sock)
        except ConnectionError:  # the server ends a connection after many requests
            sock = connect(port)
            continue
        waits.append((time.perf_counter() - start) * MILLISECONDS)
        time.sleep(0.002)
    told.send(waits)


@contextmanager
def good_client(port: int) -> Iterator[list[float]]:
    """Run a good client during the block; afterwards the list holds its waiting times."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_good, args=(port, there))
    process.start()
    waits: list[float] = []
    here.recv()
    try:
        yield waits
    finally:
        here.send("stop")
        waits += here.recv()
        process.join()


def p99(waits: list[float]) -> float:
    return sorted(waits)[int(len(waits) * 0.99)]


# the attacks


def pipelined_memory(port: int, pid: int, _: argparse.Namespace) -> float:
    """MiB by which the server grows while a client asks a thousand times and reads nothing."""
    before = memory(pid)
    ask_large = b"GET /large.txt HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n"
    with connect(port) as sock:
        sock.setblocking(False)
        rest = memoryview(ask_large * PIPELINED)
        most = 0
        end = time.monotonic() + 5
        while time.monotonic() < end:
            with suppress(BlockingIOError):
                while rest:
                    rest = rest[sock.send(rest) :]
            most = max(most, memory(pid) - before)
            time.sleep(0.05)
    return most / 2**20


def burst(port: int, _: int, __: argparse.Namespace) -> float:
    """The longest wait of a good client during one burst of pipelined requests, in ms."""
    with good_client(port) as waits, connect(port) as sock:
        time.sleep(0.2)
        sock.setblocking(False)
        rest, unread = memoryview(HEAD * (BURST // len(HEAD))), BURST // len(HEAD)
        end = time.monotonic() + PATIENCE
        while unread > 0 and time.monotonic() < end:
            with suppress(BlockingIOError):
                if rest:
                    rest = rest[sock.send(rest) :]
            try:
                data = sock.recv(1 << 20)
            except BlockingIOError:
                time.sleep(0.0005)
                continue
            if not data:
                break
            unread -= data.count(b"HTTP/1.1 200")
    return max(waits)


def _crowd(port: int, count: int, first: bytes) -> ExitStack:
    stack = ExitStack()
    for _ in range(count):
        stack.enter_context(connect(port)).sendall(first)
    return stack


def timeouts(port: int, _: int, options: argparse.Namespace) -> float:
    """The longest wait of a good client while many connections time out together, in ms."""
    with _crowd(port, min(8000, options.clients), b"GET / HT"), good_client(port) as waits:
        time.sleep(LIMIT + 3)
    return max(waits)


def _slow(first: bytes, drop: bytes) -> Callable[[int, int, argparse.Namespace], float]:
    def measure(port: int, _: int, options: argparse.Namespace) -> float:
        clients = [connect(port) for _ in range(min(8000, options.clients))]
        try:
            for sock in clients:
                sock.sendall(first)
                sock.setblocking(False)
            with good_client(port) as waits:
                end = time.monotonic() + 5
                while time.monotonic() < end:
                    for number, sock in enumerate(clients):
                        with suppress(OSError):  # the server has ended it
                            sock.send(drop)
                        if number % 100 == 0:
                            time.sleep(0.01)
        finally:
            for sock in clients:
                sock.close()
        return p99(waits)

    return measure


ROWS = [
    Row("memory: 1000 requests for 4 MB, nothing read", "MiB", pipelined_memory),
    Row("burst of 260 KB: longest wait of another", "ms", burst),
    Row(
        "time-outs, all at once: longest wait of another", "ms", timeouts,
        ("--header-timeout", str(LIMIT)),
    ),
    Row("slow heads: p99 of another", "ms", _slow(b"GET / HTTP/1.1\r\nHost: a\r\n", b"x")),
    Row(
        "slow bodies: p99 of another", "ms",
        _slow(b"GET /small.html HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n", b"x"),
    ),
]  # fmt: skip


def make_files(place: Place) -> None:
    place.folder.mkdir(parents=True)
    (place.folder / "small.html").write_bytes(b"<p>ciao</p>\n" * 51)
    words = "".join(f"{number * 7919 % 100_003} " for number in range(700_000))
    (place.folder / "large.txt").write_text(words[: 4 << 20])
    (place.path / "tmp").mkdir()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help="beginning of a row's name")
    parser.add_argument("--clients", type=int, default=8000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print one JSON object a row")
    options = parser.parse_args()
    use_own_python()
    chosen = [row for row in ROWS if not options.rows or row.name.startswith(tuple(options.rows))]
    if not chosen:
        parser.error("no such row; there are: " + "; ".join(row.name for row in ROWS))
    if shutil.which("nginx") is None:
        sys.exit("nginx is missing: sudo apt-get install nginx-light")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(prefix="stretta-hostile-") as path:
        place = Place(Path(path))
        make_files(place)
        for row in chosen:
            result = measure(row, place, options)
            print(json.dumps(result) if options.json else line(result), flush=True)


def measure(row: Row, place: Place, options: argparse.Namespace) -> dict[str, Any]:
    """Return the medians of both servers, taken in turns, and their ratio."""
    own, peer = [], []
    os.sched_setaffinity(0, {LOAD_CORE})
    for _ in range(options.rounds):
        for start, figures in ((ours(row), own), (theirs(row), peer)):
            with running(start, place) as (port, pid):
                figures.append(row.measure(port, pid, options))
    stretta_figure, nginx_figure = statistics.median(own), statistics.median(peer)
    return {
        "row": row.name,
        "unit": row.unit,
        "stretta": round(stretta_figure, 1),
        "nginx": round(nginx_figure, 1),
        "ratio": round(stretta_figure / nginx_figure, 2) if nginx_figure else None,
    }


def line(result: dict[str, Any]) -> str:
    figures = f"{result['stretta']:8} {result['nginx']:8} {result['unit']:4}"
    return f"{result['row']:52} {figures} ratio {result['ratio']}"


if __name__ == "__main__":
    try:
        main()
    except Missing as missing:
        sys.exit(f"{missing} is missing")
