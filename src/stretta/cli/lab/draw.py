"""``stretta lab draw``."""

from __future__ import annotations

from typing import Any

import click

from stretta.cli.command import Command
from stretta.cli.flags import flags
from stretta.cli.lab.diagram_output import check_files, show_diagram
from stretta.options.console import ColourOptions
from stretta.options.lab import DiagramOptions
from stretta.see.json_document import from_json

__all__ = ["command"]


@click.command(cls=Command, name="draw")
@click.argument("file", type=click.File("rb"))
@flags(diagram=DiagramOptions, output=ColourOptions)
def command(
    file: Any,
    *,
    diagram: DiagramOptions,
    output: ColourOptions,  # noqa: ARG001 - it is obeyed already
) -> None:
    """Draw a timeline that was recorded with --json; - is standard input.

    \b
    Example:
      stretta lab draw timeline.json --width 120
    """
    check_files(diagram)
    show_diagram(from_json(file.read(), file.name), diagram)
