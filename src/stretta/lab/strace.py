"""How strace is asked to watch a program."""

from __future__ import annotations

import shutil

from stretta.errors import StrettaError

__all__ = ["StraceMissing", "command_of"]

CALLS = (
    "%network,read,write,readv,writev,sendfile,splice,close,close_range,dup,dup2,dup3,fcntl,ioctl,"
    "poll,ppoll,select,pselect6,epoll_wait,epoll_pwait,epoll_pwait2,epoll_ctl,"
    "clone,clone3,fork,vfork,execve,exit_group,io_uring_setup"
)
"""What moves bytes, waits for them, or passes descriptors on."""

SHOWN = 256
"""Bytes of each call's data that are written down."""


class StraceMissing(StrettaError):
    """Calls were asked for, and the program that sees them is not there."""


def command_of(argv: list[str], output: str) -> list[str]:
    """Return the command that runs ``argv`` and writes its calls to ``output``.

    Raises StraceMissing.
    """
    strace = shutil.which("strace")
    if strace is None:
        raise StraceMissing(
            "cannot see the programs' calls",
            "the command strace is missing",
            "To have it: apt install strace. Without calls, the segments alone: --no-calls",
        )
    names = ",".join(name if name[0] == "%" else f"?{name}" for name in CALLS.split(","))
    return [
        strace, "-f", "--seccomp-bpf", "-yy", "-q", "-s", str(SHOWN), "-o", output,
        "--absolute-timestamps=format:unix,precision:ns", "--syscall-times=ns",
        "-e", f"trace={names}", "--", *argv,
    ]  # fmt: skip
