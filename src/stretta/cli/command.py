"""Commands and groups of commands: their usage errors, their help, their lazy import."""

from __future__ import annotations

import gc
import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click

from stretta.cli.ui.settings import SETTINGS
from stretta.errors import UsageError

__all__ = ["Command", "Group", "more_help"]

GROUPS = (
    "Common options", "Connection", "Request", "Programs", "Service", "Wire", "Files", "Access",
    "TLS", "Limits", "Output",
)  # fmt: skip
"""The parts of the help, in order."""

UNITS = {
    "SECONDS": "SECONDS may have a unit: 5, 50ms, 2m, 1h30m.",
    "BYTES": "BYTES may have a unit: 64k and 10MB count in powers of 1000, 64Ki and 1GiB of 1024.",
}


class HelpFormatter(click.HelpFormatter):
    """A formatter as wide as the terminal, within the bounds of the help."""

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__(width=columns())


class Context(click.Context):
    """A context whose usage lines are as wide as the terminal."""

    formatter_class = HelpFormatter


def columns() -> int:
    """Return the width of the help: the terminal's, from 40 to 120."""
    import shutil  # noqa: PLC0415 - only the help needs it

    from stretta.cli.help_page import NARROWEST, WIDEST  # noqa: PLC0415

    return min(max(shutil.get_terminal_size().columns, NARROWEST), WIDEST)


class Command(click.Command):
    """A command whose usage errors carry its usage line, and whose help is grouped."""

    context_class = Context

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the options; add the usage to an error in them."""
        words = ctx.meta["words"] = list(args)
        with _usage_noted(ctx):
            try:
                rest = super().parse_args(ctx, args)
            except click.UsageError as error:
                error.ctx = error.ctx or ctx
                self._apply_typed_settings(words)
                if isinstance(error, click.NoSuchOption):
                    raise self._no_such_option(ctx, error, words) from None
                raise
            except UsageError:
                self._apply_typed_settings(words)
                raise
        SETTINGS.color = ctx.params.get("color", SETTINGS.color)
        SETTINGS.debug |= bool(ctx.params.get("debug"))
        return rest

    def _apply_typed_settings(self, words: list[str]) -> None:
        """Obey ``--color`` and ``--debug`` although another option is wrong."""
        from stretta.cli.typed import split_words  # noqa: PLC0415 - only a mistake needs it

        for option, own in split_words(self.params, words):
            if option is not None and option.name == "color":
                SETTINGS.color = own[-1].removeprefix("--color=")
            SETTINGS.debug |= option is not None and option.name == "debug"

    def _no_such_option(
        self, ctx: click.Context, error: click.NoSuchOption, words: list[str]
    ) -> click.UsageError:
        from stretta.cli.typed import closest_option, split_words  # noqa: PLC0415

        name = error.option_name
        known = [
            one for param in self.get_params(ctx) for one in (*param.opts, *param.secondary_opts)
        ]
        meant = closest_option(name, known)
        for option, own in split_words(self.params, words):
            whole = own[0].partition("=")[0]
            if option is None and f"-{whole}" in known:  # one dash where two belong
                name, meant = whole, f"-{whole}"
        hint = f" Did you mean {meant}?" if meant else ""
        return click.UsageError(f"there is no option {name}.{hint}", ctx)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; add the usage to an error in what the options ask for."""
        gc.enable()
        with _usage_noted(ctx):
            return super().invoke(ctx)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the whole help."""
        from stretta.cli.help_page import description, section  # noqa: PLC0415

        parts = [_usage(self, ctx), description(self.help or "", formatter.width)]
        sections: dict[str, list[tuple[str, str]]] = {group: [] for group in GROUPS}
        for param in self.get_params(ctx):
            if isinstance(param, click.Option):
                group = getattr(param, "group", "Common options")
                common = getattr(getattr(param, "declared", None), "metadata", {}).get("common")
                sections["Common options" if common else group].append(_row(param))
        parts += [section(title, rows, formatter.width) for title, rows in sections.items() if rows]
        text = "\n\n".join(parts)
        notes = [note for unit, note in UNITS.items() if f" {unit}" in text]
        if notes:
            text += "\n\n" + description("\n\n".join(notes), formatter.width)
        formatter.write(text + "\n")


class Group(click.Group):
    """Commands that are imported only when they are called."""

    context_class = Context

    def __init__(self, name: str, words: str, commands: Mapping[str, tuple[str, str]]) -> None:
        super().__init__(name, help=words, context_settings={"help_option_names": ["-h", "--help"]})
        self._commands = commands

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, in the order of their declaration."""
        return list(self._commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command of this name."""
        if cmd_name not in self._commands:
            return None
        module, _ = self._commands[cmd_name]
        command = importlib.import_module(f"stretta.cli.{module}").command
        assert isinstance(command, click.Command)  # noqa: S101 - for the type checker
        return command

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the whole help, without importing the commands."""
        from stretta.cli.help_page import description, section  # noqa: PLC0415

        rows = [(name, f"{words}") for name, (_, words) in self._commands.items()]
        options = [_row(one) for one in self.get_params(ctx) if isinstance(one, click.Option)]
        parts = [
            _usage(self, ctx),
            description(self.help or "", formatter.width),
            section("Commands", rows, formatter.width),
            section("Options", options, formatter.width),
        ]
        formatter.write("\n\n".join(parts) + "\n")

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that was typed, or name the one that was probably meant."""
        if args and args[0] not in self._commands and not args[0].startswith("-"):
            import difflib  # noqa: PLC0415 - only a mistake needs it

            close = difflib.get_close_matches(args[0], self._commands, n=1, cutoff=0.6)
            hint = (
                f"Did you mean {close[0]}?" if close else f"Commands: {', '.join(self._commands)}."
            )
            raise click.UsageError(f"there is no command {args[0]!r}. {hint}", ctx)
        return super().resolve_command(ctx, args)


def more_help(ctx: click.Context) -> str:
    """Return the line that says where the help is."""
    return f"Try '{ctx.command_path} -h' for help."


@contextmanager
def _usage_noted(ctx: click.Context) -> Iterator[None]:
    try:
        yield
    except UsageError as error:
        if error.shows_usage:
            error.add_note(ctx.get_usage())
            error.add_note(more_help(ctx))
        raise


def _usage(command: click.Command, ctx: click.Context) -> str:
    formatter = ctx.make_formatter()
    command.format_usage(ctx, formatter)
    return formatter.getvalue().rstrip("\n")


def _row(option: click.Option) -> tuple[str, str]:
    """Return an option's flags and its explanation, for the help."""
    names = ", ".join(sorted(option.opts, key=len))
    if option.secondary_opts:
        names += " / " + ", ".join(option.secondary_opts)
    if option.metavar:
        names += f" {option.metavar}"
    words = option.help or ""
    words = words[:1].upper() + words[1:].removesuffix(".") + "."
    declared = getattr(option, "declared", None)
    if declared is not None and (default := default_text(declared)):
        words += f" [default: {default}]"
    return names, words


def default_text(declared: Any) -> str:
    """Return the default of an option as a person would type it; empty where there is none."""
    from stretta.options.units import size_text, time_text  # noqa: PLC0415 - only the help needs it

    default, unit = declared.default, declared.metadata["unit"]
    if default is None or default is False or declared.metadata["counts"]:
        return ""
    if default is True:
        return "on"
    if isinstance(default, tuple):
        return ", ".join(default)
    if unit == "seconds":
        return time_text(default)
    if unit == "bytes":
        return size_text(default)
    return f"{size_text(default)}/s" if unit == "bytes per second" else str(default)
