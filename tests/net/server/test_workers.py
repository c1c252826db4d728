"""Worker processes on one port: killed, drained, orphaned; their common reports."""

import os
import resource
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path

import pytest

from stretta import tcp, udp
from support import PATIENCE, Running, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc")


def workers_of(server):
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    return [int(pid) for pid in children.read_text().split()]


def is_there(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def dial(server):
    return socket.create_connection(("127.0.0.1", server.port), PATIENCE)


def talking_to_each(server):
    """Open connections until every worker has one; return each with its worker."""
    conversations, reached = [], set()
    deadline = time.monotonic() + PATIENCE
    while len(reached) < len(workers_of(server)):
        assert time.monotonic() < deadline
        sock = dial(server)
        sock.sendall(b"pid")
        pid = int(sock.recv(100))
        conversations.append((sock, pid))
        reached.add(pid)
    return conversations


@pytest.fixture
def who(tmp_path, monkeypatch):
    """A folder with a service that answers with its process number."""
    (tmp_path / "who.py").write_text(
        "import os\ndef answers(data): return b'%d\\n' % os.getpid()\n"
    )
    monkeypatch.chdir(tmp_path)
    return "who:answers"


def test_each_worker_serves_and_they_report_as_one(who):
    with Running("tcp", "server", "--workers", "3", "--service", who) as server:
        assert len(workers_of(server)) == 3
        conversations = talking_to_each(server)
        for sock, _ in conversations:
            sock.close()
        assert server.stop() == 0
        text = "\n".join(server.lines)
    assert text.count("Server waiting on") == 1
    assert text.count("Server stopped: ") == 1
    assert f"connections {len(conversations)}" in server.lines[-1]


def test_a_killed_worker_loses_its_own_connections_only_and_is_replaced_within_a_second(who):
    with Running("tcp", "server", "--workers", "2", "--service", who) as server:
        conversations = talking_to_each(server)
        victim = conversations[0][1]
        os.kill(victim, signal.SIGKILL)
        killed = time.monotonic()
        until(lambda: victim not in workers_of(server) and len(workers_of(server)) == 2)
        assert time.monotonic() - killed < 1
        server.expect(rf"Worker {victim} ended by signal SIGKILL; another takes its place")
        for sock, pid in conversations:
            sock.settimeout(PATIENCE)
            if pid == victim:
                with pytest.raises(ConnectionResetError):
                    if not sock.recv(1):
                        raise ConnectionResetError  # FIN is as good as RST
            else:
                sock.sendall(b"still there?")
                assert int(sock.recv(100)) == pid
            sock.close()
        new = next(pid for pid in workers_of(server) if pid not in {c[1] for c in conversations})
        while True:  # the replacement serves
            with dial(server) as sock:
                sock.sendall(b"x")
                if int(sock.recv(100)) == new:
                    break
        assert server.stop() == 0
        assert "workers replaced 1" in server.lines[-1]


def test_connections_in_the_listen_queue_are_served_after_all_workers_die():
    with Running("tcp", "server", "--workers", "2") as server:
        workers = workers_of(server)
        for pid in workers:  # no worker accepts from here on
            os.kill(pid, signal.SIGSTOP)
        waiting = [dial(server) for _ in range(20)]
        for sock in waiting:
            sock.sendall(b"ciao")
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        for sock in waiting:
            assert sock.recv(10) == b"CIAO"
            sock.close()
        assert server.stop() == 0


def test_connections_are_spread_over_the_workers(who):
    with Running("tcp", "server", "--workers", "2", "--service", who) as server:
        answers = Counter()
        for _ in range(200):
            with dial(server) as sock:
                sock.sendall(b"x")
                answers[sock.recv(100)] += 1
        assert server.stop() == 0
    assert min(answers.values()) > 50  # by chance less often than once in 10^12 runs


def test_a_port_that_workers_share_is_in_use_for_other_programs():
    with Running("tcp", "server", "--workers", "2") as server:
        for count in ("1", "2"):
            done = subprocess.run(
                [sys.executable, "-m", "stretta", "tcp", "server", "-p", str(server.port),
                 "--workers", count],
                capture_output=True, text=True, timeout=PATIENCE, check=False,
            )  # fmt: skip
            assert done.returncode == 1
            assert "the port is in use by" in done.stderr


def test_new_connections_are_refused_while_they_drain(who):
    with Running("tcp", "server", "--workers", "2", "--service", "upper") as server:
        busy = dial(server)
        busy.sendall(b"x")
        assert busy.recv(1) == b"X"
        server.process.send_signal(signal.SIGTERM)

        def refused():
            try:
                with dial(server):
                    return False
            except ConnectionRefusedError:
                return True

        until(refused)
        busy.close()
        assert server.process.wait(PATIENCE) == 0


def test_the_drain_lets_each_worker_s_conversations_end(who):
    with Running("tcp", "server", "--workers", "2", "--framing", "line") as server:
        socks = [dial(server) for _ in range(20)]
        for number, sock in enumerate(socks):
            sock.sendall(b"begun %d" % number)
        for sock in socks:  # all are accepted: a whole line is answered
            sock.sendall(b"\nand not ended")
            assert sock.recv(100).startswith(b"BEGUN")
        server.process.send_signal(signal.SIGTERM)
        for sock in socks:
            while sock.recv(100):
                pass
            sock.close()
        assert server.process.wait(PATIENCE) == 0
        server.stop()
    assert "connections 20" in server.lines[-1]


def test_a_second_signal_stops_them_at_once(tmp_path, monkeypatch):
    (tmp_path / "slow.py").write_text(
        "import asyncio\nasync def answers(data): await asyncio.sleep(1000)\n"
    )
    monkeypatch.chdir(tmp_path)
    with Running("tcp", "server", "--workers", "2", "--service", "slow:answers") as server:
        socks = [dial(server) for _ in range(4)]
        for sock in socks:
            sock.sendall(b"x")
        until(lambda: sum("Received request" in line for line in server.lines) == 4)
        server.process.send_signal(signal.SIGTERM)
        server.expect("Stopping: 4 conversations may take 30 s to end")
        assert server.stop() == 0
        for sock in socks:
            sock.close()
    assert sum("Stopping" in line for line in server.lines) == 1


def test_workers_end_when_their_supervisor_is_killed():
    with Running("tcp", "server", "--workers", "2") as server:
        workers = workers_of(server)
        server.process.kill()
        until(lambda: not any(is_there(pid) for pid in workers))


def test_udp_and_http_have_workers_too(tmp_path):
    with Running("udp", "server", "--workers", "2") as server:
        for _ in range(20):
            assert udp.ask(b"ciao", port=server.port) == b"CIAO"
        assert server.stop() == 0
        assert "datagrams 20" in server.lines[-1]
        assert "replies 20" in server.lines[-1]
    (tmp_path / "a.txt").write_text("ciao")
    with Running("http", "server", "-d", str(tmp_path), "--workers", "2") as server:
        request = b"GET /a.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        for _ in range(20):
            assert tcp.ask(request, port=server.port).endswith(b"\r\n\r\nciao")
        assert server.stop() == 0
        log = [line for line in server.lines if '"GET /a.txt HTTP/1.1" 200 4' in line]
        assert len(log) == 20
        assert "requests 20" in server.lines[-1]


BROKEN = """
from stretta.errors import CannotServe
from stretta.net.server.server import Server
from stretta.options import StreamLimits
from stretta.services import echo
from stretta.tcp.server import TcpServer

class Broken(TcpServer):
    async def _open(self, sockets):
        raise CannotServe("cannot serve", "it is broken")

reports = []
server = Broken(echo, "127.0.0.1", 0, "stream", StreamLimits(), None, reports.append)
try:
    server.run(workers=2)
except CannotServe as error:
    print(error)
print(len(reports))
"""


def test_workers_that_never_start_to_serve_are_given_up():
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(BROKEN)],
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert "5 workers have ended before they served" in done.stdout
    assert "cannot serve: it is broken" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", ["0", "-1", "many"])
def test_a_bad_number_of_workers_is_refused(number):
    done = subprocess.run(
        [sys.executable, "-m", "stretta", "tcp", "server", "--workers", number],
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "--workers" in done.stderr


SHORT_OF_RESOURCES = """
import errno, os, socket, sys
from stretta.net.server import workers
from stretta.options import StreamLimits
from stretta.services import echo
from stretta.tcp.server import TcpServer

workers.MIN_DELAY = 0.05
real_fork, real_pair, failures = os.fork, socket.socketpair, [errno.EAGAIN, errno.ENOMEM]

def fork():
    if workers_started and failures:
        raise OSError(failures[0], os.strerror(failures.pop(0)))
    workers_started.append(1)
    return real_fork()

def socketpair():
    if len(workers_started) == 1 and pair_failures:
        raise OSError(errno.EMFILE, os.strerror(pair_failures.pop()))
    return real_pair()

workers_started, pair_failures = [], [errno.EMFILE]
workers.os.fork, workers.socket.socketpair = fork, socketpair

def watch(report):
    print(report, file=sys.stderr, flush=True)

server = TcpServer(echo, "127.0.0.1", 0, "stream", StreamLimits(), None, watch)
server.run(workers=2)
"""


def test_a_lack_of_resources_for_a_worker_is_reported_and_tried_again():
    """The other worker goes on serving; failures come further and further apart."""
    with subprocess.Popen(
        [sys.executable, "-c", SHORT_OF_RESOURCES], stderr=subprocess.PIPE, text=True
    ) as process:
        lines = []
        for line in process.stderr:
            lines.append(line.rstrip())
            if len(lines) == 4:
                break
        (waiting,) = [line for line in lines if line.startswith("Server waiting on")]
        lines.remove(waiting)
        process.send_signal(signal.SIGHUP)  # it has nothing to reload, and does not end
        port = int(waiting.rpartition(", ")[2].rstrip(")"))
        assert tcp.ask(b"ciao", port=port) == b"ciao"
        process.send_signal(signal.SIGTERM)
        lines += process.stderr.read().splitlines()
        assert process.wait(PATIENCE) == 0
    assert lines[:3] == [
        "Cannot start a worker: too many open files; trying again in 0.05 s",
        "Cannot start a worker: resource temporarily unavailable; trying again in 0.1 s",
        "Cannot start a worker: cannot allocate memory; trying again in 0.2 s",
    ]
    assert "workers not started 3" in lines[-1] and "connections 1" in lines[-1]


@pytest.mark.parametrize("words", [("tcp",), ("udp",), ("http",), ("tcp", "--workers", "2")])
def test_sighup_without_files_to_reload_ends_nothing(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    protocol, *options = words
    with Running(protocol, "server", *options) as server:
        for pid in [server.process.pid, *workers_of(server)]:
            os.kill(pid, signal.SIGHUP)
        if protocol == "udp":
            assert udp.ask(b"ciao", port=server.port) == b"CIAO"
        elif protocol == "tcp":
            assert tcp.ask(b"ciao", port=server.port) == b"CIAO"
        else:
            request = b"GET / HTTP/1.0\r\n\r\n"
            assert tcp.ask(request, port=server.port).startswith(b"HTTP/1.1 200")
        assert server.stop() == 0


def test_few_descriptors_are_reported_at_the_start(tmp_path):
    few = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))  # noqa: E731
    for workers in ("1", "2"):
        with Running("tcp", "server", "--workers", workers, preexec_fn=few) as server:
            server.expect("Room for 50 connections at once: this process may open 100 files")
            assert server.stop() == 0
            assert sum("Room for" in line for line in server.lines) == 1


def test_connections_in_the_listen_queues_are_answered_before_the_workers_stop():
    with Running("tcp", "server", "--workers", "2") as server:
        workers = workers_of(server)
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        waiting = [dial(server) for _ in range(20)]
        server.process.send_signal(signal.SIGTERM)
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
        for number, sock in enumerate(waiting):
            sock.sendall(b"ciao %d" % number)  # only now: it was in the queue without a byte
            sock.shutdown(socket.SHUT_WR)
            assert b"".join(iter(lambda: sock.recv(100), b"")) == b"CIAO %d" % number  # noqa: B023
            sock.close()
        assert server.process.wait(PATIENCE) == 0
        server.stop()
    assert "connections 20" in server.lines[-1]
