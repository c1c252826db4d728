"""``stretta demo``."""

from __future__ import annotations

from dataclasses import asdict

import click

from stretta.cli.flags import talk_flags
from stretta.cli.main import Command
from stretta.cli.ui.console import Console, write_stdout
from stretta.demo import demonstrate, text_folder

__all__ = ["command"]


@click.command(cls=Command, name="demo")
@talk_flags
def command(*, quiet: bool, as_json: bool) -> int:
    """Start the three servers, talk to each on a real text, and check every reply.

    The text is the first canto of Dante's Inferno. Everything stays on this machine. Status 0 if
    every reply was what it must be, 1 if one was not.
    """
    console = Console(quiet=quiet, as_json=as_json)

    def say(line: str) -> None:
        if not quiet and not as_json:
            write_stdout(line + "\n")

    outcomes = []
    for outcome in demonstrate(say, text_folder()):
        outcomes.append(outcome)
        if as_json:
            console.write_json({"event": "outcome", **asdict(outcome)})
    if not as_json:
        say("")
        write_stdout("".join(f"{outcome}\n" for outcome in outcomes))
        for outcome in outcomes:
            for difference in outcome.differences[1:]:
                write_stdout(f"{outcome.protocol}: {difference}\n")
    return int(any(outcome.differences for outcome in outcomes))
