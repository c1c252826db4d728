"""Measure the HTTP client: a large download against curl, many requests against aiohttp.

    python3 bench/http_client.py [--rounds N]

nginx serves both from loopback; competitors take turns, and the ratio of each pair is what counts.
Needs nginx and curl; the second row also needs aiohttp in this interpreter.
"""

from __future__ import annotations

import argparse
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

LARGE = 1 << 30
REQUESTS = 10_000

CONFIGURATION = """
worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/errors;
events {{ worker_connections 128; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  server {{ listen 127.0.0.1:{port}; root {folder}; }}
}}
"""

OURS = """
async def main(url, count):
    from stretta import http
    async with http.AsyncClient() as client:
        for _ in range(count):
            assert len((await client.get(url)).body) == 612
"""

AIOHTTP = """
async def main(url, count):
    import aiohttp
    async with aiohttp.ClientSession() as session:
        for _ in range(count):
            async with session.get(url) as response:
                assert len(await response.read()) == 612
"""

RUN = """
import asyncio, sys, time
url = sys.argv[1]
asyncio.run(main(url, 200))
began = time.perf_counter()
asyncio.run(main(url, int(sys.argv[2])))
print(time.perf_counter() - began)
"""


@contextmanager
def nginx(folder: Path):
    """Serve the folder; gives the URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    configuration = folder / "nginx.conf"
    configuration.write_text(CONFIGURATION.format(folder=folder, port=port))
    with subprocess.Popen(["nginx", "-c", str(configuration)]) as server:
        try:
            deadline = time.monotonic() + 10
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except OSError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.02)
            yield f"http://127.0.0.1:{port}/"
        finally:
            server.terminate()


def download(words: list[str], url: str, target: Path) -> float:
    """Return the seconds that a command takes to save the large file, which must be whole."""
    target.unlink(missing_ok=True)
    began = time.perf_counter()
    subprocess.run([*words, "-o", str(target), url + "large"], check=True)
    took = time.perf_counter() - began
    assert target.stat().st_size == LARGE
    return took


def ask(program: str, url: str) -> float:
    """Return the seconds that a program takes for its requests."""
    words = [sys.executable, "-c", program + RUN, url + "small", str(REQUESTS)]
    return float(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


def compare(name: str, ours, peer, rounds: int) -> None:
    """Run both in turn, and print the median ratio of their speeds."""
    ratios = []
    for turn in range(rounds):
        if turn % 2:
            a, b = ours(), peer()
        else:
            b, a = peer(), ours()
        ratios.append(b / a)
    low, high = min(ratios), max(ratios)
    print(f"{name}: {statistics.median(ratios):.2f} of the peer's speed ({low:.2f} to {high:.2f})")


def main() -> None:
    """Measure what can be measured here."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    for program in ("nginx", "curl"):
        if shutil.which(program) is None:
            sys.exit(f"{program} is missing: apt-get install {program}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "small").write_bytes(bytes(612))
        with (folder / "large").open("wb") as large:
            large.truncate(LARGE)
        with nginx(folder) as url:
            stretta = [sys.executable, "-m", "stretta", "http", "client", "-q"]
            compare(
                "download of 1 GiB to a file, and curl",
                lambda: download(stretta, url, folder / "copy"),
                lambda: download(["curl", "-s"], url, folder / "copy"),
                rounds,
            )
            if find_spec("aiohttp"):
                compare(
                    f"{REQUESTS} requests over keep-alive, and aiohttp",
                    lambda: ask(OURS, url),
                    lambda: ask(AIOHTTP, url),
                    rounds,
                )
            else:
                print("aiohttp is not installed here: pip install aiohttp")


if __name__ == "__main__":
    main()
