"""The rows of the benchmark: each work, its competitors and the aim."""

from __future__ import annotations

import struct
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from servers import Place, Words, built, caddy, http_server, nginx, script, socat, stretta

TEXT = b"Nel mezzo del cammin di nostra vita mi ritrovai per una selva oscura, 0123456789. "
FILES = {"612.html": 612, "100k.bin": 100 * 1024, "10m.bin": 10 * 1024 * 1024}
MANY = 10_000
Start = Callable[[Place, int], Words]


@dataclass
class Work:
    """One row: ``ours`` against ``peer``, with ``others`` for orientation.

    ``kind`` says which figure counts: the rate, the 99th percentile of the latency at half the
    peer's rate, or the memory a connection; of the last two, less is better. ``exchanges(port)``
    gives what is asked and what must come back.
    """

    name: str
    bar: float | None
    ours: Start
    peer: Start
    peer_name: str
    others: dict[str, Start] = field(default_factory=dict)
    kind: str = "rate"
    connections: int = 64
    at_once: int = 64
    flags: tuple[str, ...] = ()
    exchanges: Callable[[Place, int], Iterable[bytes]] | None = None
    datagram: tuple[int, int, int] | None = None  # size, clients, window
    log: bool = False

    @property
    def slug(self) -> str:
        return "-".join(self.name.lower().replace(",", "").replace("/", " ").split())


# requests


def exchange(request: bytes, status: int, body: bytes) -> bytes:
    return struct.pack("III", len(request), status, len(body)) + request + body


def sentence(size: int) -> Callable[[Place, int], Iterable[bytes]]:
    text = (TEXT * (size // len(TEXT) + 1))[:size]
    return lambda *_: [exchange(text, 0, text.upper())]


def get(path: str, headers: str = "", status: int = 200) -> Callable[[Place, int], Iterable[bytes]]:
    def make(place: Place, port: int) -> Iterable[bytes]:
        return [_get(port, path, headers, status, (place.folder / path).read_bytes())]

    return make


def _get(port: int, path: str, headers: str, status: int, body: bytes) -> bytes:
    head = f"GET /{path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{headers}\r\n"
    return exchange(head.encode(), status, body)


def get_many(_: Place, port: int) -> Iterable[bytes]:
    for turn in range(MANY):
        number = turn * 7919 % MANY  # in no order that a read-ahead would like
        path = f"many/{number:05}.html"
        yield _get(port, path, "", 200, many_body(number))


def many_body(number: int) -> bytes:
    return (b"%05d " % number + TEXT * 10)[:612]


def get_unchanged(_: Place, port: int) -> Iterable[bytes]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/612.html") as reply:
        tag = reply.headers["ETag"]
    return [_get(port, "612.html", f"If-None-Match: {tag}\r\n", 304, b"")]


def get_range(place: Place, port: int) -> Iterable[bytes]:
    body = (place.folder / "10m.bin").read_bytes()[5_000_000:5_001_024]
    return [_get(port, "10m.bin", "Range: bytes=5000000-5001023\r\n", 206, body)]


def make_files(place: Place) -> None:
    (place.folder / "many").mkdir(parents=True)
    for name, size in FILES.items():
        (place.folder / name).write_bytes((TEXT * (size // len(TEXT) + 1))[:size])
    for number in range(MANY):
        (place.folder / f"many/{number:05}.html").write_bytes(many_body(number))
    make_certificate(place.path)


def make_certificate(path: Path) -> None:
    import trustme  # noqa: PLC0415 - the dev group's

    certificate = trustme.CA().issue_cert("localhost", "127.0.0.1")
    certificate.private_key_pem.write_to_path(path / "key.pem")
    for number, piece in enumerate(certificate.cert_chain_pems):
        piece.write_to_path(path / "cert.pem", append=number > 0)


# the rows


def _tcp(name: str, bar: float, size: int, **more) -> Work:
    others = more.pop("others", {})
    return Work(
        name, bar, stretta("tcp", "-q"), built("tcp_epoll"), "C epoll loop", others,
        exchanges=sentence(size), **more,
    )  # fmt: skip


def _udp(name: str, bar: float, size: int, clients: int, window: int, **more) -> Work:
    return Work(
        name, bar, stretta("udp", "-q"), built("udp_loop"), "C recvfrom loop",
        {"a blocking loop in Python": script("naive_udp.py")},
        datagram=(size, clients, window), **more,
    )  # fmt: skip


def _http(name: str, bar: float, exchanges, *options: str, **more) -> Work:
    log, tls = more.get("log", False), "tls" in more.get("flags", ())
    words = ["-d", "{folder}", *options]
    if not log:
        words.append("-q")
    if tls:
        words += ["--tls-cert", "{place}/cert.pem", "--tls-key", "{place}/key.pem"]
    others = more.pop("others", {})
    return Work(
        name, bar, stretta("http", *words), nginx(log=log, tls=tls), "nginx", others,
        exchanges=exchanges, **{"connections": 32, "at_once": 32, **more},
    )  # fmt: skip


STREAMS = {"asyncio streams": script("streams_tcp.py")}
ROOMY = ("--max-connections", "12000", "--idle-timeout", "300", "--header-timeout", "300")

WORKS = [
    _tcp("tcp 64 B", 0.90, 64, others=STREAMS),
    _tcp("tcp 1 KiB", 0.88, 1024),
    _tcp("tcp 16 KiB", 0.80, 16 * 1024, others=STREAMS),
    _tcp("tcp 128 KiB", 0.80, 128 * 1024),
    _tcp("tcp connect, 64 B, close", 1.0, 64, flags=("close",),
         others={"naive loop": script("naive_tcp.py"), "socat": socat}),
    _tcp("tcp 1 KiB, 5000 open", 0.8, 1024, connections=5000),
    _tcp("tcp 64 B, p99", 1.5, 64, kind="p99"),
    _udp("udp 64 B", 0.85, 64, 1, 64),
    _udp("udp 1400 B", 0.85, 1400, 1, 64),
    _udp("udp 64 B, 64 clients", 0.85, 64, 64, 1),
    _http("http 612 B", 1.25, get("612.html"), others={"http.server": http_server, "Caddy": caddy}),
    _http("http 100 KiB", 1.15, get("100k.bin")),
    _http("http 10 MiB", 1.15, get("10m.bin")),
    _http("http 612 B, log on", 1.0, get("612.html"), log=True),
    _http("http 612 B, 10000 files", 1.0, get_many),
    _http("https 612 B", 1.0, get("612.html"), flags=("tls",)),
    _http("https 100 KiB", 1.25, get("100k.bin"), flags=("tls",)),
    _http("https handshakes", 1.0, get("612.html", "Connection: close\r\n"),
          flags=("tls", "close")),
    _http("http 304", 1.2, get_unchanged),
    _http("http 1 KiB range of 10 MiB", 1.0, get_range),
    _http("http 612 B, p99", 1.5, get("612.html"), kind="p99"),
    _http("http memory of idle connections", 2.0, get("612.html"), *ROOMY, kind="memory",
          connections=10_000),
    Work("tcp 64 B, two workers", None, stretta("tcp", "-q", "--workers", "2"),
         stretta("tcp", "-q"), "one worker", exchanges=sentence(64), kind="workers"),
    Work("http 612 B, two workers", None, stretta("http", "-q", "-d", "{folder}", "--workers", "2"),
         stretta("http", "-q", "-d", "{folder}"), "one worker", exchanges=get("612.html"),
         connections=32, at_once=32, kind="workers"),
]  # fmt: skip
