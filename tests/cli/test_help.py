"""The help of every command: grouped, complete, never wider than the terminal."""

import os

import click
import pytest

from stretta.cli.help_page import description, section
from stretta.cli.main import ROOT
from stretta.cli.typed import closest_option, same_command, split_words
from support import Terminal, stretta

COMMANDS = [
    [], ["tcp"], ["udp"], ["http"], ["lab"], ["tcp", "client"], ["tcp", "server"],
    ["udp", "client"], ["udp", "server"], ["http", "client"], ["http", "server"],
    ["http", "password"], ["demo"], ["lab", "run"], ["lab", "list"], ["lab", "draw"], ["trace"],
]  # fmt: skip


def help_text(words, columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    command = ROOT
    ctx = command.make_context("stretta", ["tcp"], resilient_parsing=True)
    for word in words:
        command = command.get_command(ctx, word)
        ctx = command.make_context(word, ["x"], parent=ctx, resilient_parsing=True)
    return command, command.get_help(ctx)


@pytest.mark.parametrize("columns", [20, 40, 59, 60, 80, 120, 200])
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_no_line_is_wider_than_the_terminal_and_nothing_is_cut(words, columns, monkeypatch):
    command, text = help_text(words, columns, monkeypatch)
    assert max(map(len, text.splitlines())) <= min(max(columns, 40), 120)
    assert "..." not in text.replace("]...", "").replace("CMD...", "")
    joined = " ".join(text.split())
    for param in command.params:
        if isinstance(param, click.Option):
            for name in (*param.opts, *param.secondary_opts):
                assert name in text
            assert " ".join((param.help or "").split())[1:].rstrip(".") in joined


def test_the_help_uses_a_wide_terminal(monkeypatch):
    _, text = help_text(["http", "server"], 120, monkeypatch)
    assert max(map(len, text.splitlines())) > 100


def test_options_are_grouped_and_the_common_ones_come_first(monkeypatch):
    _, text = help_text(["http", "server"], 80, monkeypatch)
    titles = [line for line in text.splitlines() if line.endswith(":") and line[0] != " "]
    assert titles == [
        "Examples:", "Common options:", "Connection:", "Files:", "Access:", "TLS:", "Limits:",
        "Output:",
    ]  # fmt: skip
    common = text.split("Common options:")[1].split("\n\n")[0]
    for flag in ("-d, --directory DIR", "-a, --address", "-p, --port N", "--tls", "-h, --help"):
        assert flag in common


def test_the_help_shows_units_and_defaults_as_people_write_them(monkeypatch):
    _, text = help_text(["http", "server"], 80, monkeypatch)
    joined = " ".join(text.split())
    assert "--header-timeout SECONDS Longest time for the head of a request" in joined
    assert "[default: 10s]" in text and "[default: 1MiB]" in text and "[default: 500/s]" in text
    assert "SECONDS may have a unit: 5, 50ms, 2m, 1h30m." in joined
    assert "64k and 10MB count in powers of 1000, 64Ki and 1GiB of 1024." in joined


def test_the_help_fits_a_real_terminal():
    env = {name: "" for name in ("COLUMNS",) if name in os.environ}
    with Terminal("tcp", "server", "-h", columns=64, env=env) as terminal:
        assert terminal.end() == 0
        lines = terminal.screen.splitlines()
        assert lines[0].startswith("Usage: stretta tcp server")
        assert 55 < max(map(len, lines)) <= 64


def test_a_long_example_continues_on_the_next_line():
    text = "\b\nExamples:\n  stretta tcp client --tls -a 'my host' -p 8443 < divina.txt"
    assert description(text, 40).splitlines() == [
        "Examples:",
        "  stretta tcp client --tls -a \\",
        "    'my host' -p 8443 < divina.txt",
    ]


def test_rows_in_two_columns_and_in_one():
    rows = [("-a, --address ADDRESS", "Address to listen on. [default: 0.0.0.0]")]
    assert section("Connection", rows, 60).splitlines() == [
        "Connection:",
        "  -a, --address ADDRESS  Address to listen on.",
        "                         [default: 0.0.0.0]",
    ]
    assert section("Connection", rows, 40).splitlines() == [
        "Connection:",
        "  -a, --address ADDRESS",
        "      Address to listen on.",
        "      [default: 0.0.0.0]",
    ]


def test_a_default_that_is_wider_than_the_terminal_is_broken_between_words():
    rows = [("--index NAME", "File. [default: first.html, second.html, third.html]")]
    assert section("Files", rows, 40).splitlines()[2:] == [
        "      File. [default: first.html,",
        "      second.html, third.html]",
    ]


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("--tiemout", "--timeout"), ("--time-out", "--timeout"), ("--colour", "--color"),
        ("--max-con", "--max-connections"), ("--cert", "--tls-cert"), ("--lgo", "--log"),
        ("--upload", None), ("--x", None), ("--file", None), ("--", None), ("--zzzzzz", None),
    ],
)  # fmt: skip
def test_the_suggestion_for_a_wrong_option(wrong, meant):
    known = ["--timeout", "--color", "--max-connections", "--tls-cert", "--tls-key", "--log", "-a"]
    assert closest_option(wrong, known) == meant


def params():
    return [
        click.Option(["-p", "--port", "port"]), click.Option(["-d", "--directory"]),
        click.Option(["-q", "--quiet"], is_flag=True), click.Option(["-v"], count=True),
        click.Option(["--debug"], is_flag=True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["--debug", "x"], ["debug", None]),
        (["--", "--debug"], [None, None]),
        (["-d", "--debug", "x"], ["directory", None]),
        (["-qd", "x", "-dx", "--directory=x"], ["directory", "directory", "directory"]),
        (["-qv", "-p80", "-", "-z", "--nope=3"], ["v", "port", None, None, None]),
        (["-p"], ["port"]),
    ],
)
def test_words_and_the_options_that_they_belong_to(words, names):
    pieces = list(split_words(params(), words))
    assert [option and option.name for option, _ in pieces] == names
    assert [word for _, own in pieces for word in own] == words


def test_the_command_to_type_again():
    words = ["8000", "-d", "my folder", "-p", "8000", "--port=8000", "-p8000", "-q"]
    assert same_command("stretta http server", params(), words) == (
        "stretta http server -d 'my folder' -q"
    )
    secret = click.Option(["--auth"])
    secret.secret = True
    for words in (["--auth", "a:b"], ["--auth=a:b"]):
        assert same_command("stretta http server", [*params(), secret], words) == ""


def test_no_word_after_two_dashes_is_an_option():
    done = stretta("tcp", "client", "-p", "1", "--any-port", "--", "--debug")
    assert done.returncode == 1 and b"Traceback" not in done.stderr
    done = stretta("tcp", "client", "-p", "1", "--any-port", "--", "--color=always")
    assert b"\x1b" not in done.stderr


@pytest.mark.parametrize("words", [["--color", "always"], ["--color=always"]])
@pytest.mark.parametrize("mistake", [[], ["--nope"], ["--timeout", "soon"], ["-p", "x"]])
def test_color_works_in_both_forms_with_any_other_mistake(words, mistake):
    done = stretta("tcp", "client", "-p", "1", *words, *mistake, "x")
    assert (b"\x1b[" in done.stderr) is (mistake not in (["-p", "x"], []))
    never = [words[0].replace("always", "never"), *(["never"] if len(words) > 1 else [])]
    env = {**os.environ, "FORCE_COLOR": "1"}
    assert b"\x1b[" not in stretta("tcp", "client", *never, *mistake, "x", env=env).stderr


def test_a_variable_that_is_wrong_is_named():
    env = {**os.environ, "STRETTA_TCP_CLIENT_TIMEOUT": "soon", "STRETTA_SERVER_TLS": "perhaps"}
    error = stretta("tcp", "client", "x", env=env).stderr.decode()
    assert "STRETTA_TCP_CLIENT_TIMEOUT cannot be 'soon': it is not a time" in error
    error = stretta("tcp", "server", env=env).stderr.decode()
    assert "STRETTA_SERVER_TLS cannot be 'perhaps': it must be yes or no" in error
