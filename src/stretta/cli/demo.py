"""``stretta demo``."""

from __future__ import annotations

from dataclasses import asdict

import click

from stretta.cli.command import Command
from stretta.cli.flags import flags
from stretta.cli.ui.console import Console, write_stdout
from stretta.demo import demonstrate, text_folder
from stretta.options.console import ConsoleOptions

__all__ = ["command"]


@click.command(cls=Command, name="demo")
@flags(output=ConsoleOptions)
def command(*, output: ConsoleOptions) -> int:
    """Start the three servers, send each a real text, and check every reply.

    The text is the first canto of Dante's Inferno. All traffic stays on this machine. The exit
    status is 0 if every reply was right, 1 if one was not.
    """
    console = Console(quiet=output.quiet, as_json=output.json)

    def say(line: str) -> None:
        if not output.quiet and not output.json:
            write_stdout(line + "\n")

    outcomes = []
    for outcome in demonstrate(say, text_folder()):
        outcomes.append(outcome)
        if output.json:
            console.write_json({"event": "outcome", **asdict(outcome)})
    if not output.json:
        say("")
        write_stdout("".join(f"{outcome}\n" for outcome in outcomes))
        for outcome in outcomes:
            for difference in outcome.differences[1:]:
                write_stdout(f"{outcome.protocol}: {difference}\n")
    return int(any(outcome.differences for outcome in outcomes))
