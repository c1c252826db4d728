"""Write docs/options.md: every option of every command, from the classes that declare them."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import click

from stretta.cli.command import default_text
from stretta.cli.flags import Flag
from stretta.cli.main import ROOT
from stretta.options.declare import flag_of, variable_of
from stretta.options.units import SIZE_FORMS, TIME_FORMS

HEAD = f"""# Options

Every option is declared once, as a field of a class in `stretta.options`: it is a flag of the
command, an environment variable, and a keyword of the class (`from stretta.options import
StreamLimits`). A flag wins over the variable. The bounds hold in all three: a value outside them
raises `UsageError`. An option without a variable is about one call only, or may be repeated.

- A time is {TIME_FORMS}.
- A size is {SIZE_FORMS}.

Every command has `-h`/`--help` too. `stretta` itself has `-V`/`--version`, `--debug` and
`-h`/`--help`. `stretta http server` takes its port also as an argument, which wins over `PORT`.

This page is made from the code: `python docs/options.py`.

`STRETTA_PURE=1` is not an option: with it the servers do not use their compiled transport, as if it
had not been built. `stretta --version` says whether they have it.
"""


def commands(group: click.Group, path: str = "") -> dict[str, list[Flag]]:
    """Return the flags of every command, by the command's name."""
    found: dict[str, list[Flag]] = {}
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        if isinstance(command, click.Group):
            found |= commands(command, f"{path}{name} ")
        elif command is not None:
            found[path + name] = [one for one in command.params if isinstance(one, Flag)]
    return found


def page() -> str:
    """Return the page's text."""
    used = commands(ROOT)
    parts = [HEAD]
    classes = sorted({one.options for flags in used.values() for one in flags}, key=_name)
    for options in classes:
        parts.append(f"\n## `{options.__name__}`\n\n{options.__doc__.splitlines()[0]}\n")
        where = [name for name, flags in used.items() if any(f.options is options for f in flags)]
        parts.append(f"Commands: {', '.join(f'`stretta {name}`' for name in where)}.\n")
        parts.append("| flag | field | variable | default | accepted | what it is |")
        parts.append("|---|---|---|---|---|---|")
        parts += [row(field) for field in dataclasses.fields(options)]
    return "\n".join(parts) + "\n"


def row(field: dataclasses.Field[Any]) -> str:
    """Return one option's row."""
    facts = field.metadata
    flag = flag_of(field)
    flags = [f"`-{facts['short']}`"] if facts["short"] and flag.startswith("--") else []
    flags.append(f"`{flag}`")
    if facts["kind"] is bool and (field.default is True or facts["negatable"]):
        flags.append(f"`--no-{flag[2:]}`")
    variable = variable_of(field)
    default = "off" if field.default is False else default_text(field)
    cells = [
        ", ".join(flags), f"`{field.name}`", f"`{variable}`" if variable else "", default,
        accepted(facts), facts["words"],
    ]  # fmt: skip
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def accepted(facts: Any) -> str:
    """Return the bounds of an option's value."""
    if facts["kind"] in (int, float):
        least = "more than 0" if facts["least"] is None else f"{facts['least']:,}"
        unit = f" {facts['unit']}" if facts["unit"] in ("seconds", "bytes") else ""
        most = "" if facts["most"] >= 2**31 - 1 else f" to {facts['most']:,}"
        also = "".join(f", or {choice}" for choice in facts["choices"])
        return f"{least}{most or ' or more'}{unit}{also}"
    return ", ".join(facts["choices"])


def _name(options: type) -> str:
    return options.__name__


if __name__ == "__main__":
    target = Path(__file__).with_suffix(".md")
    if sys.argv[1:] == ["--check"]:
        sys.exit(target.read_text() != page() and f"{target.name} is out of date: run {__file__}")
    target.write_text(page())
