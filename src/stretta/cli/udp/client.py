"""``stretta udp client``."""

from __future__ import annotations

import os
import sys

import click

from stretta.cli.command import Command
from stretta.cli.flags import flags
from stretta.cli.ui.console import Console, stdout_is_terminal, write_stdout
from stretta.cli.ui.prompt import SENTENCE, ask_line
from stretta.cli.ui.terminal import is_terminal
from stretta.escape import TerminalText
from stretta.options.client import ClientEndpoint, DatagramPatience
from stretta.options.console import ConsoleOptions
from stretta.udp.client import LARGEST, ask

__all__ = ["command"]


@click.command(cls=Command, name="client")
@click.argument("message", nargs=-1)
@flags(server=ClientEndpoint, patience=DatagramPatience, output=ConsoleOptions)
def command(
    message: tuple[str, ...],
    *,
    server: ClientEndpoint,
    patience: DatagramPatience,
    output: ConsoleOptions,
) -> None:
    """Send MESSAGE in one UDP datagram and print the reply.

    Without MESSAGE, standard input is the datagram; on a terminal, the command asks for a sentence.
    A datagram without a reply is sent again.

    \b
    Examples:
      stretta udp client ciao
      stretta udp client -a ::1 --timeout 0.2 --retries 5 ciao
    """
    console = Console(quiet=output.quiet, as_json=output.json)
    if message:
        data = os.fsencode(" ".join(message))
    elif is_terminal(sys.stdin):
        sentence = ask_line(SENTENCE, quiet=output.quiet or output.json)
        if sentence is None:
            return
        data = sentence.encode(errors="surrogateescape")
    else:
        # one byte more than fits is enough to refuse it
        data = sys.stdin.buffer.read(max(LARGEST.values()) + 1)
    reply = ask(data, server.address, server.port, patience=patience, watch=console)
    if output.json:
        console.write_reply(reply)
    elif stdout_is_terminal():
        text = TerminalText()
        write_stdout(text.feed(reply) + text.finish() + "\n")
    else:
        write_stdout(reply)
