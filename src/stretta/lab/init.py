"""The process inside: makes the two hosts, is the wire between them, and starts the programs.

Run by ``stretta.lab.controller`` as ``python -m stretta.lab.init DESCRIPTOR`` with a socket to talk
to it: JSON lines both ways. When that socket closes, for whatever reason, everything ends: this
process is the init of its PID namespace, and the kernel ends whoever is in it (pid_namespaces(7)).
"""

from __future__ import annotations

import base64
import os
import select
import signal
import socket
import subprocess
import sys
import time
from typing import Any

from stretta.lab import kernel
from stretta.lab.control_channel import Talk
from stretta.lab.executable import obstacle
from stretta.lab.faults import Faults
from stretta.lab.listening import listens
from stretta.lab.network import (
    HOSTS,
    build_network,
    interface_socket,
    namespace,
    prepare_files,
)
from stretta.lab.packet_ring import Ring
from stretta.lab.program import Program
from stretta.lab.wire import Wire
from stretta.options import WireOptions

POLL = 0.005
"""Seconds between two looks at whether the server listens."""

HURRY = 2.0
"""Seconds that programs get to end after Ctrl-C; a shell between two commands may miss it."""


def main() -> None:
    """Make the namespaces, and be the init inside them."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # the process outside decides; a handler, as an ignored signal would stay so for programs
        signal.signal(number, lambda *_: None)
    control = socket.socket(fileno=int(sys.argv[1]))
    talk = Talk(control)
    try:
        kernel.unshare(
            kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS | kernel.CLONE_NEWNET | kernel.CLONE_NEWPID
        )
    except OSError as error:
        talk.fail("unshare", error)
        sys.exit(1)
    kernel.die_with_parent(signal.SIGKILL)  # only now: a change of user forgets it
    talk.say(event="unshared")
    plan = talk.ask()  # comes when the user map is written
    init = os.fork()
    if init == 0:
        run_init(talk, plan)
    control.close()
    os.waitpid(init, 0)


def run_init(talk: Talk, plan: dict[str, Any]) -> None:
    """Build the lab, run it, and exit; everything else in the namespace ends with us."""
    stage = "start"
    status = 1
    try:
        kernel.die_with_parent(signal.SIGKILL)
        stage = "mount"
        prepare_files(plan["files"])
        stage = "network"
        kernel.keep_network_capabilities()
        spaces = build_network()
        kernel.drop_capabilities()
        stage = "wire"
        lab = Lab(talk, plan, spaces)
        stage = "inside"
        lab.run()
        status = 0
    except OSError as error:
        talk.fail(stage, error)
    except subprocess.CalledProcessError as error:
        talk.fail(stage, OSError(0, (error.stderr or b"").decode(errors="replace").strip()))
    except Exception as error:  # noqa: BLE001 - nobody else could tell of it
        talk.fail("inside", OSError(0, f"{type(error).__name__}: {error}"))
    finally:
        os._exit(status)


class Lab:
    """Everything that goes on at once: two cables, two programs, the process outside."""

    def __init__(self, talk: Talk, plan: dict[str, Any], spaces: dict[str, int]) -> None:
        self.talk, self.plan, self.spaces = talk, plan, spaces
        self.wire_space = namespace()
        self.programs: dict[str, Program] = {}
        self.rings = (Ring("to-client"), Ring("to-server"))
        self.log = os.fdopen(plan["log"], "wb")
        self.start = time.time_ns()
        options: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in plan["wire"].items()
        }
        self.faults = Faults(WireOptions(**options), plan["seed"], self.start)
        self.wire = Wire(*self.rings, self.faults, self.log)
        self.ended: dict[str, float] = {}
        self.hurry: float | None = None
        self.wakeup, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer)
        self.interfaces = [(interface_socket(), f"to-{name}") for name in HOSTS]
        # the tables of a namespace are those of whoever opened them
        kernel.setns(spaces["server"])
        self.tables = [
            open(f"/proc/self/net/{name}", encoding="ascii")  # noqa: SIM115 - as long as we live
            for name in ("tcp", "tcp6", "udp", "udp6")
        ]
        kernel.setns(self.wire_space)

    def run(self) -> None:
        """Start the server, wait for it, run the client, and let it all come to rest."""
        self.talk.control.setblocking(False)
        plan = self.plan
        self.wait_until(self.cables_up, 2.0)
        self.faults.start = self.start = time.time_ns()
        self.talk.say(event="started", at=self.start)
        if "server" in plan["programs"]:
            self.launch("server")
            if plan["wait"] > 0 and not self.wait_until(self.server_ready, plan["wait"]):
                self.talk.say(event="silent", waited=plan["wait"])
                self.end()
                return
        if "server" in self.ended and plan["wait"] > 0:
            self.talk.say(event="server-gone")
            self.end()
            return
        if self.hurry is not None:
            self.end()
            return
        if "client" in plan["programs"]:
            # counted from the client's start: what a person means by --cut 3s
            self.faults.start = time.time_ns()
            self.launch("client")
        until = plan["until"]
        self.wait_until(lambda: until in self.ended or self.hurried(), plan["limit"])
        self.wait_until(self.quiet, plan["linger"])
        if "server" in self.programs and "server" not in self.ended:
            self.programs["server"].signal(signal.SIGTERM)
            self.wait_until(lambda: "server" in self.ended, 2.0)
            self.wait_until(self.quiet, plan["linger"])
        self.end()

    def end(self) -> None:
        """Stop whoever is left, and say so."""
        for program in self.programs.values():
            if program.name not in self.ended:
                program.signal(signal.SIGTERM)
        self.wait_until(lambda: len(self.ended) == len(self.programs), 1.0)
        self.log.flush()
        overflow = sum(ring.lost() for ring in self.rings)
        with open("/proc/self/net/dev", encoding="ascii") as file:
            overflow += sum(int(row.split()[4]) for row in file.readlines()[2:])  # rx: drop
        self.talk.control.setblocking(True)
        self.talk.say(event="over", lost=self.wire.lost + overflow)

    def launch(self, name: str) -> None:
        """Start a program on its host."""
        plan = self.plan["programs"][name]
        try:
            self.programs[name] = Program(name, plan, self.spaces[name], self.wire_space)
        except OSError as error:
            command = self.plan["programs"][name]["command"][0]
            why = obstacle(command) if "/" in command else ""
            words = f"{command}: {why or (error.strerror or str(error)).lower()}"
            self.talk.say(event="failed", stage="program", errno=error.errno, words=words)
            os._exit(1)
        self.talk.say(event="launched", host=name, at=time.time_ns())

    def cables_up(self) -> bool:
        """Return whether both cables carry; before that, what we send vanishes.

        The hosts' ends, which came up last, carry at once, though their flags may say so late.
        """
        return all(kernel.is_running(sock, name) for sock, name in self.interfaces)

    def server_ready(self) -> bool:
        """Return whether the server listens, or never will."""
        if "server" in self.ended or self.hurried():
            return True
        texts = []
        for table in self.tables:
            table.seek(0)
            texts.append(table.read())
        return listens(texts[0], texts[2]) or listens(texts[1], texts[3])

    def hurried(self) -> bool:
        """Return whether somebody wanted the end, and the programs have had time for it."""
        return self.hurry is not None and time.monotonic() > self.hurry

    def quiet(self) -> bool:
        """Return whether nothing is under way, and nothing has been for a while."""
        rest = self.plan["settle"] * 1e9
        return self.faults.next_due() is None and time.time_ns() - self.wire.last_frame > rest

    def wait_until(self, condition: Any, seconds: float | None) -> bool:
        """Do everything that there is to do until the condition holds; False if time ran out."""
        deadline = None if seconds is None else time.monotonic() + seconds
        look = 0.0
        while True:
            now = time.monotonic()
            if now >= look:
                if condition():
                    return True
                look = now + POLL
            if deadline is not None and now >= deadline:
                return False
            self.step()

    def step(self) -> None:
        """Carry frames and words for a moment."""
        more = self.wire.pump()
        wait = 0.0 if more else POLL
        due = self.wire.wait()
        if due is not None:
            wait = min(wait, due)
        terminals = {p.terminal: p for p in self.programs.values() if p.terminal >= 0}
        sources: list[Any] = [*self.rings, self.talk, self.wakeup, *terminals]
        readable, _, _ = select.select(
            sources,
            [self.talk] if self.talk.pending else [],
            [],
            wait,
        )
        for source in readable:
            if source is self.talk:
                for request in self.talk.listen():
                    self.obey(request)
            elif source == self.wakeup:
                os.read(self.wakeup, 512)
                self.reap()
            elif source in terminals:
                self.relay(terminals[source])
        self.talk.flush()

    def relay(self, program: Program) -> None:
        """Pass on what a program printed, with the time."""
        if program.terminal >= 0 and (data := program.read()):
            text = base64.b64encode(data).decode()
            self.talk.say(event="output", host=program.name, at=time.time_ns(), data=text)

    def reap(self) -> None:
        """Bury whoever has ended: our programs, and orphans, which become ours."""
        mine = {program.process.pid: program for program in self.programs.values()}
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            program = mine.get(pid)
            if program is None:
                continue
            code = os.waitstatus_to_exitcode(status)
            program.process.returncode = code
            self.relay(program)
            self.ended[program.name] = code
            self.talk.say(event="ended", host=program.name, at=time.time_ns(), status=code)

    def obey(self, request: dict[str, Any]) -> None:
        """Do what the process outside asks for: send a signal, or come to an end."""
        if request["order"] == "signal":
            self.hurry = time.monotonic() + HURRY
            for name, program in self.programs.items():
                if name not in self.ended:
                    program.signal(request["signal"])
        elif request["order"] == "end":
            for name in self.programs:
                self.ended.setdefault(name, -1)


if __name__ == "__main__":
    main()
