"""The lecture's lines on a terminal; the data alone in a pipe."""

import json
import os

import pytest

from support import Running, Terminal, naive_tcp_server, one_recv, stretta


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_stdout_is_the_reply_and_stderr_the_lecture_s_lines(protocol):
    with Running(protocol, "server") as server:
        done = stretta(protocol, "client", "-p", str(server.port), "perché")
        assert done.stdout == "PERCHÉ".encode()
        at = f"(127.0.0.1, {server.port})"
        expected = {
            "tcp": [f"Connected to server at {at}", f"Connection closed with server at {at}"],
            "udp": ["Waiting for server response..."],
        }
        assert done.stderr.decode().splitlines() == expected[protocol]
        server.expect(r"^Server waiting on \(0\.0\.0\.0, \d+\)$")
        client = server.expect(r"^Received request from \(127\.0\.0\.1, (\d+)\)$")[1]
        server.expect(rf"^Sent reply to \(127\.0\.0\.1, {client}\)$")


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_quiet_prints_the_data_only(protocol):
    with Running(protocol, "server") as server:
        done = stretta(protocol, "client", "-q", "-p", str(server.port), "ciao", "mondo")
        assert (done.stdout, done.stderr, done.returncode) == (b"CIAO MONDO", b"", 0)


def test_standard_input_is_sent_untouched():
    data = bytes(range(256)) * 4000 + b"no newline at the end"
    with Running("tcp", "server", "--service", "echo") as server:
        done = stretta("tcp", "client", "-p", str(server.port), stdin=data)
        assert done.stdout == data
    with Running("udp", "server", "--service", "echo") as server:
        done = stretta("udp", "client", "-p", str(server.port), stdin=data[:5000])
        assert done.stdout == data[:5000]
        done = stretta("udp", "client", "-p", str(server.port), stdin=data)
        assert done.returncode == 2 and b"cannot send" in done.stderr


@pytest.mark.parametrize(("protocol", "events"), [
    ("tcp", ["connected", "reply", "closed"]),
    ("udp", ["asked", "reply"]),
])  # fmt: skip
def test_json_is_one_object_a_line(protocol, events):
    with Running(protocol, "server") as server:
        done = stretta(protocol, "client", "--json", "-p", str(server.port), "perché")
        objects = [json.loads(line) for line in done.stdout.splitlines()]
        assert [o["event"] for o in objects] == events
        reply = objects[events.index("reply")]
        assert reply == {"event": "reply", "bytes": 7, "text": "PERCHÉ"}
        assert objects[0]["server"] == ["127.0.0.1", server.port]
        assert done.stderr == b""


def test_a_conversation_on_a_terminal_reads_as_in_the_lecture():
    with Running("tcp", "server") as server:
        with Terminal("tcp", "client", "-p", str(server.port)) as terminal:
            terminal.expect("Input lowercase sentence: ")
            terminal.type("perché no\r")
            assert terminal.end() == 0
            at = f"(127.0.0.1, {server.port})"
            assert terminal.screen.splitlines()[1:] == [
                f"Connected to server at {at}",
                "Received reply <PERCHÉ NO>",
                f"Connection closed with server at {at}",
            ]


def test_a_datagram_on_a_terminal_reads_as_in_the_lecture():
    with Running("udp", "server") as server:
        with Terminal("udp", "client", "-p", str(server.port), columns=60) as terminal:
            terminal.expect("Input lowercase sentence: ")
            terminal.type("ciao\r")
            assert terminal.end() == 0
            assert terminal.screen.splitlines()[1:] == ["Waiting for server response...", "CIAO"]


def test_what_a_server_sends_cannot_command_the_terminal():
    def rude(connection):
        connection.recv(100)
        connection.sendall(b"\x1b[2Jred\x07\n\x9b31m")

    with (
        naive_tcp_server(rude) as port,
        Terminal("tcp", "client", "-p", str(port), "x") as terminal,
    ):
        assert terminal.end() == 0
        assert "Received reply <\\x1b[2Jred\\x07\n\\x9b31m>" in terminal.screen
        assert "\x1b[2J" not in terminal.screen


def test_interactive_sends_several_sentences_over_one_connection():
    with Running("tcp", "server") as server:
        with Terminal("tcp", "client", "-i", "-p", str(server.port)) as terminal:
            for word in ("uno", "perché"):
                terminal.expect("Input lowercase sentence: ")
                terminal.type(word + "\r")
                terminal.expect(f"Received reply <{word.upper()}>")
            terminal.type("\x04")
            assert terminal.end() == 0
            assert terminal.screen.count("Connected to server") == 1


def test_interactive_with_a_server_that_closes():
    with naive_tcp_server(one_recv) as port:
        with Terminal("tcp", "client", "-i", "-p", str(port)) as terminal:
            terminal.expect("Input lowercase sentence: ")
            terminal.type("uno\r")
            terminal.expect("Received reply <UNO>")
            terminal.type("due\r")
            assert terminal.end() in (1, 7)  # reset or closed, as the naive server happens to end
            assert "Traceback" not in terminal.screen
            assert "Received reply <>" not in terminal.screen


def test_a_flag_wins_over_the_variable():
    with Running("tcp", "server") as server:
        env = {**os.environ, "STRETTA_TCP_CLIENT_TIMEOUT": "soon"}
        assert stretta("tcp", "client", "-p", str(server.port), "x", env=env).returncode == 2
        done = stretta("tcp", "client", "-p", str(server.port), "--timeout", "9", "x", env=env)
        assert done.stdout == b"X"


def test_an_interactive_line_that_is_not_answered_is_an_error():
    with naive_tcp_server(one_recv) as port:
        done = stretta("tcp", "client", "-i", "-p", str(port), stdin=b"uno\ndue\ntre\n")
        assert done.stdout == b"UNO\n"
        assert done.returncode in (1, 7)


@pytest.mark.parametrize("flag", ["-q", "--json"])
def test_quiet_and_json_print_no_prompt(flag):
    with Running("tcp", "server") as server:
        done = stretta("tcp", "client", "-i", flag, "-p", str(server.port), stdin=b"uno\n")
        assert done.stderr == b"" and b"UNO" in done.stdout


def test_an_empty_reply_is_shown_on_a_terminal():
    with Running("tcp", "server") as server:
        with Terminal("tcp", "client", "-p", str(server.port), "") as terminal:
            assert terminal.end() == 0
            assert "Received reply <>\n" in terminal.screen


def test_a_reply_in_two_segments_is_printed_in_whole_lines():
    def two_parts(connection):
        connection.recv(10)
        connection.sendall(b"UNO")
        connection.sendall(b" DUE\nTRE")

    with naive_tcp_server(two_parts) as port, Terminal("tcp", "client", "-p", str(port), "x") as t:
        assert t.end() == 0
        assert "Received reply <UNO DUE\nTRE>\n" in t.screen
