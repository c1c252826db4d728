"""The process outside a lab: starts the one inside, sends it the plan, collects its reports."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stretta.errors import StrettaError, TimedOut
from stretta.lab.commands import SHELL, Command, arguments_of, check_executable, environment_of
from stretta.lab.executable import unexecutable_reason
from stretta.lab.memory_file import memory_file, read_memory_file
from stretta.lab.messages import (
    EVENTS,
    Ended,
    EndedEarly,
    Failed,
    Finished,
    Launched,
    MessageError,
    NotListening,
    Plan,
    Printed,
    Program,
    Signal,
    Stage,
    Started,
    Stop,
    Unshared,
    from_line,
    to_line,
)
from stretta.lab.network import find_ip, shown_files
from stretta.lab.strace import strace_command
from stretta.lab.topology import LISTENING, TWO_HOSTS, Topology
from stretta.lab.unavailable import LabUnavailable, broken_off, failure_error, os_error
from stretta.options import LabOptions, WireOptions

__all__ = ["LabUnavailable", "RawCapture", "run_lab"]

MOST_OUTPUT = 4 * 1024 * 1024
"""Bytes of each program's output that are recorded; all of it is shown."""

LARGEST_LINE = 1024 * 1024
"""Bytes of a message from inside; the longest carries 64 KiB of output."""


@dataclass(slots=True)
class RawCapture:
    """Everything that a lab recorded, before it is parsed; times are nanoseconds since 1970.

    ``wire`` is the wire's log (stretta.lab.wire); ``traces`` holds strace's output for each host;
    ``output`` holds the first MOST_OUTPUT bytes of each host, ``printed`` how many there were;
    ``ended`` maps a host to the time and the status with which its program ended; ``lost`` counts
    frames that the lab itself lost; ``interrupted`` is the signal that ended it, or 0.
    """

    seed: int
    topology: Topology = TWO_HOSTS
    start: int = 0
    wire: bytes = b""
    traces: dict[str, str] = field(default_factory=dict)
    commands: dict[str, str] = field(default_factory=dict)
    output: list[Printed] = field(default_factory=list)
    printed: dict[str, int] = field(default_factory=dict)
    launched: dict[str, int] = field(default_factory=dict)
    ended: dict[str, tuple[int, int]] = field(default_factory=dict)
    lost: int = 0
    interrupted: int = 0


def run_lab(
    commands: Mapping[str, Command],
    topology: Topology = TWO_HOSTS,
    *,
    wire: WireOptions | None = None,
    lab: LabOptions | None = None,
    seed: int = 0,
    calls: bool = True,
    show: Callable[[Printed], object] = lambda _: None,
) -> RawCapture:
    """Run programs on the hosts of a lab, and return everything that was recorded.

    ``commands`` maps hosts of the topology to their programs; a host without one only takes part
    in the network. ``show`` gets the programs' output as it is printed. Raises LabUnavailable,
    UsageError for commands and options that make no sense, StraceMissing, TimedOut when a server
    does not listen in time, StrettaError when a program cannot start or the lab breaks off.
    """
    lab, wire = lab or LabOptions(), wire or WireOptions()
    seen = RawCapture(seed, topology)
    hosts = [host for host in topology.hosts if host.name in commands]
    # one program can read our standard input: the first that no other waits for
    reader = next((host.name for host in hosts if host.role not in LISTENING), None)
    with contextlib.ExitStack() as stack:
        programs: list[Program] = []
        traces: dict[str, int] = {}
        for host in hosts:
            command = commands[host.name]
            argv, seen.commands[host.name] = arguments_of(command)
            check_executable(argv[0])
            if calls:
                traces[host.name] = memory_file(stack, f"calls of {host.name}")
                argv = strace_command(argv, f"/proc/self/fd/{traces[host.name]}")
            programs.append(
                Program(
                    host=host.name,
                    argv=argv,
                    environment=environment_of(host.name, calls=calls, shell=command == SHELL),
                    descriptors=(traces[host.name],) if calls else (),
                    captured=command != SHELL,
                    stdin=host.name == reader,
                )
            )
        log = memory_file(stack, "the wire's log")
        until, limit = _end_of(topology, seen.commands, lab)
        with _running_init([*traces.values(), log]) as (control, mapped):
            if calls and not mapped:
                raise LabUnavailable(
                    "cannot record calls as a root without capabilities",
                    "the kernel lets no such root into a user namespace under its own number"
                    " (user_namespaces(7): CAP_SETFCAP), and strace needs that",
                    "Run it as an ordinary user, or record segments only: --no-calls",
                )
            with contextlib.ExitStack() as made:
                plan = Plan(
                    topology=topology,
                    programs=tuple(programs),
                    wire=wire,
                    seed=seed,
                    log=log,
                    ready_timeout=lab.ready_timeout,
                    until=until,
                    limit=limit,
                    settle=lab.settle,
                    linger=max(5.0, lab.settle),
                    files=() if mapped else _make_files(made, topology),
                )
                _follow_run(control, plan, seen, show, made.close)
        seen.wire = read_memory_file(log)
        for name, trace in traces.items():
            seen.traces[name] = read_memory_file(trace).decode("latin-1")
    return seen


def _end_of(
    topology: Topology, commands: Mapping[str, str], lab: LabOptions
) -> tuple[tuple[str, ...], float | None]:
    """Return the hosts whose programs end the lab, and after how many seconds it ends anyway."""
    names = [host for host in topology.hosts if host.name in commands]
    known = {host.name for host in topology.hosts} | {host.role.value for host in topology.hosts}
    limit = None
    if lab.until not in known:
        from stretta.lab.fault_syntax import parse_time  # noqa: PLC0415 - seldom needed

        limit = parse_time("until", lab.until) / 1e9
    chosen = [host.name for host in names if lab.until in (host.name, host.role.value)]
    chosen = chosen or [host.name for host in names if host.role not in LISTENING]
    return tuple(chosen or [host.name for host in names]), limit


def _make_files(made: contextlib.ExitStack, topology: Topology) -> tuple[tuple[str, str], ...]:
    """Make the hosts' files outside, where a user without a map cannot make them; see the Plan."""
    try:
        folder = Path(made.enter_context(tempfile.TemporaryDirectory()))
        files = []
        for number, (target, text) in enumerate(shown_files(topology.hosts).items()):
            source = folder / str(number)
            source.write_text(text, encoding="ascii")
            files.append((target, str(source)))
    except OSError as error:
        raise os_error(
            "no temporary file for the hosts' names",
            error,
            "Name a folder that can be written: TMPDIR=/path stretta lab run ...",
        ) from error
    return tuple(files)


@contextlib.contextmanager
def _running_init(descriptors: list[int]) -> Iterator[tuple[socket.socket, bool]]:
    """Start the process inside; on leaving, it and every process of the lab has ended.

    Yields the control socket, and whether this user is mapped into the user namespace.
    """
    if not sys.platform.startswith("linux"):
        raise LabUnavailable(
            "cannot make a lab", "it needs Linux's namespaces", "Try it on Linux, or in a container"
        )
    if find_ip() is None:
        raise LabUnavailable(
            "cannot make a lab",
            "the command ip is missing",
            "To install it: apt install iproute2",
        )
    try:
        ours, theirs = socket.socketpair()
    except OSError as error:
        raise os_error("no socket for the process inside", error) from error
    with ours:
        with theirs:
            process = _start_init(theirs.fileno(), descriptors)
        try:
            yield ours, _map_users(ours, process.pid)
        finally:
            ours.close()  # the process inside ends when its channel closes
            process.wait()


def _start_init(control: int, descriptors: list[int]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(  # noqa: S603 - our own interpreter
            # -P: the current folder may hold a socket.py
            [sys.executable, "-P", "-m", "stretta.lab.init", str(control)],
            pass_fds=[control, *descriptors],
        )
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.ENOMEM, errno.EMFILE):
            raise os_error("no process could be started", error) from error
        why = unexecutable_reason(sys.executable) or (error.strerror or str(error)).lower()
        raise LabUnavailable(
            "cannot make a lab",
            f"its Python, {sys.executable}, cannot be started: {why}",
            "Install stretta where this user may read and execute it, as with: python3 -m"
            " venv ~/stretta",
        ) from error


def _map_users(control: socket.socket, pid: int) -> bool:
    """Write the user map of the new user namespace: all users for root, else this one alone.

    Returns False where neither is allowed: root without CAP_SETFCAP (user_namespaces(7)).
    """
    event = None
    with contextlib.suppress(OSError, MessageError):
        event = from_line(control.recv(65536), EVENTS)
    if isinstance(event, Failed):
        raise failure_error(event)
    if not isinstance(event, Unshared):
        raise failure_error(Failed(Stage.UNSHARE, 0, "the process inside ended"))
    process = Path(f"/proc/{pid}")
    if not process.exists():
        raise LabUnavailable(
            "cannot make a lab",
            "/proc does not show this system's processes",
            "To mount it: mount -t proc proc /proc",
        )
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
            text = f"no user map: {error.strerror}"
            raise failure_error(Failed(Stage.UNSHARE, error.errno or 0, text)) from error
    return True


def _follow_run(
    control: socket.socket,
    plan: Plan,
    seen: RawCapture,
    show: Callable[[Printed], object],
    started: Callable[[], object],
) -> None:
    """Send the plan, and collect what the process inside reports until the lab has ended."""
    try:
        control.sendall(to_line(plan))
    except OSError as error:
        raise _ended_from_outside() from error
    interrupts = Interrupts(control)
    finished = False
    with interrupts, control.makefile("rb") as lines:
        while line := _next_line(lines):
            try:
                event = from_line(line, EVENTS)
            except MessageError as error:
                raise failure_error(Failed(Stage.INTERNAL, 0, str(error))) from error
            if isinstance(event, Printed):
                show(event)
            elif isinstance(event, Started):
                started()
            elif isinstance(event, Finished):
                finished = True
            elif isinstance(event, NotListening | EndedEarly) and interrupts.last:
                continue  # the interrupt ended it
            _collect(event, seen)
    seen.interrupted = interrupts.last
    if not finished and not interrupts.last:
        raise _ended_from_outside()


def _collect(event: object, seen: RawCapture) -> None:
    """Add an event to what was seen; raise the error that a failure is."""
    match event:
        case Printed():
            size = seen.printed[event.host] = seen.printed.get(event.host, 0) + len(event.data)
            if size <= MOST_OUTPUT:
                seen.output.append(event)
        case Started():
            seen.start = event.at
        case Launched():
            seen.launched[event.host] = event.at
        case Ended():
            seen.ended[event.host] = event.at, event.status
        case Finished():
            seen.lost = event.lost
        case Failed():
            raise failure_error(event)
        case NotListening():
            raise TimedOut(
                f"the {event.host} did not listen within {event.waited:g} s",
                f"no socket of {seen.commands[event.host]!r} listens",
                "Wait longer with --ready-timeout SECONDS; 0 starts the client at once.",
            )
        case EndedEarly():
            raise StrettaError(
                f"the {event.host} ended before it listened",
                f"{seen.commands[event.host]!r} left with status {seen.ended[event.host][1]}",
                "Its output above may say why.",
            )


def _next_line(lines: Any) -> bytes:
    """Return the next whole line, or b'' at the end: what a killed process left is no message."""
    try:
        line: bytes = lines.readline(LARGEST_LINE)
    except OSError:
        return b""
    return line if line.endswith(b"\n") else b""


def _ended_from_outside() -> StrettaError:
    return broken_off(
        "the process that forwards frames was ended from outside, or could not go on",
        "Was the machine out of memory (dmesg | tail)? Otherwise run it again; what it had"
        " recorded by then is lost.",
    )


class Interrupts:
    """While in use, the first Ctrl-C or SIGTERM goes to the programs; a second one ends the lab."""

    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.last = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> None:
        """Install the handlers; outside the main thread, signals stay the caller's."""
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(ValueError):
                self._before[number] = signal.signal(number, self._caught)

    def __exit__(self, *_: object) -> None:
        """Restore the handlers."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _caught(self, number: int, _: object) -> None:
        command = Stop() if self.last else Signal(number)
        self.last = number
        with contextlib.suppress(OSError):
            self.control.sendall(to_line(command))
