"""``stretta tcp client``."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from stretta.cli.flags import end_flags, flags_of, parse_end, take, talk_flags
from stretta.cli.main import Command
from stretta.cli.ui.console import Console, stdout_is_terminal, write_stdout
from stretta.cli.ui.prompt import SENTENCE, ask_line
from stretta.cli.ui.terminal import is_terminal
from stretta.errors import ReplyEndedEarly, UsageError
from stretta.escape import TerminalText
from stretta.options import ClientTls, StreamPatience
from stretta.tcp.client import Conversation, Sink, connect

__all__ = ["command"]

LONG_LINE = 4096
"""Characters of a line that are shown before its end has come."""


@click.command(cls=Command, name="client")
@click.argument("message", nargs=-1)
@end_flags("127.0.0.1", 12000, "of the server")
@click.option("-i", "--interactive", is_flag=True, help="Ask again and again, over one connection.")
@flags_of(ClientTls)
@flags_of(StreamPatience)
@talk_flags
def command(
    message: tuple[str, ...],
    address: str,
    port: str,
    *,
    any_port: bool,
    interactive: bool,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Send MESSAGE over TCP and print the reply.

    Without MESSAGE, standard input is sent as it comes, however long it is; a terminal is asked
    for a sentence.

    \b
    Examples:
      stretta tcp client ciao
      stretta tcp client -a ::1 -p 12001 < divina.txt > DIVINA.txt
      stretta tcp client -i
      stretta tcp client --tls -a example.org -p 8443
    """
    number = parse_end(port, any_port=any_port)
    patience = take(StreamPatience, options)
    tls = take(ClientTls, options)
    console = Console(quiet=quiet, as_json=as_json)
    what: bytes | int | None
    if interactive and message:
        raise UsageError("-i asks for sentences", "there is one in the arguments", "Leave one out.")
    if interactive:
        what = None
    elif message:
        what = os.fsencode(" ".join(message))
    elif is_terminal(sys.stdin):
        sentence = ask_line(SENTENCE, quiet=console.watch is None or as_json)
        if sentence is None:
            return
        what = sentence.encode(errors="surrogateescape")
    else:
        what = 0  # standard input, as it comes
    with connect(address, number, patience=patience, tls=tls, watch=console) as conversation:
        if what is None:
            talk_line_by_line(conversation, console)
            return
        show = Reply(console)
        try:
            conversation.exchange(what, show.piece)
        finally:
            show.end()


def talk_line_by_line(conversation: Conversation, console: Console) -> None:
    """Send each line that is typed, and show the line that comes back.

    Raises ReplyEndedEarly when the server closes instead of answering.
    """
    silent = console.quiet or console.as_json
    while (sentence := ask_line(SENTENCE, quiet=silent)) is not None:
        conversation.send(sentence.encode(errors="surrogateescape") + b"\n")
        reply = conversation.receive_until(b"\n")
        whole = reply.endswith(b"\n")
        if reply:
            show = Reply(console)
            show.piece(memoryview(reply.removesuffix(b"\n") if show.decorated else reply))
            show.end()
        if not whole:
            raise ReplyEndedEarly(
                f"the server closed the connection {'in' if reply else 'before'} its answer to"
                f" {sentence!r}",
                "it serves one request a connection, was silent for too long, or was stopped",
                "Ask again, or without -i.",
            )


class Reply:
    """A reply as it comes: the lecture's line for a person, the bytes for a program."""

    def __init__(self, console: Console) -> None:
        self.decorated = stdout_is_terminal() and not console.as_json
        self._text = TerminalText()
        self._line = "" if console.quiet else "Received reply <"
        self._last = "\n" if console.quiet else ">\n"
        self.piece: Sink = self._show
        if console.as_json:
            self.piece = console.write_reply
        elif not self.decorated:
            self.piece = write_stdout

    def _show(self, piece: memoryview) -> None:
        # whole lines at once: a server on the same terminal may be writing its own between them
        self._line += self._text.feed(piece)
        lines, end, rest = self._line.rpartition("\n")
        if len(rest) > LONG_LINE:
            lines, end, rest = self._line, "", ""
        if lines or end:
            write_stdout(lines + end)
            self._line = rest

    def end(self) -> None:
        """Close the lecture's bracket, or end the line, where a person reads."""
        if self.decorated:
            write_stdout(self._line + self._text.finish() + self._last)
