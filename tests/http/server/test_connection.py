"""An HTTP connection under load, hostile peers and failures, through real sockets."""

import asyncio
import gzip
import os
import socket
import threading
from concurrent.futures import Future
from contextlib import suppress

import pytest
from http_raw import Raw

from stretta import http as stretta_http
from stretta.http.server import connection, pages
from stretta.http.server.access_log import AccessLog
from stretta.http.server.files.file_body import SENDFILE_STEP
from stretta.options import HttpLimits, ServerTls
from stretta.reports import Dropped
from support import PATIENCE, serving, until

GET = b"GET /%b HTTP/1.1\r\nHost: a\r\n%b\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "small").write_bytes(b"ciao\n")
    (tmp_path / "middle").write_bytes(os.urandom(30_000))
    (tmp_path / "large").write_bytes(os.urandom(1 << 20))
    (tmp_path / "text.txt").write_bytes(os.urandom(2 << 20).hex().encode())
    (tmp_path / "sub").mkdir()
    for number in range(200):
        (tmp_path / "sub" / f"a file with a long name, number {number}").touch()
    return tmp_path


ANSWERS_OF_ALL_KINDS = {
    "small files": GET % (b"small", b""),
    "cached files": GET % (b"middle", b""),
    "large files": GET % (b"large", b""),
    "compressed text": GET % (b"text.txt", b"Accept-Encoding: gzip\r\n"),
    "several ranges": GET % (b"large", b"Range: bytes=0-9999,20000-60000\r\n"),
    "errors": GET % (b"missing", b""),
    "listings": GET % (b"sub/", b""),
    "zip files": GET % (b"sub/?format=zip", b""),
    "services": POST,
}


def count_waiting(server):
    """Return the bytes of output that wait in this process, for all connections."""
    waiting = Future()

    def count():
        waiting.set_result(sum(one.transport.get_write_buffer_size() for one in server.open))

    server._acceptor._loop.call_soon_threadsafe(count)  # a transport answers in its own thread only
    return waiting.result(PATIENCE)


class TestOutput:
    @pytest.mark.parametrize("kind", ANSWERS_OF_ALL_KINDS)
    @pytest.mark.parametrize("encrypted", [False, True])
    def test_output_is_bounded_and_reading_stops_while_it_waits(
        self, folder, kind, encrypted, tmp_path_factory, monkeypatch
    ):
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.getbasetemp() / "data"))
        tls = ServerTls(tls=True) if encrypted else None
        service = lambda _: bytes(300_000)  # noqa: E731
        server = stretta_http.serve(folder, service=service, tls=tls)
        with serving(server), Raw(server.port, SO_RCVBUF=4096) as raw:
            peer = raw.sock
            if encrypted:
                import ssl  # noqa: PLC0415

                context = ssl.create_default_context()
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                peer = context.wrap_socket(raw.sock)
            peer.setblocking(False)
            waiting = memoryview(ANSWERS_OF_ALL_KINDS[kind] * 3000)

            def is_blocked():
                nonlocal waiting
                with suppress(BlockingIOError, ssl_wants_write()):
                    waiting = waiting[peer.send(waiting[:65536]) :]
                protocols = [one._protocol for one in list(server.open)]
                return any(protocol is not None and protocol.blocked for protocol in protocols)

            until(is_blocked)
            in_files = SENDFILE_STEP if kind == "large files" else 0  # not in memory
            assert count_waiting(server) <= 256 * 1024 + in_files
            (one,) = server.open
            assert not one._protocol.reads
            assert server.counts["requests"] < 3000
            peer.close()

    def test_a_large_body_in_memory_is_sent_as_the_peer_reads(self, folder):
        async def large(_):
            return bytes(8 << 20)

        with serving(stretta_http.serve(folder, service=large)) as server, Raw(server.port) as raw:
            for _ in range(3):
                raw.send(POST)
                assert raw.answer().body == bytes(8 << 20)
            raw.send(GET % (b"text.txt", b"Accept-Encoding: gzip\r\n"))
            body = raw.answer().body
            assert gzip.decompress(body) == (folder / "text.txt").read_bytes()


def ssl_wants_write():
    import ssl  # noqa: PLC0415

    return ssl.SSLWantWriteError


@pytest.mark.parametrize(
    "kind", [b"small", b"missing", b"small If-None-Match", b"service", b"small logged"]
)
def test_a_burst_of_one_client_does_not_hold_up_another(folder, kind):
    """Both send in the same event-loop iteration."""

    async def main():
        log = AccessLog(lambda _: None) if b"logged" in kind else None
        server = stretta_http.serve(folder, service=lambda data: data, access=log)
        await server.start()
        loop = asyncio.get_running_loop()
        header = b"If-None-Match: *\r\n" if b"None" in kind else b""
        burst = POST if kind == b"service" else GET % (kind.split()[0], header)
        peers = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(2)]
        for peer in peers:
            peer.setblocking(False)
        greedy, other = peers
        for peer in peers:  # both connections are accepted
            peer.send(GET % (b"small", b""))
            assert await loop.sock_recv(peer, 1 << 16)
        before = server.counts["requests"]
        sent = greedy.send(burst * (260_000 // len(burst)))
        other.send(GET % (b"missing", b""))
        assert b"404" in await loop.sock_recv(other, 1 << 16)
        assert server.counts["requests"] - before <= 4 * connection.REQUESTS_PER_ITERATION
        total = sent // len(burst)
        received = b""
        while received.count(b"HTTP/1.1 ") < total:
            received += await loop.sock_recv(greedy, 1 << 20)
        for peer in peers:
            peer.close()
        server.drain_timeout = 0.0
        await server.stop()

    asyncio.run(main())


class TestEnding:
    def test_a_refused_client_that_goes_on_sending_can_read_the_reason(self, folder):
        with serving(stretta_http.serve(folder)) as server, Raw(server.port) as raw:
            raw.send(b"nonsense\r\n")
            assert raw.file.readline() == b"HTTP/1.1 400 Bad Request\r\n"
            for _ in range(3):
                raw.send(b"more\r\n" * 1000)
            assert b"not an HTTP request line" in raw.rest()  # and no reset
            raw.send(b"more\r\n" * 1000)

    def test_a_lingering_connection_ends_by_itself(self, folder, monkeypatch):
        monkeypatch.setattr("stretta.net.server.lifecycle.LINGER", 0.2)
        limits = HttpLimits(stall_timeout=0.4)
        with serving(stretta_http.serve(folder, limits=limits)) as server, Raw(server.port) as raw:
            raw.send(b"nonsense\r\n")
            raw.rest()
            until(lambda: not server.open)

    def test_a_slow_service_meets_no_idle_limit(self, folder):
        go_on = threading.Event()

        async def slow(data):
            await asyncio.get_running_loop().run_in_executor(None, go_on.wait)
            return data

        limits = HttpLimits(idle_timeout=0.1, header_timeout=0.1)
        with serving(stretta_http.serve(folder, service=slow, limits=limits)) as server:
            with Raw(server.port) as raw:
                raw.send(POST)
                for _ in range(3):  # others pass their limits meanwhile
                    with Raw(server.port) as silent:
                        assert silent.rest() == b""
                go_on.set()
                assert raw.answer().body == b"x"

    def test_the_log_has_the_request_that_timed_out(self, folder):
        lines = []
        limits = HttpLimits(header_timeout=0.2, body_timeout=0.2)
        log = AccessLog(lines.append)
        server = stretta_http.serve(folder, limits=limits, access=log, service=bytes.upper)
        with serving(server):
            for sent in ((GET % (b"late", b""))[:-2], POST[:-1], b"GET /cut HT"):
                with Raw(server.port) as raw:
                    raw.send(sent)
                    assert raw.answer().status == 408
        said = [line.split('"')[1] for line in "\n".join(lines).splitlines()]
        assert said == ["GET /late HTTP/1.1", "POST / HTTP/1.1", "-"]


class TestFailures:
    """Whatever fails, the client has its answer at once, and the next request is served."""

    def test_a_template_that_cannot_be_loaded(self, folder, monkeypatch):
        def missing(*_, **__):
            raise FileNotFoundError("the template is gone")

        monkeypatch.setattr(pages, "render", missing)
        monkeypatch.setattr("stretta.http.server.files.listing.render", missing)
        reports = []
        with serving(stretta_http.serve(folder, watch=reports.append)) as server:
            with Raw(server.port) as raw:
                assert raw.get("/missing").status == 404
                assert raw.get("/sub/").status == 500
                monkeypatch.setattr("stretta.http.server.handler.error_reply", missing)
                monkeypatch.setattr("stretta.http.server.connection.error_reply", missing)
                got = raw.get("/x", method="PUT")
                assert (got.status, got.body) == (500, b"500 Internal Server Error\n")
                assert raw.get("/small").body == b"ciao\n"
            with Raw(server.port) as raw:
                raw.send(b"nonsense\r\n")
                assert raw.answer().status == 400
        assert any("the template is gone" in r.why for r in reports if isinstance(r, Dropped))

    @pytest.mark.parametrize(
        "error", [RuntimeError, MemoryError, RecursionError, SystemExit, KeyboardInterrupt,
                  GeneratorExit, asyncio.CancelledError, StopIteration],
    )  # fmt: skip
    def test_a_handler_that_raises_in_a_worker_thread(self, folder, monkeypatch, error):
        def fails(*_, **__):
            raise error("on purpose")

        monkeypatch.setattr("stretta.http.server.files.listing.listing_page", fails)
        with serving(stretta_http.serve(folder)) as server, Raw(server.port) as raw:
            assert raw.get("/sub/").status == 500
            assert raw.get("/small").body == b"ciao\n"

    def test_a_body_that_fails_halfway_resets_the_connection(self, folder, monkeypatch):
        def fails(self):
            raise RuntimeError("on purpose")

        monkeypatch.setattr("stretta.http.server.files.zip.ZipBody.__next__", fails)
        with serving(stretta_http.serve(folder)) as server:
            with Raw(server.port) as raw:
                raw.send(GET % (b"sub/?format=zip", b""))
                with pytest.raises(ConnectionResetError):
                    raw.rest()
            with Raw(server.port) as raw:
                assert raw.get("/small").body == b"ciao\n"
            until(lambda: not server.open)


def recurse():
    recurse()


SERVICE_FAILURES = {
    "str": lambda _: "text",
    "int": lambda _: 5,
    "list": lambda _: [1],
    "RuntimeError": lambda _: exec("raise RuntimeError('secret')"),
    "SystemExit": lambda _: exec("raise SystemExit('secret')"),
    "KeyboardInterrupt": lambda _: exec("raise KeyboardInterrupt('secret')"),
    "GeneratorExit": lambda _: exec("raise GeneratorExit('secret')"),
    "MemoryError": lambda _: exec("raise MemoryError('secret')"),
    "CancelledError": lambda _: exec("import asyncio; raise asyncio.CancelledError('secret')"),
    "RecursionError": lambda _: recurse(),
    "StopIteration": lambda _: next(iter(())),
}


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("name", SERVICE_FAILURES)
def test_a_service_that_fails_in_any_way_gives_500(folder, name, is_async):
    service = SERVICE_FAILURES[name]

    async def awaited(data):
        await asyncio.sleep(0)
        return service(data)

    reports = []
    server = stretta_http.serve(
        folder, service=awaited if is_async else service, watch=reports.append
    )
    with serving(server):
        with Raw(server.port) as raw:
            for _ in range(2):
                got = raw.get("/", method="POST", body=b"x")
                assert (got.status, got.headers["Connection"]) == (500, None)
                assert b"secret" not in got.body
            assert raw.get("/small").body == b"ciao\n"
        until(lambda: not server.open)
    reasons = [report.why for report in reports if isinstance(report, Dropped)]
    assert 1 <= len(reasons) <= 2  # in one tick, one report
    expected = f"the reply is {name}, not bytes" if name in ("str", "int", "list") else name
    if not (is_async and name == "StopIteration"):  # Python makes that a RuntimeError
        assert all(expected in why for why in reasons)


@pytest.mark.parametrize("reply", [bytearray(b"xyz"), memoryview(b"xyz"), b"xyz"])
def test_a_service_may_return_any_bytes_like_object(folder, reply):
    with serving(stretta_http.serve(folder, service=lambda _: reply)) as server:
        with Raw(server.port) as raw:
            assert raw.get("/", method="POST", body=b"x").body == b"xyz"
