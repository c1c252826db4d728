"""``stretta trace``."""

from __future__ import annotations

import click

from stretta.cli.command import Command
from stretta.cli.flags import flags
from stretta.cli.lab.diagram_output import check_files, show_diagram
from stretta.cli.ui.console import Console
from stretta.lab.trace import trace
from stretta.options.lab import DiagramOptions, TraceOutput

__all__ = ["command"]


@click.command(cls=Command, name="trace")
@click.argument("argv", metavar="CMD...", nargs=-1, required=True, type=click.UNPROCESSED)
@flags(diagram=DiagramOptions, output=TraceOutput)
def command(argv: tuple[str, ...], *, diagram: DiagramOptions, output: TraceOutput) -> int:
    """Run a program on this machine's own network, and draw its calls and segments.

    Calls are always recorded; segments only if this user may open packet sockets (root, or
    CAP_NET_RAW). Put -- before the program. The exit status is the program's.

    \b
    Example:
      stretta trace -- curl -s http://127.0.0.1:8080/
    """
    check_files(diagram)
    console = Console(quiet=output.quiet, as_json=False)
    timeline, status = trace(list(argv))
    if not timeline.about["segments"]:
        console.print_message(
            "Calls only: segments need a packet socket, which this user may not open. To record"
            " both: sudo stretta trace -- ..., or stretta lab run, which needs no privilege."
        )
    if timeline.about["missed"]:
        console.print_message(
            f"Warning: {timeline.about['missed']} packets came too fast to be recorded; some"
            " of them may be this program's."
        )
    show_diagram(timeline, diagram)
    return status if status >= 0 else 128 - status
