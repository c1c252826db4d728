"""From a command as a user gives it to a program's arguments and environment."""

from __future__ import annotations

import os
import shlex
import shutil

from stretta.errors import StrettaError, UsageError
from stretta.lab.executable import unexecutable_reason

__all__ = ["SHELL", "Command", "arguments_of", "check_executable", "environment_of"]

SHELL = "-"
"""The command that stands for an interactive shell."""

Command = str | list[str]
"""A program to run: a shell's command line, a list of arguments, or ``-`` for a shell."""

NEEDS_SHELL = frozenset("|&;<>()$`*?[#~={}!\n")
"""Characters that mean something to a shell."""


def arguments_of(command: Command) -> tuple[tuple[str, ...], str]:
    """Return a program's arguments, and the text that shows them. Raises UsageError.

    A command line that needs no shell runs without one: it would be one more process to show.
    """
    if command == SHELL:
        shell = os.environ.get("SHELL", "/bin/sh")
        return (shell, "-i"), shell
    if not command or "\0" in "".join(command):
        raise UsageError(
            f"cannot run {command!r}",
            "it contains a null character" if command else "the command is empty",
            "Give a command: --client 'nc server 12000'",
        )
    if isinstance(command, list):
        return tuple(command), " ".join(command)
    if NEEDS_SHELL.isdisjoint(command):
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise UsageError(
                f"cannot run {command!r}", str(error).lower(), "Close each quotation mark."
            ) from None
        if words and shutil.which(words[0]):
            return tuple(words), command
    return ("/bin/sh", "-c", command), command


def check_executable(program: str) -> None:
    """Check that a program can be executed, which strace would report in its own words.

    Raises StrettaError.
    """
    if "/" in program:
        why = unexecutable_reason(program)
    else:
        why = "" if shutil.which(program) else "it is in no folder of PATH"
    if why:
        raise StrettaError(
            "a program could not start",
            f"{program}: {why}",
            "Check the command: its name, its path, its permissions.",
        )


def environment_of(host: str, *, calls: bool, shell: bool) -> tuple[tuple[str, str], ...]:
    """Return the variables that a program on a host gets in addition to the user's."""
    variables = {"STRETTA_LAB": host}
    if calls:
        variables["UV_USE_IO_URING"] = "0"  # libuv: strace cannot see calls made through io_uring
    if not shell:
        variables |= {"NO_COLOR": "1", "TERM": "dumb"}  # output is shown line by line
    return tuple(variables.items())
