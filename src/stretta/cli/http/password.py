"""``stretta http password``."""

from __future__ import annotations

import sys

import click

from stretta.cli.command import Command
from stretta.cli.ui.console import write_stdout
from stretta.cli.ui.terminal import is_terminal
from stretta.errors import UsageError
from stretta.http.server.auth import password_line

__all__ = ["command"]


@click.command(cls=Command, name="password")
@click.argument("user")
def command(user: str) -> None:
    """Print the line of USER for the file of --auth-file; prompts for the password.

    If standard input is not a terminal, its first line is the password.

    \b
    Example:
      stretta http password anna >> users && stretta http server --tls --auth-file users
    """
    if is_terminal(sys.stdin):
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        password = sys.stdin.readline().rstrip("\n")
    if not password:
        raise UsageError("the password is empty", hint="Type one, or give it in standard input.")
    write_stdout(password_line(user, password) + "\n")
