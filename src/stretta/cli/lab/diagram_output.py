"""Options and output that the lab's commands share: the picture, and the files."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from stretta.cli.ui.console import write_stdout
from stretta.cli.ui.terminal import is_terminal, wants_colour
from stretta.errors import OutputError
from stretta.see.json_document import to_document
from stretta.see.render.mermaid import to_mermaid
from stretta.see.render.terminal import draw
from stretta.see.timeline import Timeline

__all__ = ["check_files", "diagram_flags", "show_diagram", "write_file"]

F = TypeVar("F", bound=Callable[..., Any])

FILE = click.Path(dir_okay=False, allow_dash=True)


def diagram_flags(function: F) -> F:
    """Give a command the options for its picture and its files."""
    for name, words in (
        ("json", "Write the timeline as JSON (docs/lab.md has the schema)."),
        ("mermaid", "Write the picture as a Mermaid sequence diagram."),
    ):
        click.option(f"--{name}", f"{name}_file", type=FILE, metavar="FILE", help=words)(function)
    click.option(
        "--width", type=click.IntRange(60, 400), metavar="COLUMNS",
        help="Columns of the picture. Default: the terminal's.",
    )(function)  # fmt: skip
    click.option(
        "--all", "everything", is_flag=True,
        help="Draw ARP, neighbour discovery, getsockopt() and similar calls too.",
    )(function)  # fmt: skip
    click.option("--no-fold", is_flag=True, help="Draw long runs of similar segments in full.")(
        function
    )
    return function


def show_diagram(timeline: Timeline, options: dict[str, Any]) -> None:
    """Write the files that the options name; draw on stdout unless one of them goes there.

    Raises OutputError when a file cannot be written.
    """
    to_stdout = False
    for name, make in (
        ("json_file", lambda: json.dumps(to_document(timeline), ensure_ascii=False) + "\n"),
        ("mermaid_file", lambda: to_mermaid(timeline, everything=options["everything"])),
        ("pcapng_file", options.get("pcapng")),
    ):
        file = options.get(name)
        if file is not None and make is not None:
            to_stdout |= file == "-"
            content = make()
            write_file(file, content.encode() if isinstance(content, str) else content)
    if not to_stdout:
        encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower()
        write_stdout(
            draw(
                timeline,
                width=options["width"] or _columns(),
                colour=wants_colour(sys.stdout),
                ascii_only=not encoding.startswith("utf"),
                everything=options["everything"],
                fold=not options["no_fold"],
            )
        )


def check_files(options: dict[str, Any]) -> None:
    """Check that the files can be written, before the programs run. Raises OutputError."""
    for name in ("json_file", "mermaid_file", "pcapng_file"):
        file = options.get(name)
        if file in (None, "-"):
            continue
        path = Path(file)
        folder = path.parent
        number = 0
        if not folder.is_dir():
            number = errno.ENOTDIR if folder.exists() else errno.ENOENT
        elif not os.access(path if path.exists() else folder, os.W_OK):
            number = errno.EACCES
        if number:
            raise _unwritable(file, number)


def _unwritable(name: str, number: int) -> OutputError:
    return OutputError(
        f"cannot write {name}",
        os.strerror(number).lower(),
        "Give another file, or - for standard output.",
    )


def _columns() -> int:
    if is_terminal(sys.stdout) or "COLUMNS" in os.environ:
        return max(60, shutil.get_terminal_size().columns)
    return 80


def write_file(name: str, data: bytes) -> None:
    """Write a file, or stdout for ``-``. Raises OutputError."""
    if name == "-":
        write_stdout(data)
        return
    try:
        Path(name).write_bytes(data)
    except OSError as error:
        raise _unwritable(name, error.errno or 0) from error
