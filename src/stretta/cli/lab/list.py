"""``stretta lab list``."""

from __future__ import annotations

import click

from stretta.cli.flags import look_flags
from stretta.cli.main import Command
from stretta.cli.ui.console import write_stdout
from stretta.lab.scenarios import SCENARIOS

__all__ = ["command"]


@click.command(cls=Command, name="list")
@look_flags
def command() -> None:
    """List the scenarios of stretta lab run."""
    width = max(map(len, SCENARIOS))
    for name, scenario in SCENARIOS.items():
        write_stdout(f"{name:{width}}  {scenario.summary}\n{'':{width}}  {scenario.question}\n")
