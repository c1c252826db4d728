"""How the output of programs is printed: line by line, bounded, under the host's name."""

import pytest

from stretta.cli.lab.run import LONGEST_LINE, OutputPrinter


class Console:
    """A console that keeps its messages."""

    def __init__(self):
        self.lines = []

    def print_message(self, line):
        self.lines.append(line)


def printed(pieces):
    console = Console()
    printer = OutputPrinter("client", "blue", console)
    for piece in pieces:
        printer.feed(piece)
    printer.finish()
    return console.lines


@pytest.mark.parametrize(
    "pieces",
    [[b"one\ntwo\nthree"], [b"on", b"e\r\nt", b"wo\r", b"\nthree"], [b"one\ntwo\nthree\n"]],
)
def test_lines_are_printed_whole(pieces):
    assert printed(pieces) == ["client │ one", "client │ two", "client │ three"]


def test_a_line_without_an_end_is_not_kept_for_ever():
    lines = printed([b"x" * 1000] * 1000)
    assert len(lines) > 10
    assert max(map(len, lines)) < LONGEST_LINE + 2000
    assert sum(line.count("x") for line in lines) == 1_000_000
