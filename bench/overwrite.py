"""Count the replies that mix two versions of a file which is overwritten in place.

    python3 bench/overwrite.py [--size BYTES] [--pause SECONDS] [--seconds SECONDS]

A writer fills the file with one letter after another, in place, with one write(2) each. Clients
fetch it from Stretta and from nginx in turn, half of them in two ranges joined by If-Range. A reply
with more than one letter is a mixture; a connection that ends early is counted as aborted.
"""

from __future__ import annotations

import argparse
import http.client
import multiprocessing
import os
import tempfile
import time
from collections import Counter
from pathlib import Path

from servers import Missing, Place, nginx, running, stretta

CLIENTS = 4


def write(path: Path, size: int, pause: float) -> None:
    """Overwrite a file for ever."""
    versions = [bytes([letter]) * size for letter in range(65, 91)]
    descriptor = os.open(path, os.O_WRONLY)
    while True:
        for version in versions:
            os.pwrite(descriptor, version, 0)
            time.sleep(pause)


def get(connection: http.client.HTTPConnection, **headers: str) -> tuple[int, str, bytes]:
    """Return the status, the entity tag and the body of one reply."""
    connection.request(
        "GET", "/file", headers={key.replace("_", "-"): headers[key] for key in headers}
    )
    reply = connection.getresponse()
    return reply.status, reply.headers.get("ETag", ""), reply.read()


def ask(port: int, size: int, until: float, counts: multiprocessing.Queue[Counter[str]]) -> None:
    """Fetch the file until a time, and report what came."""
    found: Counter[str] = Counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    while time.time() < until:
        joined = found["asked"] % 2
        found["asked"] += 1
        try:
            if joined:
                status, tag, body = get(connection, Range=f"bytes=0-{size // 2 - 1}")
                if status == 206 and tag:
                    rest = get(connection, Range=f"bytes={size // 2}-", If_Range=tag)
                    status, body = (200, body + rest[2]) if rest[0] == 206 else (rest[0], rest[2])
            else:
                status, tag, body = get(connection)
        except (OSError, http.client.HTTPException):
            found["aborted"] += 1
            connection.close()
            continue
        if status not in (200, 206):
            found[f"status {status}"] += 1
        elif len(body) != size or body.count(body[:1]) != size:
            found["mixed, joined" if joined else "mixed"] += 1
    counts.put(found)


def measure(name: str, port: int, size: int, seconds: float) -> None:
    """Let clients fetch the file from one server, and print the counts."""
    counts: multiprocessing.Queue[Counter[str]] = multiprocessing.Queue()
    until = time.time() + seconds
    clients = [
        multiprocessing.Process(target=ask, args=(port, size, until, counts))
        for _ in range(CLIENTS)
    ]
    for client in clients:
        client.start()
    found = sum((counts.get() for _ in clients), Counter())
    for client in clients:
        client.join()
    asked = found.pop("asked")
    rates = (f"{key} {100 * count / asked:.2f} %" for key, count in sorted(found.items()))
    print(f"{name:8} {asked:6} asked  {', '.join(rates) or 'none mixed, none aborted'}", flush=True)


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=100_000)
    parser.add_argument("--pause", type=float, default=0.002)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    servers = {"stretta": stretta("http", "-q", "-d", "{folder}"), "nginx": nginx()}
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder))
        place.folder.mkdir()
        path = place.folder / "file"
        path.write_bytes(b"A" * given.size)
        os.chmod(folder, 0o755)  # nginx reads as another user
        writer = multiprocessing.Process(
            target=write, args=(path, given.size, given.pause), daemon=True
        )
        writer.start()
        for _ in range(given.rounds):
            for name, start in servers.items():
                try:
                    with running(start, place) as (port, _):
                        measure(name, port, given.size, given.seconds)
                except Missing as error:
                    print(f"{name:8} left out: {error} is not installed")
        writer.terminate()


if __name__ == "__main__":
    main()
