"""What a command prints, and in which form."""

from __future__ import annotations

from stretta.options.declare import Options, option

__all__ = ["ColourOptions", "ConsoleOptions"]


class ColourOptions(Options):
    """The colours and the errors of a command."""

    group = "Output"

    color: str = option(
        "auto", "when to use colour; auto obeys NO_COLOR and FORCE_COLOR",
        choices=("auto", "always", "never"),
    )  # fmt: skip
    debug: bool = option(default=False, words="print the traceback of an error")


class ConsoleOptions(ColourOptions):
    """The messages of a command."""

    quiet: bool = option(default=False, words="print data and errors only", short="q")
    json: bool = option(default=False, words="print one JSON object a line instead of text")
