"""Error messages: what happened, why, what to type next; never a traceback."""

import json
import os
import signal
import socket
import subprocess
import sys
from importlib.util import find_spec

import pytest

from stretta import __version__
from support import PATIENCE, Running, Terminal, free_port, naive_tcp_server, one_recv, stretta

PORT_ERROR = "ERROR: -p option must be an integer in 1024..65535"
ENDS = [("tcp", "client"), ("tcp", "server"), ("udp", "client"), ("udp", "server")]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("port", ["0", "80", "65536", "abc", "-1"])
def test_a_port_outside_the_lecture_s_range(end, port):
    done = stretta(*end, "-p", port)
    assert done.returncode == 2
    lines = done.stderr.decode().splitlines()
    assert lines[0] == PORT_ERROR
    assert "--any-port" in lines[1]
    assert lines[2].startswith(f"Usage: stretta {' '.join(end)}")
    assert done.stdout == b""


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["tcp", "clinet"], "Did you mean client?"),
        (["tpc"], "Did you mean tcp?"),
        (["smtp"], "Commands: tcp, udp, http"),
        (["tcp", "client", "--tiemout", "3"], "no option --tiemout. Did you mean --timeout?"),
        (["tcp", "client", "-timeout", "3"], "no option -timeout. Did you mean --timeout?"),
        (["http", "server", "--cert", "x"], "Did you mean --tls-cert?"),
        (["http", "server", "--lgo", "off"], "Did you mean --log?"),
        (["http", "client", "--verbos", "x"], "Did you mean --verbose?"),
        (["http", "server", "--uplaod"], "there is no option --uplaod"),
        (["tcp", "client", "-a", "127.0.0.1:80"], "-p 80"),
        (["tcp", "client", "-a", ""], "it is empty"),
        (["tcp", "client", "--timeout", "soon"], "--timeout cannot be 'soon': it is not a time"),
        (["tcp", "client", "--timeout", "nan"], "it must be more than 0 and at most 1,000,000 sec"),
        (["tcp", "client", "--timeout", "inf"], "it must be more than 0 and at most 1,000,000 sec"),
        (["tcp", "client", "--timeout", "-1"], "--timeout cannot be '-1': it must be more than 0"),
        (["tcp", "client", "--timeout", "5M"], "'M' is not a unit of time. Accepted: seconds, or"),
        (["tcp", "client", "--connect-timeout", "0"], "must be more than 0"),
        (["tcp", "server", "--idle-timeout", "0s"], "must be more than 0"),
        (["tcp", "server", "--max-connections", "0"], "must be from 1 to 2,147,483,647"),
        (["tcp", "server", "--max-connections", "2.5"], "it is not a whole number"),
        (["tcp", "server", "--backlog", "9" * 30], "must be from 1 to"),
        (["tcp", "server", "--max-line", "64kb"], "the b of 'kb' is a bit; a byte is B"),
        (["tcp", "server", "--workers", "many"], "--workers cannot be 'many'"),
        (["http", "server", "--body-rate", "-1"], "must be from 0 to"),
        (["http", "server", "--log", "xml"], "it must be common, combined, json or off"),
        (["http", "client", "--color", "blue", ":80"], "it must be auto, always or never"),
        (["lab", "run", "--width", "20"], "--width cannot be '20': it must be from 60 to 400"),
        (["udp", "client", "--retries", "-1"], "must be from 0 to"),
        (["udp", "client", "--max-reply", "-1"], "must be from 1 to"),
        (["tcp", "client", "-i", "ciao"], "Leave one out"),
        (["http", "server", "9000", "-p", "9001"], "there are two ports, 9000 and 9001"),
        (["http", "server", "-d", "/dev/null"], "it is not a folder"),
        (["tcp", "client", "-p"], "requires an argument"),
        (["tcp", "server", "--service", "uppr"], "Services: upper, upper-ascii, echo, discard"),
        (["tcp", "server", "--framing", "lines"], "it must be stream or line"),
    ],
)
def test_mistakes_are_explained(words, says):
    done = stretta(*words)
    assert done.returncode == 2
    error = done.stderr.decode()
    assert says in error
    assert "Usage: stretta" in error and "Traceback" not in error


@pytest.mark.parametrize("words", [[], ["tcp"], ["udp"]])
def test_a_group_without_a_command_lists_its_commands(words):
    done = stretta(*words)
    assert done.returncode == 2
    assert b"Commands:" in done.stderr


@pytest.mark.parametrize("end", ENDS)
def test_help_is_on_stdout(end):
    for flag in ("-h", "--help"):
        done = stretta(*end, flag)
        assert done.returncode == 0 and not done.stderr
        assert b"Usage:" in done.stdout and b"--address" in done.stdout


def test_the_version():
    compiled = find_spec("stretta.net.server._poller") is not None
    for pure, kind in ("", "compiled" if compiled else "no compiled"), ("1", "no compiled"):
        done = stretta("--version", env={**os.environ, "STRETTA_PURE": pure})
        assert done.stdout.decode() == f"stretta {__version__} ({kind} transport)\n"


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_refused_connection_is_explained(protocol):
    port = free_port()
    done = stretta(protocol, "client", "-p", str(port), "ciao")
    assert done.returncode == 1
    error = done.stderr.decode().splitlines()[-1]
    assert error.startswith(f"stretta: cannot reach 127.0.0.1 port {port}: connection refused")
    assert error.endswith(f"To start a server: stretta {protocol} server -p {port}")


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_name_that_does_not_exist(protocol):
    done = stretta(protocol, "client", "-a", "nowhere.invalid", "ciao")
    assert done.returncode == 1
    assert "stretta: cannot find nowhere.invalid" in done.stderr.decode()


def test_a_port_in_use_names_its_holder_and_a_free_one():
    with Running("tcp", "server") as server:
        done = stretta("tcp", "server", "-p", str(server.port))
        assert done.returncode == 1
        error = done.stderr.decode()
        assert f"(process {server.process.pid})" in error
        assert "Traceback" not in error and "is free: stretta tcp server -p " in error


def test_the_hint_repeats_the_command_without_passwords(tmp_path):
    (tmp_path / "my www").mkdir()
    with Running("tcp", "server", "-a", "127.0.0.1") as server:
        words = ["http", "server", "-a", "127.0.0.1", str(server.port), "-d", "my www"]
        error = stretta(*words, cwd=tmp_path).stderr.decode()
        assert "is free: stretta http server -a 127.0.0.1 -d 'my www' -p " in error
        words = ["http", "server", "-p", str(server.port), "--auth", "anna:secret"]
        assert "secret" not in stretta(*words).stderr.decode()


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_the_hint_uses_the_family_of_the_address(protocol):
    port = free_port(socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM)
    error = stretta(protocol, "client", "-a", "::1", "-p", str(port), "x").stderr.decode()
    assert f"stretta {protocol} server -a :: -p {port}" in error
    error = stretta(protocol, "client", "-a", "fe80::1%nope", "x").stderr.decode()
    assert "no interface 'nope'" in error


def test_a_server_with_an_unknown_name_does_not_start():
    done = stretta("tcp", "server", "-a", "nowhere.invalid")
    assert done.returncode == 1
    assert "stretta: cannot find nowhere.invalid" in done.stderr.decode()


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_server_stops_cleanly(protocol, number):
    with Running(protocol, "server") as server:
        assert server.stop(number) == 0
        assert server.lines[-1].startswith("Server stopped")


def test_a_second_signal_stops_a_drain_at_once():
    with Running("tcp", "server", "--service", "echo") as server:
        with socket.create_connection(("127.0.0.1", server.port)) as deaf:
            deaf.settimeout(0.2)
            with pytest.raises(TimeoutError):
                while True:
                    deaf.send(b"x" * 65536)
            server.process.send_signal(signal.SIGTERM)
            server.expect("Stopping: 1 conversation may take 30 s")
            assert server.stop(signal.SIGTERM) == 0


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_closed_pipe_prints_no_traceback(protocol):
    with Running(protocol, "server") as server:
        command = [sys.executable, "-m", "stretta", protocol, "client", "-p", str(server.port)]
        inlet, outlet = os.pipe()
        os.close(inlet)
        done = subprocess.run(
            [*command, "ciao"], stdout=outlet, stderr=subprocess.PIPE, check=False, timeout=PATIENCE
        )
        os.close(outlet)
        assert done.returncode == 1
        assert b"Traceback" not in done.stderr and b"stretta:" not in done.stderr


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_is_reported(protocol):
    with Running(protocol, "server") as server, open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "stretta", protocol, "client", "-p", str(server.port)]
        done = subprocess.run(
            [*command, "ciao"], stdout=full, stderr=subprocess.PIPE, check=False, timeout=PATIENCE
        )
        assert done.returncode == 1
        assert b"cannot write the reply to standard output: no space left" in done.stderr


@pytest.mark.parametrize("closed", ["0", "1", "2"])
def test_no_socket_takes_the_number_of_a_closed_descriptor(closed):
    with Running("tcp", "server") as server:
        line = f'exec "$@" {closed}>&-'
        command = [sys.executable, "-m", "stretta", "tcp", "client", "-p", str(server.port), "ciao"]
        done = subprocess.run(
            ["sh", "-c", line, "sh", *command], capture_output=True, check=False, timeout=PATIENCE
        )
        assert b"Traceback" not in done.stderr
        if closed == "1":
            assert done.returncode == 1
            assert b"it is closed" in done.stderr
        else:
            assert (done.returncode, done.stdout) == (0, b"CIAO")


def test_ctrl_c_at_the_prompt_and_at_a_silent_server():
    with Terminal("tcp", "client") as terminal:
        terminal.expect("Input lowercase sentence: ")
        terminal.type("\x03")
        assert terminal.end() == 130
        assert "Traceback" not in terminal.screen
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with Terminal("tcp", "client", "-p", str(silent.getsockname()[1]), "ciao") as terminal:
            terminal.expect("Connected to server")
            terminal.type("\x03")
            assert terminal.end() == 130
            assert "Traceback" not in terminal.screen


def test_no_reply_is_status_6():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = str(silent.getsockname()[1])
        done = stretta("tcp", "client", "-p", port, "--timeout", "0.1", "ciao")
        assert done.returncode == 6
        assert "--timeout SECONDS" in done.stderr.decode()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        port = str(silent.getsockname()[1])
        done = stretta("udp", "client", "-p", port, "--timeout", "0.05", "--retries", "1", "ciao")
        assert done.returncode == 6
        assert "Sending again (1 of 1)" in done.stderr.decode()


def test_a_reply_that_ended_early_is_status_7():
    with naive_tcp_server(one_recv) as port:
        done = stretta("tcp", "client", "-p", str(port), "-q", "x" * 5000)
    assert done.returncode == 7
    assert done.stdout == b"X" * 1024
    assert "closed the connection after 1024 of 5000 bytes were answered" in done.stderr.decode()


def test_debug_prints_the_traceback():
    done = stretta("tcp", "client", "-p", str(free_port()), "--debug", "ciao")
    assert b"Traceback" in done.stderr


@pytest.mark.parametrize("protocol", ["tcp", "udp", "http"])
def test_a_server_continues_when_the_reader_of_its_log_closes_it(protocol):
    inlet, outlet = os.pipe()
    command = [
        sys.executable,
        "-m",
        "stretta",
        protocol,
        "server",
        "--json",
        "-p",
        "0",
        "--any-port",
    ]
    with subprocess.Popen(command, stdout=outlet, stderr=subprocess.PIPE, text=True) as process:
        os.close(outlet)
        with os.fdopen(inlet) as first:
            found = json.loads(first.readline())
        port = found["port"] if protocol == "http" else found["at"][1]
        for _ in range(2):
            if protocol == "http":
                done = stretta("http", "client", "-q", f"http://127.0.0.1:{port}/pyproject.toml")
                assert done.returncode == 0
            else:
                assert stretta(protocol, "client", "-q", "-p", str(port), "ciao").stdout == b"CIAO"
        process.terminate()
        error = process.communicate(timeout=PATIENCE)[1]
        assert process.returncode == 0
    assert error == (
        "stretta: cannot write to standard output: its reader has closed it."
        " Continuing without it.\n"
    )


def test_ctrl_c_from_the_first_moment():
    """The signal arrives while modules are loaded: a hook sends it."""
    code = (
        "import os, signal, sys\n"
        "class Hook:\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'click':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Hook())\n"
        "from stretta.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (130, b"")


def test_a_failing_service_cannot_forge_the_log(tmp_path):
    (tmp_path / "mine.py").write_text("def boom(data):\n    raise ValueError(data.decode())\n")
    words = ["tcp", "server", "--service", "mine:boom"]
    with Running(*words, cwd=tmp_path) as server:
        stretta("tcp", "client", "-p", str(server.port), "x\nServer stopped: no requests\n\x1b[2J")
        line = server.expect("^Dropped")[0]
        assert server.stop() == 0
        dropped = next(one for one in server.lines if one.startswith(line))
        assert dropped.endswith("ValueError: x Server stopped: no requests \\x1b[2J")


def test_debug_may_come_before_the_command():
    done = stretta("--debug", "tcp", "clinet")
    assert done.returncode == 2
    assert b"Did you mean client?" in done.stderr and b"Traceback" not in done.stderr
