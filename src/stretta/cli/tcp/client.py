"""``stretta tcp client``."""

from __future__ import annotations

import os
import sys

import click

from stretta.cli.command import Command
from stretta.cli.flags import flags
from stretta.cli.ui.console import Console, stdout_is_terminal, write_stdout
from stretta.cli.ui.prompt import SENTENCE, ask_line
from stretta.cli.ui.terminal import is_terminal
from stretta.errors import ReplyEndedEarly, UsageError
from stretta.escape import TerminalText
from stretta.options.client import ClientEndpoint, Interaction, StreamPatience
from stretta.options.console import ConsoleOptions
from stretta.options.tls import ClientTls
from stretta.tcp.client import Conversation, Sink, connect

__all__ = ["command"]

LONG_LINE = 4096
"""Characters of a line that are printed before its end has arrived."""


@click.command(cls=Command, name="client")
@click.argument("message", nargs=-1)
@flags(
    server=ClientEndpoint,
    interaction=Interaction,
    tls=ClientTls,
    patience=StreamPatience,
    output=ConsoleOptions,
)
def command(
    message: tuple[str, ...],
    *,
    server: ClientEndpoint,
    interaction: Interaction,
    tls: ClientTls,
    patience: StreamPatience,
    output: ConsoleOptions,
) -> None:
    """Send MESSAGE over TCP and print the reply.

    Without MESSAGE, standard input is sent as it arrives, whatever its length; on a terminal, the
    command asks for a sentence.

    \b
    Examples:
      stretta tcp client ciao
      stretta tcp client -a ::1 -p 12001 < divina.txt > DIVINA.txt
      stretta tcp client -i
      stretta tcp client --tls -a example.org -p 8443
    """
    console = Console(quiet=output.quiet, as_json=output.json)
    data: bytes | int | None
    if interaction.interactive and message:
        raise UsageError("-i asks for sentences", "there is one in the arguments", "Leave one out.")
    if interaction.interactive:
        data = None
    elif message:
        data = os.fsencode(" ".join(message))
    elif is_terminal(sys.stdin):
        sentence = ask_line(SENTENCE, quiet=output.quiet or output.json)
        if sentence is None:
            return
        data = sentence.encode(errors="surrogateescape")
    else:
        data = 0  # standard input, as it arrives
    with connect(
        server.address, server.port, patience=patience, tls=tls, watch=console
    ) as conversation:
        if data is None:
            ask_line_by_line(conversation, console)
            return
        show = Reply(console)
        try:
            conversation.exchange(data, show.piece)
        finally:
            show.end()


def ask_line_by_line(conversation: Conversation, console: Console) -> None:
    """Send each line that is typed, and print the line that comes back.

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
                f"the server closed the connection {'in' if reply else 'before'} its reply to"
                f" {sentence!r}",
                "it serves one request a connection, reached a time-out, or was stopped",
                "Try again, or leave out -i.",
            )


class Reply:
    """Prints a reply as it arrives: the lecture's line on a terminal, the bytes in a pipe."""

    def __init__(self, console: Console) -> None:
        self.decorated = stdout_is_terminal() and not console.as_json
        self._text = TerminalText()
        self._line = "" if console.quiet else "Received reply <"
        self._last = "\n" if console.quiet else ">\n"
        self.piece: Sink = self._print
        if console.as_json:
            self.piece = console.write_reply
        elif not self.decorated:
            self.piece = write_stdout

    def _print(self, piece: memoryview) -> None:
        # whole lines at once: a server may print its own to the same terminal
        self._line += self._text.feed(piece)
        lines, end, rest = self._line.rpartition("\n")
        if len(rest) > LONG_LINE:
            lines, end, rest = self._line, "", ""
        if lines or end:
            write_stdout(lines + end)
            self._line = rest

    def end(self) -> None:
        """Close the lecture's bracket, or end the line, on a terminal."""
        if self.decorated:
            write_stdout(self._line + self._text.finish() + self._last)
