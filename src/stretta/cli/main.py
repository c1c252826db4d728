"""``stretta``: the tree of commands, and the place where errors become messages and statuses."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import NoReturn

import click

from stretta import __version__
from stretta.address import PortError
from stretta.cli.command import Group, more_help
from stretta.cli.ui.console import print_error, print_traceback
from stretta.cli.ui.gate import finish_output, is_terminal, write_stderr
from stretta.cli.ui.settings import SETTINGS
from stretta.errors import StrettaError

__all__ = ["ROOT", "main"]


def protocol(name: str, words: str, client: str, server: str, **more: str) -> Group:
    """Return the group ``stretta NAME`` with its two roles, and ``more`` commands and words."""
    commands = {"client": client, "server": server, **more}
    return Group(name, words, {role: (f"{name}.{role}", does) for role, does in commands.items()})


class Root(Group):
    """``stretta`` itself; its groups are made here, its commands imported."""

    groups: Mapping[str, Group] = {
        "tcp": protocol(
            "tcp",
            "A stream of bytes in each direction, in order and complete.",
            "Send a message, print the reply.",
            "Answer every connection through a service.",
        ),
        "udp": protocol(
            "udp",
            "Datagrams: each may be lost, duplicated or reordered.",
            "Send a datagram, wait for the reply, send again if it is lost.",
            "Answer each datagram through a service.",
        ),
        "http": protocol(
            "http",
            "Requests and responses over TCP.",
            "Fetch URLs and show the exchanges.",
            "Serve this folder.",
            password="Print a line for the server's --auth-file.",  # noqa: S106 - words
        ),
        "lab": Group(
            "lab",
            "Two hosts on a private wire: every call and every segment on one timeline.",
            {
                "run": ("lab.run", "Run two programs, or a scenario, and draw the timeline."),
                "list": ("lab.list", "List the scenarios."),
                "draw": ("lab.draw", "Draw a recorded timeline."),
            },
        ),
    }

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the group or command of this name."""
        return self.groups.get(cmd_name) or super().get_command(ctx, cmd_name)


def _set_debug(_ctx: click.Context, _option: click.Parameter, wanted: object) -> None:
    SETTINGS.debug |= bool(wanted)


def _print_version(ctx: click.Context, _option: click.Parameter, wanted: object) -> None:
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
        "http": ("", "Web: client, and server for this folder."),
        "demo": ("demo", "Start the three servers and talk to each, on a real text."),
        "lab": ("", "Show calls and segments of any two programs: run, list, draw."),
        "trace": ("lab.trace", "Show calls and segments of a program on this machine."),
    },
)
click.option(
    "--debug",
    is_flag=True,
    expose_value=False,
    callback=_set_debug,
    help="Print the traceback of an error.",
)(ROOT)
click.option(
    "-V",
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version and exit.",
)(ROOT)


def main() -> NoReturn:
    """Run the command line and exit with its status; no traceback unless ``--debug`` is given."""
    _mend_closed_descriptors()
    try:
        status = ROOT.main(prog_name="stretta", standalone_mode=False)
    except (KeyboardInterrupt, click.Abort, EOFError):
        status = 130
        if is_terminal(sys.stderr):
            _print_lines("")
    except click.exceptions.NoArgsIsHelpError as error:
        status = error.exit_code
        _print_lines(error.format_message())
    except click.ClickException as error:
        status = error.exit_code
        ctx = getattr(error, "ctx", None)
        print_error(error.format_message(), *([ctx.get_usage(), more_help(ctx)] if ctx else []))
    except PortError as error:
        print_traceback(error)
        status = error.status
        _print_lines(f"ERROR: {error.what}", *filter(None, [error.hint]), *_notes(error))
    except StrettaError as error:
        status = error.status
        print_error(error, *_notes(error))
    except BrokenPipeError:  # the reader of stdout has closed it, as in: | head -c 1
        status = 1
    except OSError as error:
        status = 1
        print_traceback(error)
        print_error(f"operating system error: {error}. To see where, add --debug")
    except Exception as error:  # noqa: BLE001 - a defect of Stretta's: no traceback, unless asked for
        status = 1
        print_traceback(error)
        print_error(f"internal error: {type(error).__name__}: {error}. To see where, add --debug")
    _leave(status if isinstance(status, int) else 0)


def _notes(error: BaseException) -> list[str]:
    return getattr(error, "__notes__", [])


def _print_lines(*lines: str) -> None:
    with suppress(OSError):  # stderr is closed
        write_stderr("".join(f"{line}\n" for line in lines))


def _mend_closed_descriptors() -> None:
    """Open descriptors 0 to 2 where the caller closed them: a socket would get their numbers.

    They are opened for reading: writing to a closed stdout stays an error.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115 - open as long as the process runs
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115


def _leave(status: int) -> NoReturn:
    """Flush and exit, without finalizing the interpreter, which takes 5 ms."""
    finish_output()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # a full disk, or a reader that has closed the pipe
            status = status or 1
    os._exit(status)
