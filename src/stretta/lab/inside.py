"""The process inside: makes the two hosts, is the wire between them, and starts the programs.

Run by ``stretta.lab.hosts`` as ``python -m stretta.lab.inside DESCRIPTOR`` with a socket to talk
to it: JSON lines both ways. When that socket closes, for whatever reason, everything ends: this
process is the init of its PID namespace, and the kernel ends whoever is in it (pid_namespaces(7)).
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import pty
import select
import shutil
import signal
import socket
import subprocess
import sys
import termios
import time
from typing import Any

from stretta.lab import kernel
from stretta.lab.faults import Faults
from stretta.lab.listening import listens
from stretta.lab.ring import Ring
from stretta.lab.wire import Wire
from stretta.options import WireOptions

HOSTS = {"client": ("10.0.0.1", "fd00::1"), "server": ("10.0.0.2", "fd00::2")}
CARDS = {"client": "02:00:00:00:00:01", "server": "02:00:00:00:00:02"}
"""The MAC addresses, locally administered ones."""

POLL = 0.005
"""Seconds between two looks at whether the server listens."""

HURRY = 2.0
"""Seconds that programs get to end after Ctrl-C; a shell between two commands may miss it."""

SETTINGS = {
    "ipv6/conf/all/accept_dad": "0",
    "ipv6/conf/default/accept_dad": "0",
    "ipv6/conf/all/accept_ra": "0",
    "ipv6/conf/default/accept_ra": "0",
    "ipv6/conf/default/addr_gen_mode": "1",  # no link-local address, so less to announce
    "ipv4/ip_unprivileged_port_start": "0",
    # windows small enough that a burst fits the kernel's queue behind an interface (1000 frames),
    # which a lab must not overflow by itself
    "ipv4/tcp_rmem": "4096 131072 1048576",
    "ipv4/tcp_wmem": "4096 16384 1048576",
    "ipv4/tcp_congestion_control": "cubic",  # what most Linux machines use
}


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
        prepare_files()
        stage = "network"
        kernel.keep_network_capabilities()
        spaces = build_network()
        kernel.drop_capabilities()
        stage = "wire"
        Lab(talk, plan, spaces).run()
        status = 0
    except OSError as error:
        talk.fail(stage, error)
    except subprocess.CalledProcessError as error:
        talk.fail(stage, OSError(0, (error.stderr or b"").decode(errors="replace").strip()))
    finally:
        os._exit(status)


def prepare_files() -> None:
    """Give this mount namespace its own /proc, and names to the hosts."""
    kernel.mount("none", "/", "none", kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.mount("proc", "/proc", "proc")
    # files to show in the place of others need a file system of their own, for a moment anywhere
    kernel.mount("tmpfs", "/proc", "tmpfs")
    names = "".join(f"{a}\t{name}\n" for name, pair in HOSTS.items() for a in pair)
    files = {
        "/etc/hosts": f"127.0.0.1\tlocalhost\n::1\tlocalhost\n{names}",
        "/etc/resolv.conf": "",  # nobody to ask
        "/etc/gai.conf": "precedence ::ffff:0:0/96 100\n",  # names give IPv4 first
    }
    for number, (target, text) in enumerate(files.items()):
        if os.path.exists(target):
            source = f"/proc/{number}"
            with open(source, "w", encoding="ascii") as file:
                file.write(text)
            kernel.bind_mount(source, target)
    kernel.unmount("/proc")


def build_network() -> dict[str, int]:
    """Make the two hosts and the cables to us; return their network namespaces' descriptors."""
    wire = namespace()
    write_setting("ipv6/conf/all/disable_ipv6", "1")
    write_setting("ipv6/conf/default/disable_ipv6", "1")
    spaces = {}
    for name in HOSTS:
        kernel.unshare(kernel.CLONE_NEWNET)
        spaces[name] = namespace()
        for path, value in SETTINGS.items():
            write_setting(path, value)
        write_setting("ipv4/ping_group_range", f"{os.getgid()} {os.getgid()}")
    kernel.setns(wire)
    lines = [
        f"link add to-{name} mtu 1500 numtxqueues 1 numrxqueues 1 type veth"
        f" peer name eth0 address {CARDS[name]} mtu 1500 numtxqueues 1 numrxqueues 1"
        f" netns /proc/self/fd/{space}\n"
        f"link set to-{name} arp off up\n"
        for name, space in spaces.items()
    ]
    configure("".join(lines), list(spaces.values()))
    for name, space in spaces.items():
        kernel.setns(space)
        kernel.offloads_off("eth0")
        v4, v6 = HOSTS[name]
        peer = "server" if name == "client" else "client"
        # the two have met before: else what a first segment waits for would be ARP
        met = "".join(
            f"neighbour add {address} lladdr {CARDS[peer]} dev eth0 nud reachable\n"
            for address in HOSTS[peer]
        )
        configure(
            "link set lo up\n"
            f"address add {v4}/24 dev eth0\n"
            f"address add {v6}/64 dev eth0 nodad\n"
            "link set eth0 up\n" + met
        )
    kernel.setns(wire)
    return spaces


def namespace() -> int:
    """Open and return the network namespace that this process is in."""
    return os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def find_ip() -> str | None:
    """Return where ip(8) is; users' paths often leave the administrator's folders out."""
    return shutil.which("ip", path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")


def configure(batch: str, descriptors: list[int] | None = None) -> None:
    """Set interfaces up by ip(8). Raises CalledProcessError with what it said."""
    subprocess.run(  # noqa: S603 - ip(8) itself
        [find_ip() or "ip", "-batch", "-"],
        input=batch.encode(), pass_fds=descriptors or [], capture_output=True, check=True,
    )  # fmt: skip


def interface_socket() -> socket.socket:
    """Return a socket that belongs to this network namespace, to ask about its interfaces."""
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def write_setting(path: str, value: str) -> None:
    """Set a kernel parameter of this network namespace, where the kernel has it."""
    with contextlib.suppress(OSError), open(f"/proc/sys/net/{path}", "w", encoding="ascii") as file:
        file.write(value)


class Talk:
    """The socket to the process outside: JSON lines; what does not fit now is kept."""

    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self._out = bytearray()
        self._in = bytearray()

    def fileno(self) -> int:
        return self.control.fileno()

    def say(self, **fields: Any) -> None:
        self._out += json.dumps(fields).encode() + b"\n"
        self.flush()

    def fail(self, stage: str, error: OSError) -> None:
        self.control.setblocking(True)
        call = error.filename if isinstance(error.filename, str) else ""
        words = error.strerror or str(error)
        self.say(event="failed", stage=stage, errno=error.errno or 0, words=words, call=call)

    def flush(self) -> None:
        with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            while self._out:
                del self._out[: self.control.send(self._out[:65536])]

    @property
    def pending(self) -> bool:
        return bool(self._out)

    def ask(self) -> dict[str, Any]:
        """Wait for one line, and return it; exit when there is nobody any more."""
        while True:
            for line in self.listen():
                return line

    def listen(self) -> list[dict[str, Any]]:
        """Return the lines that have come; exit when there is nobody any more."""
        try:
            data = self.control.recv(65536)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            os._exit(1)
        self._in += data
        *lines, rest = self._in.split(b"\n")
        self._in = bytearray(rest)
        return [json.loads(line) for line in lines]


class Program:
    """One program on one host: its process, and the terminal that it writes to, if it has one."""

    def __init__(self, name: str, plan: dict[str, Any], space: int, wire: int) -> None:
        self.name = name
        self.own_session = bool(plan["recorded"])
        self.terminal = -1
        stdout: int | None = None
        if plan["recorded"]:
            self.terminal, stdout = pty.openpty()  # so that output comes as it is printed
            settings = termios.tcgetattr(stdout)
            settings[1] &= ~termios.OPOST  # and as it was written
            termios.tcsetattr(stdout, termios.TCSANOW, settings)
            os.set_blocking(self.terminal, False)
        environment = {**os.environ, **plan["environment"]}
        kernel.setns(space)
        kernel.unshare(kernel.CLONE_NEWUTS)
        socket.sethostname(name)
        try:
            self.process = subprocess.Popen(  # noqa: S603 - what the user asked for
                plan["command"],
                stdin=None if plan["stdin"] else subprocess.DEVNULL,
                stdout=stdout,
                stderr=stdout,
                pass_fds=plan["descriptors"],
                start_new_session=self.own_session,
                env=environment,
                restore_signals=True,
            )
        finally:
            kernel.setns(wire)
            if stdout is not None:
                os.close(stdout)

    def read(self) -> bytes:
        """Return what it has printed; close the terminal at its end."""
        try:
            data = os.read(self.terminal, 65536)
        except BlockingIOError:
            return b""
        except OSError:  # EIO: nobody has the other end any more
            data = b""
        if not data:
            os.close(self.terminal)
            self.terminal = -1
        return data

    def signal(self, number: int) -> None:
        """Send it a signal, and whoever it started where it has a session of its own."""
        with contextlib.suppress(ProcessLookupError):
            if self.own_session:
                os.killpg(self.process.pid, number)
            else:
                os.kill(self.process.pid, number)


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
            self.talk.say(event="failed", stage="program", errno=error.errno, words=str(error))
            os._exit(1)
        self.talk.say(event="launched", host=name, at=time.time_ns())

    def cables_up(self) -> bool:
        """Return whether both cables carry; before that, what we send vanishes.

        The hosts' ends, which came up last, carry at once, though their flags may say so late.
        """
        return all(kernel.is_running(sock, name) for sock, name in self.interfaces)

    def server_ready(self) -> bool:
        """Return whether the server listens, or never will."""
        if "server" in self.ended:
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
