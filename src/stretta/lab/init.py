"""The process inside a lab: builds the network, forwards its frames, and runs the programs.

``stretta.lab.controller`` runs it as ``python -m stretta.lab.init DESCRIPTOR``; the descriptor is a
socket for messages both ways. When that socket closes, the lab ends: this process is the init of
its PID namespace, and the kernel kills every process in it (pid_namespaces(7)).
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import IO, Any

from stretta.lab import kernel
from stretta.lab.control_channel import ControlChannel
from stretta.lab.executable import unexecutable_reason
from stretta.lab.faults import FaultInjector
from stretta.lab.listeners import has_listener
from stretta.lab.messages import (
    Ended,
    EndedEarly,
    Failed,
    Finished,
    Launched,
    NotListening,
    Plan,
    Printed,
    Program,
    Signal,
    Stage,
    Started,
    Stop,
    Unshared,
)
from stretta.lab.network import (
    build_network,
    interface_socket,
    namespace,
    port_name,
    prepare_files,
)
from stretta.lab.packet_ring import PacketRing
from stretta.lab.program import RunningProgram
from stretta.lab.topology import LISTENING
from stretta.lab.wire import Wire

POLL = 0.005
"""Seconds between two checks of a condition, such as whether the server listens."""

STOP_TIMEOUT = 2.0
"""Seconds that programs get to end after Ctrl-C; a shell between two commands may miss it."""

TABLES = ("tcp", "tcp6", "udp", "udp6")
"""The kernel's tables of sockets (proc_net(5))."""


def main() -> None:
    """Create the namespaces, and fork the init process into them."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # the process outside handles them; programs would inherit SIG_IGN, but not a handler
        signal.signal(number, lambda *_: None)
    control = socket.socket(fileno=int(sys.argv[1]))
    channel = ControlChannel(control)
    stage = Stage.UNSHARE
    try:
        kernel.unshare(
            kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS | kernel.CLONE_NEWNET | kernel.CLONE_NEWPID
        )
        kernel.die_with_parent(signal.SIGKILL)  # after unshare(), which resets it
        channel.send(Unshared())
        plan = channel.wait()  # comes when the user map is written
        stage = Stage.FORK
        init = os.fork()
    except OSError as error:
        channel.fail(stage, error)
        sys.exit(1)
    if init == 0:
        run_init(channel, plan)
    control.close()
    os.waitpid(init, 0)


def run_init(channel: ControlChannel, plan: Plan) -> None:
    """Build the lab, run it, and exit; every other process in the namespace ends with this one."""
    stage = Stage.UNSHARE
    status = 1
    try:
        kernel.die_with_parent(signal.SIGKILL)
        stage = Stage.MOUNT
        prepare_files(plan.topology, plan.files)
        stage = Stage.NETWORK
        kernel.keep_network_capabilities()
        spaces = build_network(plan.topology)
        kernel.drop_capabilities()
        stage = Stage.WIRE
        lab = Lab(channel, plan, spaces)
        stage = Stage.INTERNAL
        lab.run()
        status = 0
    except OSError as error:
        channel.fail(stage, error)
    except subprocess.CalledProcessError as error:
        text = (error.stderr or b"").decode(errors="replace").strip()
        channel.fail(stage, OSError(0, text or str(error)))
    except Exception as error:  # noqa: BLE001 - reported to the process outside
        channel.fail(Stage.INTERNAL, OSError(0, f"{type(error).__name__}: {error}"))
    finally:
        os._exit(status)


class Lab:
    """The event loop inside: the wire's ports, the programs, and the control channel."""

    def __init__(self, channel: ControlChannel, plan: Plan, spaces: dict[str, int]) -> None:
        self.channel, self.plan, self.spaces = channel, plan, spaces
        self.wire_space = namespace()
        self.running: dict[str, RunningProgram] = {}
        self.ended: set[str] = set()
        self.stop_deadline: float | None = None
        names = [port_name(port) for port in range(len(plan.topology.endpoints))]
        self.rings = [PacketRing(name) for name in names]
        self.interfaces = [(interface_socket(), name) for name in names]
        self.log = os.fdopen(plan.log, "wb")
        self.faults = FaultInjector(plan.wire, plan.seed, time.time_ns(), plan.topology)
        self.wire = Wire(plan.topology, self.rings, self.faults, self.log)
        self.wakeup, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(writer)
        planned = {program.host: program for program in plan.programs}
        self.programs = [
            (host, planned[host.name]) for host in plan.topology.start_order if host.name in planned
        ]
        self.tables = {
            host.name: self._open_tables(host.name)
            for host, _ in self.programs
            if host.role in LISTENING
        }

    def _open_tables(self, host: str) -> list[IO[str]]:
        """Open a host's tables of sockets; they stay those of the namespace they are opened in."""
        kernel.setns(self.spaces[host])
        tables: list[IO[str]] = [
            open(f"/proc/self/net/{name}", encoding="ascii")  # noqa: SIM115 - kept open
            for name in TABLES
        ]
        kernel.setns(self.wire_space)
        return tables

    def run(self) -> None:
        """Start the programs in order, wait for the end of the lab, and stop what is left."""
        self.channel.control.setblocking(False)
        self.wait_until(self.ports_up, 2.0)
        self.faults.start = time.time_ns()
        self.channel.send(Started(self.faults.start))
        if self.start_programs():
            self.wait_until(self.complete, self.plan.limit)
            self.wait_until(self.idle, self.plan.linger)
            for host, _ in reversed(self.programs):
                if host.role in LISTENING and host.name not in self.ended:
                    self.running[host.name].signal(signal.SIGTERM)
                    self.wait_until(partial(self.has_ended, host.name), 2.0)
                    self.wait_until(self.idle, self.plan.linger)
        self.end()

    def start_programs(self) -> bool:
        """Start every program, each server once the one before listens; False if that failed."""
        timeout = self.plan.ready_timeout
        first_client = True
        for host, program in self.programs:
            if self.stop_deadline is not None:
                return False
            name = host.name
            if host.role not in LISTENING and first_client:
                self.faults.start = time.time_ns()  # --cut 3s counts from the client's start
                first_client = False
            self.launch(program)
            if host.role in LISTENING and timeout > 0:
                if not self.wait_until(partial(self.is_ready, name), timeout):
                    self.channel.send(NotListening(name, timeout))
                    return False
                if name in self.ended:
                    self.channel.send(EndedEarly(name))
                    return False
        return True

    def end(self) -> None:
        """Stop the programs that still run, and report the end."""
        for name, program in self.running.items():
            if name not in self.ended:
                program.signal(signal.SIGTERM)
        self.wait_until(lambda: len(self.ended) == len(self.running), 1.0)
        self.log.flush()
        dropped = sum(ring.dropped() for ring in self.rings)
        with open("/proc/self/net/dev", encoding="ascii") as file:
            dropped += sum(int(row.split()[4]) for row in file.readlines()[2:])  # rx: drop
        self.channel.control.setblocking(True)
        self.channel.send(Finished(self.wire.lost + dropped))

    def launch(self, program: Program) -> None:
        """Start a program on its host; if it cannot start, report that and exit."""
        name, command = program.host, program.argv[0]
        try:
            self.running[name] = RunningProgram(program, self.spaces[name], self.wire_space)
        except OSError as error:
            why = unexecutable_reason(command) if "/" in command else ""
            text = f"{command}: {why or (error.strerror or str(error)).lower()}"
            self.channel.control.setblocking(True)
            self.channel.send(Failed(Stage.PROGRAM, error.errno or 0, text))
            os._exit(1)
        self.channel.send(Launched(name, time.time_ns()))

    def ports_up(self) -> bool:
        """Return whether all ports forward; before that, frames sent to them vanish.

        The hosts' interfaces came up later than the ports, and forward from then on.
        """
        return all(kernel.is_running(sock, name) for sock, name in self.interfaces)

    def has_ended(self, host: str) -> bool:
        """Return whether a host's program has ended."""
        return host in self.ended

    def is_ready(self, host: str) -> bool:
        """Return whether a host's program listens, or there is no more reason to wait for it."""
        if host in self.ended or self.stopping():
            return True
        texts = []
        for table in self.tables[host]:
            table.seek(0)
            texts.append(table.read())
        return has_listener(texts[0], texts[2]) or has_listener(texts[1], texts[3])

    def stopping(self) -> bool:
        """Return whether a stop was requested, and the programs have had time for it."""
        return self.stop_deadline is not None and time.monotonic() > self.stop_deadline

    def complete(self) -> bool:
        """Return whether the programs that the lab waits for have ended."""
        return self.ended.issuperset(self.plan.until) or self.stopping()

    def idle(self) -> bool:
        """Return whether no frame is under way, and none was for the settle time."""
        settle = self.plan.settle * 1e9
        return self.faults.next_due() is None and time.time_ns() - self.wire.last_frame > settle

    def wait_until(self, condition: Callable[[], bool], seconds: float | None) -> bool:
        """Run the event loop until the condition holds; return False if time ran out."""
        deadline = None if seconds is None else time.monotonic() + seconds
        next_check = 0.0
        while True:
            now = time.monotonic()
            if now >= next_check:
                if condition():
                    return True
                next_check = now + POLL
            if deadline is not None and now >= deadline:
                return False
            self.step()

    def step(self) -> None:
        """Run one iteration of the event loop."""
        more = self.wire.forward()
        wait = 0.0 if more else POLL
        due = self.wire.timeout()
        if due is not None:
            wait = min(wait, due)
        terminals = {p.terminal: p for p in self.running.values() if p.terminal >= 0}
        if self.channel.congested:
            terminals = {}
        sources: list[Any] = [*self.rings, self.channel, self.wakeup, *terminals]
        readable, _, _ = select.select(
            sources,
            [self.channel] if self.channel.pending else [],
            [],
            wait,
        )
        for source in readable:
            if source is self.channel:
                for command in self.channel.receive():
                    self.handle(command)
            elif source == self.wakeup:
                os.read(self.wakeup, 512)
                self.reap()
            elif source in terminals:
                self.relay(terminals[source])
        self.channel.flush()

    def relay(self, program: RunningProgram) -> None:
        """Report what a program printed."""
        if program.terminal >= 0 and (data := program.read()):
            self.channel.send(Printed(program.host, time.time_ns(), data))

    def reap(self) -> None:
        """Reap children that have ended: the programs, and orphans, whose parent init becomes."""
        programs = {program.process.pid: program for program in self.running.values()}
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            program = programs.get(pid)
            if program is None:
                continue
            code = os.waitstatus_to_exitcode(status)
            program.process.returncode = code
            self.relay(program)
            self.ended.add(program.host)
            self.channel.send(Ended(program.host, time.time_ns(), code))

    def handle(self, command: Plan | Signal | Stop) -> None:
        """Do what the process outside commands: signal the programs, or stop at once."""
        if isinstance(command, Signal):
            self.stop_deadline = time.monotonic() + STOP_TIMEOUT
            for name, program in self.running.items():
                if name not in self.ended:
                    program.signal(command.number)
        elif isinstance(command, Stop):
            self.ended.update(self.running)


if __name__ == "__main__":
    main()
