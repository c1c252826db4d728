"""``stretta tcp client``."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from stretta.cli.flags import end_flags, flags_of, parse_end, take, talk_flags
from stretta.cli.main import Command
from stretta.cli.prompt import SENTENCE, ask_line
from stretta.cli.talk import Talk, person_reads, write_out
from stretta.cli.terminal import is_terminal
from stretta.escape import TerminalText
from stretta.options import ClientTls, StreamPatience
from stretta.tcp.client import Conversation, Sink, connect

__all__ = ["command"]


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
    talk = Talk(quiet=quiet, as_json=as_json)
    what: bytes | int | None
    if interactive:
        what = None
    elif message:
        what = os.fsencode(" ".join(message))
    elif is_terminal(sys.stdin):
        sentence = ask_line(SENTENCE)
        if sentence is None:
            return
        what = sentence.encode(errors="surrogateescape")
    else:
        what = 0  # standard input, as it comes
    with connect(address, number, patience=patience, tls=tls, watch=talk) as conversation:
        if what is None:
            talk_line_by_line(conversation, talk)
            return
        show = Reply(talk)
        try:
            conversation.exchange(what, show.piece)
        finally:
            show.end()


def talk_line_by_line(conversation: Conversation, talk: Talk) -> None:
    """Send each line that is typed, and show the line that comes back."""
    while (sentence := ask_line(SENTENCE)) is not None:
        conversation.send(sentence.encode(errors="surrogateescape") + b"\n")
        reply = conversation.receive_until(b"\n")
        show = Reply(talk)
        show.piece(memoryview(reply.removesuffix(b"\n") if show.decorated else reply))
        show.end()
        if not reply.endswith(b"\n"):
            talk.say("The server has closed the connection.")
            return


class Reply:
    """A reply as it comes: the lecture's line for a person, the bytes for a program."""

    def __init__(self, talk: Talk) -> None:
        self.decorated = person_reads() and not talk.as_json
        self._started = False
        self._text = TerminalText()
        self._quiet = talk.quiet
        self.piece: Sink = self._show
        if talk.as_json:
            self.piece = talk.piece
        elif not self.decorated:
            self.piece = write_out

    def _show(self, piece: memoryview) -> None:
        if not self._started:
            self._started = True
            write_out("" if self._quiet else "Received reply <")
        write_out(self._text.feed(piece))

    def end(self) -> None:
        """Close the lecture's bracket, or end the line, where a person reads."""
        if self._started:
            write_out(self._text.finish() + ("\n" if self._quiet else ">\n"))
