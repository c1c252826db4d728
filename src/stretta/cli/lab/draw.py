"""``stretta lab draw``."""

from __future__ import annotations

import json
from typing import Any

import click

from stretta.cli.flags import look_flags
from stretta.cli.lab.diagram_output import diagram_flags, show_diagram
from stretta.cli.main import Command
from stretta.errors import UsageError
from stretta.see.json_document import from_document

__all__ = ["command"]


@click.command(cls=Command, name="draw")
@click.argument("file", type=click.File("rb"))
@diagram_flags
@look_flags
def command(file: Any, **options: Any) -> None:
    """Draw a timeline that was recorded with --json; - is standard input.

    \b
    Example:
      stretta lab draw timeline.json --width 120
    """
    try:
        document = json.load(file)
    except ValueError as error:
        raise UsageError(
            f"{file.name} is not JSON",
            str(error).lower(),
            "To record a timeline: stretta lab run handshake --json timeline.json",
        ) from error
    show_diagram(from_document(document), options)
