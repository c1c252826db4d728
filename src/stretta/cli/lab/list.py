"""``stretta lab list``."""

from __future__ import annotations

import click

from stretta.cli.command import Command
from stretta.cli.flags import flags
from stretta.cli.ui.console import write_stdout
from stretta.lab.scenarios import SCENARIOS
from stretta.options.console import ColourOptions

__all__ = ["command"]


@click.command(cls=Command, name="list")
@flags(output=ColourOptions)
def command(*, output: ColourOptions) -> None:  # noqa: ARG001 - it is obeyed already
    """List the scenarios of stretta lab run."""
    width = max(map(len, SCENARIOS))
    for name, scenario in SCENARIOS.items():
        write_stdout(f"{name:{width}}  {scenario.summary}\n{'':{width}}  {scenario.question}\n")
