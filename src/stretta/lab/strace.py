"""The strace command that records a program's system calls."""

from __future__ import annotations

import shutil
from collections.abc import Iterable

from stretta.errors import StrettaError

__all__ = ["StraceMissing", "strace_command"]

CALLS = (
    "%network,read,write,readv,writev,sendfile,splice,close,close_range,dup,dup2,dup3,fcntl,ioctl,"
    "poll,ppoll,select,pselect6,epoll_wait,epoll_pwait,epoll_pwait2,epoll_ctl,"
    "clone,clone3,fork,vfork,execve,exit_group,io_uring_setup"
)
"""The calls that move bytes, wait for them, or pass descriptors on."""

SHOWN = 256
"""Bytes of each call's data that are recorded."""


class StraceMissing(StrettaError):
    """System calls cannot be recorded, because strace is not installed."""


def strace_command(argv: Iterable[str], output: str) -> tuple[str, ...]:
    """Return the command that runs ``argv`` and writes its calls to the file ``output``.

    Raises StraceMissing.
    """
    strace = shutil.which("strace")
    if strace is None:
        raise StraceMissing(
            "cannot record the programs' calls",
            "the command strace is missing",
            "To install it: apt install strace. To record segments only: --no-calls",
        )
    names = ",".join(name if name[0] == "%" else f"?{name}" for name in CALLS.split(","))
    return (
        strace, "-f", "--seccomp-bpf", "-yy", "-q", "-s", str(SHOWN), "-o", output,
        "--absolute-timestamps=format:unix,precision:ns", "--syscall-times=ns",
        "-e", f"trace={names}", "--", *argv,
    )  # fmt: skip
