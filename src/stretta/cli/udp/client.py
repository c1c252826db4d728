"""``stretta udp client``."""

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
from stretta.escape import TerminalText
from stretta.options import DatagramPatience
from stretta.udp.client import LARGEST, ask

__all__ = ["command"]


@click.command(cls=Command, name="client")
@click.argument("message", nargs=-1)
@end_flags("127.0.0.1", 12000, "of the server")
@flags_of(DatagramPatience)
@talk_flags
def command(
    message: tuple[str, ...],
    address: str,
    port: str,
    *,
    any_port: bool,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Send MESSAGE in one UDP datagram and print the reply.

    Without MESSAGE, standard input is the datagram; a terminal is asked for a sentence. What is not
    answered is sent again.

    \b
    Examples:
      stretta udp client ciao
      stretta udp client -a ::1 --timeout 0.2 --retries 5 ciao
    """
    number = parse_end(port, any_port=any_port)
    patience = take(DatagramPatience, options)
    console = Console(quiet=quiet, as_json=as_json)
    if message:
        data = os.fsencode(" ".join(message))
    elif is_terminal(sys.stdin):
        sentence = ask_line(SENTENCE, quiet=quiet or as_json)
        if sentence is None:
            return
        data = sentence.encode(errors="surrogateescape")
    else:
        # one byte more than fits is enough to refuse it
        data = sys.stdin.buffer.read(max(LARGEST.values()) + 1)
    reply = ask(data, address, number, patience=patience, watch=console)
    if as_json:
        console.write_reply(reply)
    elif stdout_is_terminal():
        text = TerminalText()
        write_stdout(text.feed(reply) + text.finish() + "\n")
    else:
        write_stdout(reply)
