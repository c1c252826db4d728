"""Output that the lab's commands share: the picture, and the files."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from stretta.cli.ui.console import write_stdout
from stretta.cli.ui.gate import keep_colours
from stretta.cli.ui.terminal import is_terminal, wants_colour
from stretta.errors import OutputError, UsageError
from stretta.options.lab import DiagramOptions, RecordOptions
from stretta.see.json_document import to_json
from stretta.see.render.mermaid import to_mermaid
from stretta.see.render.terminal import draw
from stretta.see.timeline import Timeline

__all__ = ["check_files", "show_diagram", "write_file"]


def show_diagram(
    timeline: Timeline,
    options: DiagramOptions,
    more: Mapping[str | None, Callable[[], bytes]] | None = None,
) -> None:
    """Write the files that the options name; draw on stdout unless one of them goes there.

    ``more`` maps further files to functions that return their content. Raises OutputError when a
    file cannot be written.
    """
    contents: dict[str | None, Callable[[], bytes]] = {
        options.json: lambda: to_json(timeline),
        options.mermaid: lambda: to_mermaid(timeline, everything=options.everything).encode(),
        **(more or {}),
    }
    contents.pop(None, None)
    for file, make in contents.items():
        write_file(str(file), make())
    if "-" not in contents:
        encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower()
        write_stdout(
            keep_colours(
                draw(
                    timeline,
                    width=options.width or _columns(),
                    colour=wants_colour(sys.stdout),
                    ascii_only=not encoding.startswith("utf"),
                    everything=options.everything,
                    fold=options.fold,
                )
            )
        )


def check_files(options: DiagramOptions, files: RecordOptions | None = None) -> None:
    """Check that the files can be written, before the programs run.

    Raises UsageError when two outputs have one name, OutputError when a file cannot be written.
    """
    names = [options.json, options.mermaid, files.pcapng if files else None]
    for number, name in enumerate(names):
        if name is not None and name in names[number + 1 :]:
            raise UsageError(f"two outputs go to {name}", hint="Give each a file of its own.")
        if name not in {None, "-"}:
            _check_file(str(name))


def _check_file(name: str) -> None:
    path = Path(name)
    folder = path.parent
    number = 0
    if not folder.is_dir():
        number = errno.ENOTDIR if folder.exists() else errno.ENOENT
    elif path.is_dir():
        number = errno.EISDIR
    elif not os.access(path if path.exists() else folder, os.W_OK):
        number = errno.EACCES
    if number:
        raise _unwritable(name, number)


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
