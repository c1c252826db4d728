"""The lab seen from outside: starts it, listens to it, and ends it, whatever happens."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from stretta.errors import StrettaError, TimedOut, UsageError
from stretta.lab.executable import obstacle
from stretta.lab.network import find_ip, shown_files
from stretta.lab.strace import command_of
from stretta.options import LabOptions, WireOptions

__all__ = ["Capture", "LabUnavailable", "Output", "capture"]

HIGH = 200
"""Descriptors that strace needs are inherited by the programs too: put where none looks."""

WORDS = {"client": "the client", "server": "the server"}


class LabUnavailable(StrettaError):
    """This machine does not let its users make a lab."""


@dataclass(frozen=True, slots=True)
class Output:
    """Bytes that a program printed: on which host, when (nanoseconds since 1970)."""

    host: str
    at: int
    data: bytes


@dataclass(slots=True)
class Capture:
    """Everything that a lab saw, raw: times are nanoseconds since 1970.

    ``wire`` is the wire's log (stretta.lab.wire), ``traces`` strace's output for each host;
    ``ended`` maps a host to when and with which status its program ended; ``lost`` counts frames
    that the lab itself could not carry.
    """

    seed: int
    start: int = 0
    wire: bytes = b""
    traces: dict[str, str] = field(default_factory=dict)
    commands: dict[str, str] = field(default_factory=dict)
    output: list[Output] = field(default_factory=list)
    launched: dict[str, int] = field(default_factory=dict)
    ended: dict[str, tuple[int, int]] = field(default_factory=dict)
    lost: int = 0
    interrupted: int = 0  # by which signal


def capture(
    server: str | list[str] | None,
    client: str | list[str] | None,
    *,
    wire: WireOptions | None = None,
    lab: LabOptions | None = None,
    seed: int = 0,
    calls: bool = True,
    show: Callable[[Output], object] = lambda _: None,
) -> Capture:
    """Run two programs on the two hosts of a lab, and return all that was seen.

    A program is a shell's command line, a list of arguments, or None for none; the client ``-`` is
    a shell for a person. ``show`` gets what they print, as they print it. Raises LabUnavailable,
    TimedOut when the server does not listen in time, StrettaError when a program cannot start.
    """
    lab = lab or LabOptions()
    seen = Capture(seed)
    with contextlib.ExitStack() as stack:
        programs: dict[str, dict[str, Any]] = {}
        traces: dict[str, IO[bytes]] = {}
        descriptors: list[int] = []
        for host, given in (("server", server), ("client", client)):
            if given is None:
                continue
            argv, seen.commands[host] = _argv(given)
            passed = []
            if calls:
                traces[host] = stack.enter_context(tempfile.TemporaryFile())
                number = fcntl.fcntl(traces[host].fileno(), fcntl.F_DUPFD, HIGH)
                stack.callback(os.close, number)
                passed.append(number)
                argv = command_of(argv, f"/proc/self/fd/{number}")
            programs[host] = {
                "command": argv,
                "descriptors": passed,
                "recorded": given != "-",
                "stdin": host == "client",
                # libuv (Node.js, uvloop) would hide its calls in rings that strace cannot see
                "environment": {
                    "STRETTA_LAB": host,
                    **({"UV_USE_IO_URING": "0"} if calls else {}),
                    # what they print is shown line by line, not on a terminal of their own
                    **({"NO_COLOR": "1", "TERM": "dumb"} if given != "-" else {}),
                },
            }
            descriptors += passed
        log = stack.enter_context(tempfile.TemporaryFile())
        descriptors.append(log.fileno())
        plan = {
            "programs": programs,
            "wire": {name: getattr(wire or WireOptions(), name) for name in WireOptions.__slots__},
            "seed": seed,
            "log": log.fileno(),
            "wait": lab.ready_timeout,
            "until": lab.until if lab.until in WORDS else "client" if client else "server",
            "limit": _limit(lab),
            "settle": lab.settle,
            "linger": max(5.0, lab.settle),
        }
        with _inside(descriptors) as (control, mapped):
            if calls and not mapped:
                raise LabUnavailable(
                    "cannot see calls as a root without capabilities",
                    "the kernel lets no such root into a user namespace under its own number"
                    " (user_namespaces(7): CAP_SETFCAP), and strace needs that",
                    "Run it as an ordinary user, or see the segments alone: --no-calls",
                )
            made = contextlib.ExitStack()
            with made:
                plan["files"] = {} if mapped else _files(made)
                _converse(control, plan, seen, show, made.close)
        log.seek(0)
        seen.wire = log.read()
        for host, trace in traces.items():
            trace.seek(0)
            seen.traces[host] = trace.read().decode("latin-1")
    return seen


def _files(made: contextlib.ExitStack) -> dict[str, str]:
    """Make the files that the hosts are to see, where a user without a map cannot, for a moment."""
    folder = Path(made.enter_context(tempfile.TemporaryDirectory()))
    files = {}
    for number, (target, text) in enumerate(shown_files().items()):
        source = folder / str(number)
        source.write_text(text, encoding="ascii")
        files[target] = str(source)
    return files


def _limit(lab: LabOptions) -> float | None:
    if lab.until in WORDS:
        return None
    from stretta.lab.fault_syntax import parse_time  # noqa: PLC0415 - seldom needed

    return parse_time("until", lab.until) / 1e9


def _argv(given: str | list[str]) -> tuple[list[str], str]:
    """Return a program's arguments, and the words for it."""
    if given == "-":
        shell = os.environ.get("SHELL", "/bin/sh")
        return [shell, "-i"], shell
    if isinstance(given, str):
        # without a shell where none is needed: it would be one process more in the picture
        if not set(given) & set("|&;<>()$`*?[#~={}!\n"):
            try:
                words = shlex.split(given)
                if words and shutil.which(words[0]):
                    return words, given
            except ValueError as error:
                raise UsageError(f"cannot run {given!r}", str(error).lower()) from None
        return ["/bin/sh", "-c", given], given
    return given, " ".join(given)


@contextlib.contextmanager
def _inside(descriptors: list[int]) -> Iterator[tuple[socket.socket, bool]]:
    """Start the process inside; on leaving, it and everything in it has ended.

    Gives the socket to it, and whether its users are mapped to ours.
    """
    if not sys.platform.startswith("linux"):
        raise LabUnavailable(
            "cannot make a lab", "it needs Linux's namespaces", "Try it on Linux, or in a container"
        )
    if find_ip() is None:
        raise LabUnavailable(
            "cannot make a lab", "the command ip is missing", "To have it: apt install iproute2"
        )
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            try:
                process = subprocess.Popen(  # noqa: S603 - our own interpreter
                    # -P: the folder where we are may hold a socket.py
                    [sys.executable, "-P", "-m", "stretta.lab.init", str(theirs.fileno())],
                    pass_fds=[theirs.fileno(), *descriptors],
                )
            except OSError as error:
                why = obstacle(sys.executable) or (error.strerror or str(error)).lower()
                raise LabUnavailable(
                    "cannot make a lab",
                    f"its Python, {sys.executable}, cannot be started: {why}",
                    "Install stretta where this user may read and execute it, as with: python3 -m"
                    " venv ~/stretta",
                ) from error
        try:
            yield ours, _map_users(ours, process.pid)
        finally:
            ours.close()  # which is the sign to end
            process.wait()


def _map_users(control: socket.socket, pid: int) -> bool:
    """Give the new user namespace its users: root's keeps all, another's has itself alone.

    Returns False where neither is allowed: root without CAP_SETFCAP (user_namespaces(7)).
    """
    line = control.recv(65536)
    message = json.loads(line) if line else {"event": "failed", "stage": "unshare", "errno": 0}
    if message["event"] == "failed":
        raise _unavailable(message)
    process = Path(f"/proc/{pid}")
    everybody = "0 0 4294967295"
    try:
        (process / "uid_map").write_text(everybody)
        (process / "gid_map").write_text(everybody)
    except OSError:
        try:
            (process / "uid_map").write_text(f"{os.geteuid()} {os.geteuid()} 1")
            (process / "setgroups").write_text("deny")
            (process / "gid_map").write_text(f"{os.getegid()} {os.getegid()} 1")
        except PermissionError:
            return False
        except OSError as error:
            raise _unavailable({"errno": error.errno, "words": error.strerror}) from error
    return True


def _unavailable(message: dict[str, Any]) -> LabUnavailable:
    """Return the error for a lab that could not be made, with the remedy where there is one."""
    remedies = {
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns": (
            "1",
            "this system's AppArmor forbids user namespaces",
            "To allow them: sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        "/proc/sys/kernel/unprivileged_userns_clone": (
            "0",
            "this kernel forbids user namespaces to ordinary users",
            "To allow them: sudo sysctl -w kernel.unprivileged_userns_clone=1",
        ),
        "/proc/sys/user/max_user_namespaces": (
            "0",
            "no user namespace is allowed",
            "To allow them: sudo sysctl -w user.max_user_namespaces=10000",
        ),
    }
    stage = message.get("stage", "user map")
    words = message.get("words") or "the process inside ended"
    if stage in ("network", "wire"):
        return LabUnavailable(
            "cannot make a lab",
            f"the network between the hosts could not be made ({words})",
            "It needs veth interfaces and packet sockets; an administrator may have to: modprobe"
            " -a veth af_packet",
        )
    for path, (value, why, hint) in remedies.items():
        with contextlib.suppress(OSError):
            if Path(path).read_text(encoding="ascii").strip() == value:
                return LabUnavailable("cannot make a lab", why, hint)
    return LabUnavailable(
        "cannot make a lab",
        f"the kernel refused user, network, mount or PID namespaces ({stage}: {words})",
        "In a container, allow them: docker run --security-opt seccomp=unconfined"
        " --security-opt systempaths=unconfined --security-opt apparmor=unconfined",
    )


def _converse(
    control: socket.socket,
    plan: dict[str, Any],
    seen: Capture,
    show: Callable[[Output], object],
    started: Callable[[], object],
) -> None:
    """Give the plan to the process inside, and take down what it says until it is over."""
    control.sendall(json.dumps(plan).encode() + b"\n")
    interrupts = Interrupts(control)
    over = False
    with interrupts, control.makefile("rb") as lines:
        for line in lines:
            message = json.loads(line)
            kind = message.pop("event")
            if kind == "output":
                data = base64.b64decode(message["data"])
                seen.output.append(Output(message["host"], message["at"], data))
                show(seen.output[-1])
            elif kind == "started":
                seen.start = message["at"]
                started()
            elif kind == "launched":
                seen.launched[message["host"]] = message["at"]
            elif kind == "ended":
                seen.ended[message["host"]] = message["at"], message["status"]
            elif kind == "over":
                seen.lost = message["lost"]
                over = True
            elif interrupts.last and kind in ("silent", "server-gone"):
                continue  # as somebody wanted it
            else:
                raise _trouble(kind, message, seen)
    seen.interrupted = interrupts.last
    if not over and not interrupts.last:
        raise StrettaError(
            "the lab broke off",
            "the process that is the wire was ended from outside, or could not go on",
            "Was the machine out of memory (dmesg | tail)? Otherwise run it again; what it had"
            " seen by then is lost.",
        )


def _trouble(kind: str, message: dict[str, Any], seen: Capture) -> StrettaError:
    command = seen.commands.get("server", "")
    if kind == "silent":
        return TimedOut(
            f"the server did not listen within {message['waited']:g} s",
            f"no socket of {command!r} waits for anybody",
            "Wait longer with --ready-timeout SECONDS; 0 starts the client at once.",
        )
    if kind == "server-gone":
        status = seen.ended["server"][1]
        return StrettaError(
            "the server ended before it listened",
            f"{command!r} left with status {status}",
            "What it printed above may tell why.",
        )
    if message.get("stage") == "inside":
        return StrettaError(
            "the lab broke off",
            f"the process that is the wire failed: {message['words']}",
            "This is a mistake in Stretta: please report it, with the command that you ran.",
        )
    if message.get("stage") == "program":
        return StrettaError("a program could not start", message["words"])
    return _unavailable(message)


class Interrupts:
    """While in use, Ctrl-C and SIGTERM go to the client first, and end the lab the second time."""

    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.last = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(ValueError):  # not the main thread: somebody else decides
                self._before[number] = signal.signal(number, self._caught)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _caught(self, number: int, _: object) -> None:
        order: dict[str, Any] = {"order": "signal", "signal": number}
        if self.last:
            order = {"order": "end"}
        self.last = number
        with contextlib.suppress(OSError):
            self.control.sendall(json.dumps(order).encode() + b"\n")
