"""The competitors: how each is started on a port, pinned to one core, and stopped."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
PEERS = HERE / "peers"
SERVER_CORE, LOAD_CORE = 0, 1
TICKS = os.sysconf("SC_CLK_TCK")
C_PROGRAMS = {"tcp_epoll": [], "udp_loop": [], "load_tcp": ["-lssl", "-lcrypto"], "load_udp": []}


class Missing(Exception):
    """A program that this machine does not have."""


@dataclass
class Place:
    """Where a benchmark's files are: programs, the folder that is served, certificate, logs."""

    path: Path

    @property
    def folder(self) -> Path:
        return self.path / "www"

    def program(self, name: str) -> str:
        return str(self.path / name)

    def build(self) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise Missing("a C compiler (gcc)")
        for name, libraries in C_PROGRAMS.items():
            source = PEERS / f"{name}.c"
            words = [compiler, "-O3", "-march=native", "-Wall", "-o", self.program(name), source]
            subprocess.run([*words, *libraries], check=True)


Words = list[str]


def stretta(protocol: str, *options: str) -> Callable[[Place, int], Words]:
    """Return what starts a server of ours; ``{folder}`` and the like are filled in."""

    def words(place: Place, port: int) -> Words:
        filled = [option.format(folder=place.folder, place=place.path) for option in options]
        return [
            sys.executable, "-m", "stretta", protocol, "server",
            "-a", "127.0.0.1", "-p", str(port), *filled,
        ]  # fmt: skip

    return words


def built(name: str) -> Callable[[Place, int], Words]:
    return lambda place, port: [place.program(name), str(port)]


def script(name: str) -> Callable[[Place, int], Words]:
    return lambda _, port: [sys.executable, str(PEERS / name), str(port)]


def nginx(*, log: bool = False, tls: bool = False) -> Callable[[Place, int], Words]:
    def words(place: Place, port: int) -> Words:
        program = shutil.which("nginx")
        if program is None:
            raise Missing("nginx")
        certificate = (
            f"ssl_certificate {place.path}/cert.pem; ssl_certificate_key {place.path}/key.pem;"
            " ssl_protocols TLSv1.3; ssl_session_tickets off;"
        )
        settings = {
            "PORT": str(port),
            "FOLDER": str(place.folder),
            "LOG": f"{place.path}/nginx.log" if log else "off",
            "TLS": " ssl" if tls else "",
            "CERTIFICATE": certificate if tls else "",
        }
        text = (PEERS / "nginx.conf").read_text()
        for name, value in settings.items():
            text = text.replace(f"@{name}@", value)
        prefix = place.path / f"nginx-{port}"
        prefix.mkdir(exist_ok=True)
        (prefix / "nginx.conf").write_text(text)
        return [program, "-p", str(prefix), "-c", "nginx.conf", "-e", "stderr"]

    return words


def http_server(place: Place, port: int) -> Words:
    return [
        sys.executable, "-m", "http.server", str(port), "-b", "127.0.0.1",
        "-d", str(place.folder), "-p", "HTTP/1.1",
    ]  # fmt: skip


def caddy(place: Place, port: int) -> Words:
    program = shutil.which("caddy")
    if program is None:
        raise Missing("caddy")
    return [program, "file-server", "--listen", f"127.0.0.1:{port}", "--root", str(place.folder)]


def socat(_: Place, port: int) -> Words:
    program = shutil.which("socat")
    if program is None:
        raise Missing("socat")
    listen = f"TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork,backlog=4096"
    return [program, listen, "SYSTEM:stdbuf -o0 tr a-z A-Z"]


@contextmanager
def running(
    start: Callable[[Place, int], Words],
    place: Place,
    *,
    udp: bool = False,
    cores: set[int] | None = None,
    log: str = os.devnull,
) -> Iterator[tuple[int, int]]:
    """Run a server pinned to its core; gives its port and process id once it accepts."""
    port = free_port(socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
    words = start(place, port)
    cores = cores or {SERVER_CORE}
    with open(log, "wb") as sink:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
        try:
            wait_for(port, process, udp=udp)
            yield port, process.pid
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_port(kind: int) -> int:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen[bytes], *, udp: bool) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        kind = socket.SOCK_DGRAM if udp else socket.SOCK_STREAM
        with socket.socket(socket.AF_INET, kind) as sock:
            sock.settimeout(0.2)
            try:
                sock.connect(("127.0.0.1", port))
                if not udp:
                    return
                sock.send(b"ciao")
                if sock.recv(10) == b"CIAO":
                    return
            except OSError:
                time.sleep(0.02)
    raise RuntimeError(f"it does not accept: {process.args}")


def family(pid: int) -> list[int]:
    """Return a process and all that descend from it."""
    found = [pid]
    for parent in found:
        with suppress(OSError):  # it has ended meanwhile
            for task in Path(f"/proc/{parent}/task").glob("*/children"):
                found += [int(child) for child in task.read_text().split()]
    return found


def cpu_seconds(pid: int) -> float:
    """Return the time that a server has computed so far."""
    total = 0.0
    for member in family(pid):
        with suppress(OSError):  # it has ended meanwhile
            fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / TICKS
    return total


def machine_cpu() -> float:
    """Return the time that all processors together have computed since the machine started."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    return (sum(fields[:8]) - fields[3] - fields[4]) / TICKS  # less idle and waiting


def memory(pid: int) -> int:
    """Return the bytes that are a server's own (proc(5), smaps_rollup: Private_*)."""
    total = 0
    for member in family(pid):
        for line in Path(f"/proc/{member}/smaps_rollup").read_text().splitlines():
            if line.startswith("Private_"):
                total += int(line.split()[1]) * 1024
    return total
