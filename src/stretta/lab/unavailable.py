"""Why a lab cannot be made, or broke off: the errors that a user sees, with their remedies."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from stretta.errors import StrettaError
from stretta.lab.messages import Failed, Stage

__all__ = ["LabUnavailable", "broken_off", "failure_error", "os_error"]

REMEDIES = {
    "kernel/apparmor_restrict_unprivileged_userns": (
        "1",
        "this system's AppArmor forbids user namespaces",
        "To allow them: sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
    ),
    "kernel/unprivileged_userns_clone": (
        "0",
        "this kernel forbids user namespaces to ordinary users",
        "To allow them: sudo sysctl -w kernel.unprivileged_userns_clone=1",
    ),
    **{
        f"user/max_{kind}_namespaces": (
            "0",
            f"no {name} namespace is allowed",
            f"To allow them: sudo sysctl -w user.max_{kind}_namespaces=10000",
        )
        for kind, name in (
            ("user", "user"), ("net", "network"), ("mnt", "mount"), ("pid", "PID"), ("uts", "UTS"),
        )
    },
}  # fmt: skip
"""Settings below /proc/sys that forbid namespaces: the forbidding value, why, and what to do."""

EXHAUSTED = {
    errno.EAGAIN: "To see the limit on processes: ulimit -u. End some of them, and run it again.",
    errno.ENOMEM: "To see the memory that is left: free -m. Free some, and run it again.",
    errno.EMFILE: "To allow more open files: ulimit -n 1024",
    errno.ENFILE: "To see the system's limit on open files: sysctl fs.file-max",
    errno.ENOSPC: "To see the limits on namespaces: sysctl user",
}
"""What to do when the system has no more of something."""


class LabUnavailable(StrettaError):
    """This machine does not let this user make a lab."""


def os_error(
    why: str, error: OSError, hint: str = "", *, what: str = "cannot make a lab"
) -> LabUnavailable:
    """Return the error for a system call that failed while something was prepared."""
    reason = (error.strerror or str(error)).lower()
    return LabUnavailable(what, f"{why}: {reason}", EXHAUSTED.get(error.errno or 0, hint))


def broken_off(why: str, hint: str) -> StrettaError:
    """Return the error for a lab that ended before its programs did."""
    return StrettaError("the lab broke off", why, hint)


def failure_error(failed: Failed) -> StrettaError:
    """Return the error for a step that failed inside."""
    stage = failed.stage
    if stage is Stage.INTERNAL:
        return broken_off(
            f"the process that forwards frames failed: {failed.text}",
            "This is a mistake in Stretta: please report it, with the command that you ran.",
        )
    if stage is Stage.PROGRAM:
        return StrettaError(
            "a program could not start",
            failed.text,
            EXHAUSTED.get(failed.errno, "Check the command: its name, its path, its permissions."),
        )
    for path, (value, why, hint) in REMEDIES.items():
        with contextlib.suppress(OSError):
            if Path("/proc/sys", path).read_text(encoding="ascii").strip() == value:
                return LabUnavailable("cannot make a lab", why, hint)
    if failed.errno in EXHAUSTED:
        return os_error(
            f"the system's limits are reached ({stage})",
            OSError(failed.errno, os.strerror(failed.errno)),
        )
    if stage in (Stage.NETWORK, Stage.WIRE):
        return LabUnavailable(
            "cannot make a lab",
            f"the network between the hosts could not be made ({failed.text})",
            "It needs veth interfaces and packet sockets; an administrator may have to: modprobe"
            " -a veth af_packet",
        )
    return LabUnavailable(
        "cannot make a lab",
        f"the kernel refused user, network, mount or PID namespaces ({stage}: {failed.text})",
        "In a container, allow them: docker run --security-opt seccomp=unconfined"
        " --security-opt systempaths=unconfined --security-opt apparmor=unconfined",
    )
