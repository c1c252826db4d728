"""The response cache: never a stale response, bounded memory, no file left open."""

import asyncio
import errno
import gzip
import os
import socket
import time
import tracemalloc
from collections import Counter
from contextlib import suppress

import pytest
from http_raw import Raw

from stretta import http as stretta_http
from stretta.http.server.access_log import AccessLog
from stretta.http.server.file_stamp import is_young
from stretta.http.server.files.document_root import DocumentRoot
from stretta.http.server.files.file_body import MAX_COPIED, FileBody, FileChanged, OpenFile
from stretta.http.server.files.file_version import FileVersion
from stretta.http.server.request import Request
from stretta.http.server.response import Clock, Response, http_date
from stretta.http.server.response_cache import CachedResponse, OpenFileBody, ResponseCache
from stretta.options import HttpLimits
from support import serving, until

LARGE = os.urandom(3 * MAX_COPIED)
SECOND = 10**9


@pytest.fixture(autouse=True)
def _kept_at_once(monkeypatch):
    monkeypatch.setattr("stretta.http.server.file_stamp.YOUNG", -10.0)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "small").write_bytes(b"old")
    (tmp_path / "large").write_bytes(LARGE)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "index.html").write_bytes(b"<p>index" * 300)
    (tmp_path / "sub" / "page.css").write_bytes(b"p { color: red }\n" * 300)
    return tmp_path


def asks(path, *headers):
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: a", *headers, "", ""]).encode()


class Peers:
    """A server, and clients in the same thread: all that they send at once comes in one turn."""

    def __init__(self, folder, **options):
        self.server = stretta_http.serve(folder, **options)
        self.sockets = []

    async def __aenter__(self):
        sockets = self.server.bind()
        other = socket.create_server(("127.0.0.1", 0))
        other.setblocking(False)
        self.ports = [self.server.port, other.getsockname()[1]]
        self.other = other
        self._bound = sockets
        return self

    async def start(self, *, both=False):
        await self.server.start([*self._bound, self.other] if both else self._bound)

    async def connect(self, port):
        sock = socket.socket()
        sock.setblocking(False)
        self.sockets.append(sock)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        return sock

    async def ask(self, sock, what, length):
        sock.send(what)
        return await self.read(sock, length)

    async def read(self, sock, length=1):
        """Read until a body has ``length`` bytes, or the connection ends."""
        got = b""
        while len(got.partition(b"\r\n\r\n")[2]) < length:
            piece = await asyncio.get_running_loop().sock_recv(sock, 1 << 20)
            if not piece:
                break
            got += piece
        return got

    async def __aexit__(self, *_):
        for sock in self.sockets:
            sock.close()
        self.other.close()
        self.server.drain_timeout = 0.0
        await self.server.stop()


def test_a_change_between_two_sockets_of_one_iteration_is_seen(folder):
    async def main():
        def changes(_):
            (folder / "new").write_bytes(b"new")
            (folder / "new").replace(folder / "small")
            late.send(asks("/small"))
            return b"done"

        async with Peers(folder, service=changes) as peers:
            await peers.start(both=True)
            first, changing = [await peers.connect(peers.ports[0]) for _ in range(2)]
            other, late = [await peers.connect(peers.ports[1]) for _ in range(2)]
            for sock in (first, other, late):
                for _ in range(2):
                    assert (await peers.ask(sock, asks("/small"), 3)).endswith(b"old")
            first.send(asks("/small"))
            changing.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
            other.send(asks("/small"))
            assert (await peers.read(late, 3)).endswith(b"new")

    asyncio.run(main())


def test_responses_of_one_iteration_are_correct_and_counted(folder):
    async def main():
        limits = HttpLimits(max_requests=6)
        async with Peers(folder, limits=limits) as peers:
            await peers.start()
            clients = [await peers.connect(peers.ports[0]) for _ in range(4)]
            for asked, body in ((asks("/small"), b"old"), (asks("/large"), LARGE)):
                await peers.ask(clients[0], asked, len(body))
                for _ in range(2):
                    for client in clients[1:]:
                        client.send(asked)
                    for client in clients[1:]:
                        assert (await peers.read(client, len(body))).endswith(b"\r\n\r\n" + body)
            for _ in range(2):
                for client in clients:
                    client.send(asks("/small"))
                got = [await peers.read(client, 3) for client in clients]
            last = [b"\r\nConnection: close\r\n" in reply for reply in got]
            assert last == [False, True, True, True]
            assert [await peers.read(client) for client in clients[1:]] == [b""] * 3
        assert peers.server.counts["requests"] == 4 + 3 * 6

    asyncio.run(main())


def test_during_a_drain_a_cached_response_closes_the_connection(folder):
    async def main():
        async with Peers(folder) as peers:
            await peers.start()
            client = await peers.connect(peers.ports[0])
            for _ in range(2):
                await peers.ask(client, asks("/small"), 3)
            client.send(asks("/small"))
            stopping = asyncio.create_task(peers.server.stop())
            assert b"\r\nConnection: close\r\n" in await peers.read(client, 3)
            assert await peers.read(client) == b""
            await stopping
        assert peers.server.counts["requests"] == 3

    asyncio.run(main())


def test_a_folder_checked_with_many_connections_is_checked_again(folder, monkeypatch):
    outside = folder / "outside"
    site = folder / "site"
    (site / "sub").mkdir(parents=True)
    outside.mkdir()
    (site / "sub" / "file").write_bytes(b"inside")
    with serving(stretta_http.serve(site)) as server, Raw(server.port) as raw:
        monkeypatch.setattr(
            "stretta.http.server.response_cache.MANY_CONNECTIONS", 1
        )  # there are as many as that
        for _ in range(3):
            assert raw.get("/sub/file").body == b"inside"
        monkeypatch.setattr(
            "stretta.http.server.response_cache.MANY_CONNECTIONS", 1000
        )  # they are gone
        (site / "sub").rename(outside / "sub")
        (site / "sub").symlink_to(outside / "sub")
        assert raw.get("/sub/file").status == 404


@pytest.mark.parametrize("longer", [False, True])
def test_an_open_file_overwritten_after_revalidation_aborts_the_response(
    folder, monkeypatch, longer
):
    path, old = folder / "huge", bytes(8 << 20)
    path.write_bytes(old)
    with serving(stretta_http.serve(folder)) as server:
        with Raw(server.port) as raw:
            for _ in range(2):
                assert raw.get("/huge").body == old
        look = ResponseCache.revalidate

        def revalidate(self, ready, server):
            fresh = look(self, ready, server)
            with open(path, "r+b") as file:
                file.write(b"x" * (len(old) + longer))
            return fresh

        monkeypatch.setattr(ResponseCache, "revalidate", revalidate)
        with Raw(server.port, SO_RCVBUF=4096) as raw:
            raw.send(asks("/huge"))
            with suppress(ConnectionResetError):
                assert len(raw.rest()) < len(old)
        until(lambda: server.counts["failed"])


def test_the_rest_of_an_open_file_is_compared_with_its_recorded_ends(folder):
    path = folder / "large"
    descriptor = os.open(path, os.O_RDONLY)
    whole = range(len(LARGE))
    pieces = FileBody(OpenFile(descriptor), [whole], FileVersion.of(os.fstat(descriptor)))
    kept = OpenFileBody(pieces, whole)
    with open(path, "ab") as file:
        file.write(b"more")
    assert b"".join(map(bytes, iterate(kept.after(10)))) == LARGE[10:]
    path.write_bytes(b"x" * len(LARGE) + b"more")
    with pytest.raises(FileChanged):
        list(iterate(kept.after(10)))
    with pytest.raises(FileChanged):  # too late to learn how it began
        FileBody(OpenFile(os.dup(descriptor)), [whole], pieces.version).record_ends()


def iterate(pieces):
    while True:
        try:
            yield bytes(next(pieces))
        except StopIteration:
            return


def test_a_request_behind_a_half_sent_open_file_is_answered_after_it(folder):
    path, body = folder / "huge", os.urandom(4 << 20)
    path.write_bytes(body)
    with serving(stretta_http.serve(folder)) as server, Raw(server.port, SO_RCVBUF=4096) as raw:
        for version in (b"1.1", b"1.0"):
            for _ in range(2):
                raw.send(asks("/huge", "Connection: keep-alive").replace(b"1.1", version))
                assert raw.file.readline() == b"HTTP/1.1 200 OK\r\n"
                raw.send(asks("/small"))
                while (line := raw.file.readline()) != b"\r\n":
                    assert not line.startswith(b"Connection: close")
                assert raw.file.read(len(body)) == body
                assert raw.answer().body == b"old"


def test_the_log_has_the_sizes_of_cached_responses(folder):
    lines = []
    log = AccessLog(lines.append)
    with serving(stretta_http.serve(folder, access=log)) as server, Raw(server.port) as raw:
        tag = raw.get("/large").headers["ETag"]
        for _ in range(2):
            assert raw.get("/large", "Referer: there").status == 200
            assert raw.get("/large", "Range: bytes=5-40004").body == LARGE[5:40005]
            assert raw.get("/large", f"If-None-Match: {tag}").status == 304
            assert raw.get("/large", method="HEAD").status == 200
    sizes = [line.rsplit(" ", 2)[1:] for line in "\n".join(lines).splitlines()]
    once = [["200", str(len(LARGE))], ["206", "40000"], ["304", "0"], ["200", "0"]]
    assert sizes == [["200", str(len(LARGE))], *once, *once]


def request(target=b"/", **headers):
    return Request("GET", target, "1.1", headers, keep_alive=True)


def test_a_payload_waiting_to_be_sent_keeps_its_date():
    ready = CachedResponse(request(), Response.of(200, "text/plain", b"body"), "")
    first, second = "Sun, 22 Nov 2026 12:59:59 GMT", "Sun, 22 Nov 2026 13:00:00 GMT"
    ready.set_date(first)
    waiting = ready.payload
    ready.set_date(second)
    assert f"Date: {first}\r\n".encode() in waiting
    assert ready.payload == bytes(waiting).replace(first.encode(), second.encode())


def test_the_cache_stays_below_its_size_limit(monkeypatch):
    most = 1 << 20
    monkeypatch.setattr("stretta.http.server.response_cache.MAX_SIZE", most)
    ready = ResponseCache(1)
    tracemalloc.start()
    try:
        for number in range(2000):
            key = b"GET /%d HTTP/1.1\r\n\r\n" % number
            headers = {f"x{n}": str(n + 1000) for n in range(50)}
            asked = request(b"/%d" % number, **headers)
            ready.store(key, asked, Response(304, depends=((b"/there/%d" % number, None),)), "")
        del asked, headers, key
        assert len(ready) > 100
        assert tracemalloc.get_traced_memory()[0] < most
    finally:
        tracemalloc.stop()


class FakeServer:
    """As much of a server as the cache asks for."""

    access = None

    def __init__(self):
        self.open = set()
        self.counts = Counter()
        self.now = 1_000_000_000.0
        self.clock = Clock(lambda: self.now)


def store(cache, key=b"key", *, depends=(), body=b"body", modified=None):
    headers = [] if modified is None else [("Last-Modified", http_date(modified))]
    response = Response(200, headers, body, len(body), depends=depends)
    cache.store(key, request(), response, "")
    return cache.get(key)


def in_loop(function):
    async def main():
        return function()

    return asyncio.run(main())


def test_a_response_from_a_young_file_is_not_stored(tmp_path, monkeypatch):
    monkeypatch.setattr("stretta.http.server.file_stamp.YOUNG", 0.1)
    cache = ResponseCache(9)
    path = bytes(tmp_path / "file")
    now = int(time.time() * SECOND)
    for age, stored in ((0, False), (3 * SECOND, True)):
        version = FileVersion(1, 1, 1, now - age, now - age)
        assert (store(cache, depends=((path, version),)) is not None) == stored


def test_a_file_of_equal_size_and_modification_time_is_another(tmp_path):
    path = tmp_path / "file"
    with serving(stretta_http.serve(tmp_path)) as server, Raw(server.port) as raw:
        for text in (b"one", b"two", b"six"):
            path.write_bytes(text)
            os.utime(path, ns=(SECOND, SECOND))
            for _ in range(2):
                assert raw.get("/file").body == text
        (tmp_path / "new").write_bytes(b"new")
        os.utime(tmp_path / "new", ns=(SECOND, SECOND))
        (tmp_path / "new").replace(path)
        assert raw.get("/file").body == b"new"


def test_an_entry_not_used_for_some_minutes_is_dropped():
    cache, server = ResponseCache(9), FakeServer()
    store(cache, b"idle")
    used = store(cache, b"used")
    for second in range(1000):
        cache.tick(1.0)
        if second % 100 == 0:
            in_loop(lambda: cache.revalidate(used, server))
            cache.begin_iteration(server)
    assert list(cache) == [b"used"]
    assert cache._size == used.weight + 2 * len(b"used")
    for _ in range(300):
        cache.tick(1.0)
    assert not cache
    assert cache._size == 0


def test_an_entry_is_kept_for_at_least_one_sweep():
    cache = ResponseCache(9)
    for _ in range(60):
        cache.tick(1.0)
    store(cache)
    for _ in range(120):
        cache.tick(1.0)
    assert b"key" in cache
    for _ in range(120):
        cache.tick(1.0)
    assert b"key" not in cache


def test_after_the_clock_was_set_back_the_date_never_precedes_last_modified():
    cache, server = ResponseCache(9), FakeServer()
    cached = store(cache, modified=server.now - 10)
    for now, valid in ((0, True), (-10, True), (-11, False), (5, True)):
        server.now = 1_000_000_000.0 + now
        assert in_loop(lambda: cache.revalidate(cached, server)) == valid
        if valid:
            assert f"Date: {http_date(server.now)}\r\n".encode() in cached.payload
        cache.begin_iteration(server)


def test_each_entry_is_checked_once_in_an_iteration(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x")
    version = FileVersion.of(path.stat())
    cache, server = ResponseCache(9), FakeServer()
    cached = store(cache, depends=((bytes(path), version),))

    def check():
        valid = cache.revalidate(cached, server)
        path.unlink()
        assert valid
        assert cached.iteration == cache.iteration
        assert cache.revalidate(cached, server)
        cache.begin_iteration(server)
        assert not cache.revalidate(cached, server)

    in_loop(check)


def test_an_absent_file_that_appears_invalidates_the_response(tmp_path):
    path = tmp_path / "file"
    cache, server = ResponseCache(9), FakeServer()
    cached = store(cache, depends=((bytes(path), None),))

    def check():
        assert cache.revalidate(cached, server)
        path.touch()
        cache.begin_iteration(server)
        assert not cache.revalidate(cached, server)

    in_loop(check)


def test_with_an_access_log_every_request_is_revalidated():
    cache, server = ResponseCache(9), FakeServer()
    server.access = object()
    cached = store(cache)
    in_loop(lambda: cache.revalidate(cached, server))
    assert cached.iteration == -1


def test_hits_are_counted_when_the_next_iteration_begins():
    cache, server = ResponseCache(9), FakeServer()
    cache.hits = 3
    cache.begin_iteration(server)
    cache.begin_iteration(server)
    assert server.counts["requests"] == 3


def test_the_end_of_an_iteration_is_scheduled_once():
    async def main():
        cache, server = ResponseCache(9), FakeServer()
        one, two = store(cache, b"1"), store(cache, b"2")
        assert cache.revalidate(one, server)
        assert cache.revalidate(two, server)
        await asyncio.sleep(0)
        return cache.iteration

    assert asyncio.run(main()) == 1


@pytest.mark.parametrize(
    ("key", "body", "stored"),
    [
        (bytes(4096), b"x", True),
        (bytes(4097), b"x", False),
        (b"k", bytes(256 * 1024), True),
        (b"k", bytes(256 * 1024 + 1), False),
    ],
)
def test_a_response_or_key_that_is_too_large_is_not_stored(key, body, stored):
    cache = ResponseCache(9)
    assert (store(cache, key, body=body) is not None) == stored


def test_the_oldest_entries_are_evicted_first(monkeypatch):
    cache = ResponseCache(9)
    weight = store(cache, b"0").weight + 2
    monkeypatch.setattr("stretta.http.server.response_cache.MAX_SIZE", 3 * weight)
    for number in range(1, 5):
        store(cache, b"%d" % number)
    assert list(cache) == [b"2", b"3", b"4"]
    assert cache._size == 3 * weight
    store(cache, b"2")  # stored again, it is the youngest
    store(cache, b"5")
    assert list(cache) == [b"4", b"2", b"5"]
    cache.remove(b"missing")
    cache.remove_all()
    assert (list(cache), cache._size) == ([], 0)


def test_only_so_many_files_are_kept_open(tmp_path, monkeypatch):
    monkeypatch.setattr("stretta.http.server.response_cache.MAX_OPEN_FILES", 2)
    cache = ResponseCache(9)
    for number in range(3):
        path = tmp_path / str(number)
        path.write_bytes(LARGE)
        file = OpenFile(os.open(path, os.O_RDONLY))
        version = FileVersion.of(path.stat())
        body = FileBody(file, [range(len(LARGE))], version)
        cache.store(b"%d" % number, request(), Response(200, [], body, len(LARGE), depends=()), "")
    assert list(cache) == [b"1", b"2"]
    assert cache[b"2"].size == len(LARGE)
    cache.tick(1.0)  # they were used since they were stored
    assert list(cache) == [b"1", b"2"]
    cache.tick(1.0)
    assert list(cache) == []


def test_a_version_younger_than_the_clock_step_is_not_trusted(monkeypatch):
    monkeypatch.setattr("stretta.http.server.file_stamp.YOUNG", 0.1)
    for changed, ages in ((1000.25, (0.05, 0.15)), (1000.0, (2.05, 2.15))):  # the latter as on FAT
        version = FileVersion(1, 1, 1, 0, int(changed * SECOND))
        assert [is_young(version, changed + age) for age in ages] == [True, False]
    assert is_young(FileVersion(1, 1, 1, 2000 * SECOND, 1), 1000.0)  # of the future


def test_a_compressed_body_is_cached_only_for_a_file_at_rest(folder, monkeypatch):
    monkeypatch.setattr("stretta.http.server.file_stamp.YOUNG", 0.1)

    def of_coarse_times(cls, status):
        seconds = int(status.st_ctime) // 2 * 2 * SECOND  # as FAT has them
        return cls(status.st_dev, status.st_ino, status.st_size, seconds, seconds)

    monkeypatch.setattr(FileVersion, "of", classmethod(of_coarse_times))
    until(lambda: time.time() % 2 < 1)
    with serving(stretta_http.serve(folder)) as server, Raw(server.port) as raw:
        for letter in (b"a", b"b"):
            (folder / "text.txt").write_bytes(letter * 5000)
            got = raw.get("/text.txt", "Accept-Encoding: gzip")
            assert gzip.decompress(got.body) == letter * 5000


def open_files():
    """Return what this process has open, by name."""
    return sorted(
        os.readlink(f"/proc/self/fd/{name}")
        for name in os.listdir("/proc/self/fd")
        if os.path.lexists(f"/proc/self/fd/{name}")
    )


proc = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="no /proc tells what is open")


@proc
def test_a_deleted_file_does_not_stay_open(folder):
    limits = HttpLimits(idle_timeout=5, stall_timeout=0.1)  # forty ticks a second
    with serving(stretta_http.serve(folder, limits=limits)) as server, Raw(server.port) as raw:
        name = str(folder / "large")
        assert raw.get("/large").body == LARGE
        assert name in open_files()
        (folder / "large").unlink()
        until(lambda: f"{name} (deleted)" not in open_files())


@proc
@pytest.mark.parametrize("fails_at", range(1, 5))
def test_no_file_stays_open_when_descriptors_run_out(folder, monkeypatch, fails_at):
    opens = DocumentRoot.open
    calls = 0

    def open_or_fail(self, names):
        nonlocal calls
        calls += 1
        if calls == fails_at:
            raise OSError(errno.EMFILE, "too many open files")
        return opens(self, names)

    monkeypatch.setattr(DocumentRoot, "open", open_or_fail)
    with serving(stretta_http.serve(folder)) as server, Raw(server.port) as raw:
        statuses = []
        for path in ("/small", "/large", "/sub/", "/sub/page.css", "/sub"):
            calls = 0
            statuses.append(raw.get(path, "Accept-Encoding: gzip, br").status)
        assert 503 in statuses
        kept = [name for name in open_files() if name.startswith(str(folder))]
    assert kept in ([], [str(folder / "large")])


@proc
def test_a_thousand_requests_of_all_kinds_leave_no_file_open(folder):
    asked = [
        asks("/large"), asks("/large", "Range: bytes=1-50000"), asks("/large", "Range: bytes=0-4"),
        asks("/large", "Range: bytes=0-40000,50000-90000"), asks("/large", "Range: bytes=9999999-"),
        asks("/large", 'If-None-Match: *'), asks("/large", 'If-Match: "other"'),
        asks("/large", "Range: bytes=0-50000", 'If-Range: "other"'), asks("/sub/?format=zip"),
        asks("/large").replace(b"GET", b"HEAD"), asks("/sub/page.css", "Accept-Encoding: gzip"),
        asks("/small"), asks("/sub/"), asks("/missing"), asks("/large", "Connection: close"),
        asks("/large").replace(b"/1.1", b"/1.0"),
    ]  # fmt: skip
    with serving(stretta_http.serve(folder)) as server:
        for number in range(1000):
            with Raw(server.port) as raw:
                raw.send(asked[number % len(asked)])
                if number // len(asked) % 3:  # else it goes away without a word read
                    assert raw.file.readline().startswith(b"HTTP/1.1 ")
                if number % 5 == 0:
                    (folder / "large").touch()
        until(lambda: not server.open)
        mine = [name for name in open_files() if name.startswith(str(folder))]
        assert len(mine) == len([one for one in server.cache.values() if one.body])
    assert not [name for name in open_files() if name.startswith(str(folder))]
