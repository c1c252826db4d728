"""``stretta``: the tree of commands, and the one place where errors become words and statuses."""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NoReturn

import click

from stretta import __version__
from stretta.address import PortError
from stretta.cli.ui.terminal import paint
from stretta.errors import StrettaError, UsageError
from stretta.escape import escape

__all__ = ["Command", "main"]


class Command(click.Command):
    """A command whose usage errors carry its usage line."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the options, noting the usage on what is wrong with them."""
        with _usage_noted(ctx):
            try:
                return super().parse_args(ctx, args)
            except click.UsageError as error:
                error.ctx = error.ctx or ctx
                raise

    def invoke(self, ctx: click.Context) -> object:
        """Run the command, noting its usage on what it finds wrong with the options."""
        gc.enable()
        with _usage_noted(ctx):
            return super().invoke(ctx)


@contextmanager
def _usage_noted(ctx: click.Context) -> Iterator[None]:
    try:
        yield
    except UsageError as error:
        if error.shows_usage:
            error.add_note(ctx.get_usage())
            error.add_note(_more_help(ctx))
        raise


class Group(click.Group):
    """Commands that are imported only when they are called."""

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

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, words) for name, (_, words) in self._commands.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that was meant, or say which one may have been."""
        if args and args[0] not in self._commands and not args[0].startswith("-"):
            import difflib  # noqa: PLC0415 - only a mistake needs it

            close = difflib.get_close_matches(args[0], self._commands, n=1, cutoff=0.6)
            hint = (
                f"Did you mean {close[0]}?" if close else f"There are: {', '.join(self._commands)}."
            )
            raise click.UsageError(f"{ctx.command_path} has no command {args[0]!r}. {hint}", ctx)
        return super().resolve_command(ctx, args)


def protocol(name: str, words: str, client: str, server: str, **more: str) -> Group:
    """Return the group ``stretta NAME`` with its two roles, and ``more`` commands and words."""
    commands = {"client": client, "server": server, **more}
    return Group(name, words, {role: (f"{name}.{role}", does) for role, does in commands.items()})


class Root(Group):
    """``stretta`` itself; its groups are made here, its commands imported."""

    groups: Mapping[str, Group] = {
        "tcp": protocol(
            "tcp",
            "A stream of bytes each way, in order and complete.",
            "Send a message, print the reply.",
            "Answer every connection through a service.",
        ),
        "udp": protocol(
            "udp",
            "Datagrams: each may be lost, doubled or overtaken.",
            "Send a datagram, wait, repeat it when it is lost.",
            "Answer each datagram with one.",
        ),
        "http": protocol(
            "http",
            "Requests and responses over TCP.",
            "Fetch a URL and show the exchange.",
            "Serve this folder.",
            password="Make a line for the server's --auth-file.",  # noqa: S106 - words
        ),
        "lab": Group(
            "lab",
            "Two hosts and a wire of our own: every call and every segment on one timeline.",
            {
                "run": ("lab.run", "Run two programs, or a scenario, and draw what happened."),
                "list": ("lab.list", "Name the scenarios."),
                "draw": ("lab.draw", "Draw a recorded timeline again."),
            },
        ),
    }

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the group or command of this name."""
        return self.groups.get(cmd_name) or super().get_command(ctx, cmd_name)


def _tell_version(ctx: click.Context, _option: click.Parameter, wanted: object) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib.util import find_spec  # noqa: PLC0415 - only this answer needs it

        from stretta.native import uses_compiled  # noqa: PLC0415

        used = find_spec("stretta.net.server._poller") and uses_compiled()
        click.echo(f"stretta {__version__} ({'' if used else 'no '}compiled transport)")
        ctx.exit()


ROOT = Root(
    "stretta",
    "Network conversations over TCP, UDP and HTTP: both ends, one command.",
    {
        "tcp": ("", "A stream of bytes: client and server."),
        "udp": ("", "Datagrams: client and server."),
        "http": ("", "Web: client, and server of this folder."),
        "demo": ("demo", "Start the three servers and talk to each, on a real text."),
        "lab": ("", "See calls and segments of any two programs: run, list, draw."),
        "trace": ("lab.trace", "See the calls and segments of a program on this machine."),
    },
)
click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")(
    ROOT
)
click.option(
    "-V",
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_tell_version,
    help="Show the version and exit.",
)(ROOT)


def main() -> NoReturn:
    """Run the command line and exit with its status; no traceback unless ``--debug`` is given."""
    _mend_closed_descriptors()
    try:
        status = ROOT.main(prog_name="stretta", standalone_mode=False)
    except (KeyboardInterrupt, click.Abort, EOFError):
        status = 130
        if sys.stderr.isatty():
            _say("")
    except click.exceptions.NoArgsIsHelpError as error:
        status = error.exit_code
        _say(error.format_message())
    except click.ClickException as error:
        status = error.exit_code
        ctx = getattr(error, "ctx", None)
        _say(_headline(error.format_message()))
        if ctx is not None:
            _say(ctx.get_usage(), _more_help(ctx))
    except PortError as error:
        _reraise_for_debug()
        status = error.status
        _say(f"ERROR: {error.what}", *filter(None, [error.hint]), *error.__notes__)
    except StrettaError as error:
        _reraise_for_debug()
        status = error.status
        _say(_headline(str(error)), *getattr(error, "__notes__", []))
    except BrokenPipeError:  # the reader of our output has gone, as in: | head -c 1
        status = 1
    except OSError as error:
        _reraise_for_debug()
        status = 1
        _say(_headline(f"the system said no: {error}. To see more, add --debug"))
    except Exception as error:  # noqa: BLE001 - a mistake of ours: even then no traceback, unasked
        _reraise_for_debug()
        status = 1
        kind = type(error).__name__
        _say(_headline(f"this is a mistake in Stretta: {kind}: {error}. To see where, add --debug"))
    _leave(status if isinstance(status, int) else 0)


def _headline(message: str) -> str:
    return f"{paint('stretta:', 'red', sys.stderr)} {escape(message)}"


def _more_help(ctx: click.Context) -> str:
    return f"Try '{ctx.command_path} -h' for help."


def _say(*lines: str) -> None:
    try:
        for line in lines:
            print(line, file=sys.stderr)  # noqa: T201 - this is the command's voice
    except OSError:  # nobody listens
        pass


def _reraise_for_debug() -> None:
    if "--debug" in sys.argv:
        raise  # noqa: PLE0704 - the exception that is being handled


def _mend_closed_descriptors() -> None:
    """Occupy descriptors 0 to 2 where the caller closed them: else a socket would get one.

    Opened for reading: writing to a closed stdout stays an error, and reading finds nothing.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115 - lives as long as the process
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115


def _leave(status: int) -> NoReturn:
    """Flush and exit, without taking the interpreter apart, which takes 5 ms."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # a full disk, or a reader that has gone
            status = status or 1
    os._exit(status)
