"""Write docs/options.md: a row for every option, from the dataclasses that declare them."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import stretta.options

HEAD = """# Options

Every option is a flag of the command, an environment variable, and a keyword of the library's
dataclass (`from stretta.options import StreamLimits`). A flag wins over the variable. This page is
made from the code: `python docs/options.py`.

`STRETTA_PURE=1` is no option: with it the servers leave their compiled transport unused, as if it
had not been built. `stretta --version` says whether they have it.
"""


def page() -> str:
    """Return the page's text."""
    parts = [HEAD]
    for name in stretta.options.__all__:
        options = getattr(stretta.options, name)
        parts.append(f"\n## `{name}`\n\n{options.__doc__.splitlines()[0]}\n")
        parts.append("| flag | variable | default | what it is |\n|---|---|---|---|")
        parts += [row(field) for field in dataclasses.fields(options)]
    return "\n".join(parts) + "\n"


def row(field: dataclasses.Field[object]) -> str:
    """Return one option's row."""
    unit = ""
    if isinstance(field.default, bool):
        default = "on" if field.default else "off"
    elif isinstance(field.default, tuple):
        default = ", ".join(field.default)
    else:
        default = "" if field.default is None else f"{field.default}"
        if default and field.metadata["unit"] and not isinstance(field.default, str):
            unit = f" {field.metadata['unit']}"
    words = field.metadata["words"].replace("|", "\\|")
    flag = field.name.replace("_", "-")
    if field.default is True and field.metadata["kind"] is bool:
        flag = f"no-{flag}"
    several = isinstance(field.default, tuple)  # no variable holds a list
    variable = "" if several else f"`STRETTA_{field.name.upper()}`"
    return f"| `--{flag}` | {variable} | {default}{unit} | {words} |"


if __name__ == "__main__":
    target = Path(__file__).with_suffix(".md")
    if sys.argv[1:] == ["--check"]:
        sys.exit(target.read_text() != page() and f"{target.name} is out of date: run {__file__}")
    target.write_text(page())
