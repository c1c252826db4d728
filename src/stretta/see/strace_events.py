"""strace's output as events: the socket calls of a program, its threads and its children. Pure.

Each call is related to its conversation by the ends that strace prints with the descriptor, or by
what is known of the descriptor where the kernel has forgotten the ends.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from stretta.errors import UsageError
from stretta.see.call_display import display_address, display_rest, display_transfer
from stretta.see.descriptors import Address, Descriptors, Socket
from stretta.see.events import Call, Direction, Endpoint, Flow, Process
from stretta.see.hosts import Host, HostTable
from stretta.see.strace_parser import StraceLine, parse_lines, quoted, sockaddr, split_arguments

__all__ = ["StraceEvents", "read_strace"]

SENDS = {"send", "sendto", "sendmsg", "sendmmsg", "write", "writev", "sendfile", "splice"}
RECEIVES = {"recv", "recvfrom", "recvmsg", "recvmmsg", "read", "readv"}
POLLS = {
    "poll", "ppoll", "select", "pselect6", "epoll_wait", "epoll_pwait", "epoll_pwait2",
}  # fmt: skip
FORKS = {"clone", "clone3", "fork", "vfork"}
DUPLICATES = {"dup", "dup2", "dup3"}

SOCKETS = re.compile(r"-?\d+<(?:TCP|UDP)(?:v6)?:\[.*?\]>")
READY_POLL = re.compile(r"fd=(\d+), revents=")
EPOLL_DATA = re.compile(r"u64=(0x[0-9a-f]+|\d+)")
MESSAGE = re.compile(r"\{msg_hdr=(.*?), msg_len=(\d+)\}", re.DOTALL)
ROOM = re.compile(r"iov_len=(\d+)")


@dataclass(frozen=True, slots=True)
class StraceEvents:
    """The calls and the processes of one host; ``blind`` says what hid calls, or is empty.

    Events have no ids yet.
    """

    calls: list[Call]
    processes: list[Process]
    blind: str = ""


def read_strace(
    text: str, host: Host, hosts: Iterable[Host], start: int = 0, *, loopback: bool = False
) -> StraceEvents:
    """Return the events in strace's output of the programs on a host.

    ``hosts`` are all that take part; ``start`` is taken off all times (nanoseconds). With
    ``loopback``, conversations with loopback addresses and the host's own count too. Raises
    UsageError, which names the line, for a call that no strace prints.
    """
    reader = Reader(host, HostTable(hosts), start, loopback=loopback)
    for line in parse_lines(text):
        try:
            reader.read(line)
        except (ValueError, IndexError) as error:  # a number or an argument is missing
            raise UsageError(
                "cannot read strace's output",
                f"line {line.number}, {line.name}(), is damaged",
                "Run it again; if it fails again, update strace.",
            ) from error
    return StraceEvents(reader.resolved(), reader.processes, reader.blind)


class Reader:
    """Takes strace's lines one by one; ``resolved`` returns the calls when all are known."""

    def __init__(self, host: Host, table: HostTable, start: int, *, loopback: bool) -> None:
        self.host, self.own, self.table = host.name, host.addresses, table
        self.start, self.loopback = start, loopback
        self.processes: list[Process] = []
        self.blind = ""
        self._calls: list[tuple[Call, Socket | None, list[Socket]]] = []
        self._descriptors = Descriptors()
        self._sockets: list[Socket] = []  # keeps them alive, so that id() stays unique
        self._programs: dict[int, str] = {}
        self._numbers: dict[int, int] = {}  # of sockets

    def read(self, line: StraceLine) -> None:
        """Add the call or the exit of one line."""
        name = line.name
        self._descriptors.table(line.thread)
        if name in FORKS:
            self._descriptors.forking(line)
            if line.end is not None:
                self._descriptors.forked(line)
                self._inherit_name(line)
        elif name == "+++":
            self._exit(line)
        elif name == "execve":
            self._execute(line)
        elif name == "io_uring_setup":
            if line.result is not None and line.result >= 0:
                self.blind = "io_uring"
        elif name in POLLS:
            self._poll(line)
        else:
            self._on_descriptor(line)

    def resolved(self) -> list[Call]:
        """Return the calls with their conversations, now that all is known of every socket."""
        return [self._resolved(call, socket, ready) for call, socket, ready in self._calls]

    def _resolved(self, call: Call, socket: Socket | None, ready: list[Socket]) -> Call:
        if call.waits_for_many:
            flows = (self._flow(s.protocol, s.local, s.peer) for s in ready)
            named = tuple(dict.fromkeys(flow for flow in flows if flow))
            listening = next((s.local for s in ready if s.listening), None)
            only = named[0] if len(named) == 1 else None
            return replace(call, ready=named, flow=only, local=listening)
        if socket is None:
            return call
        peer = socket.peer if call.name == "bind" else call.peer or socket.peer
        local = call.local or socket.local
        return replace(call, peer=peer, local=local, flow=self._flow(socket.protocol, local, peer))

    def _flow(self, protocol: str, local: Address | None, peer: Address | None) -> Flow | None:
        if not local or not peer or not local[1] or not peer[1]:
            return None
        here, port = local
        if here in ("0.0.0.0", "::"):  # noqa: S104 - not bound to one: the one of the peer's kind
            here = next((a for a in self.own if (":" in a) == (":" in peer[0])), here)
            if self.loopback and (peer[0].startswith("127.") or peer[0] == "::1"):
                here = peer[0]
        internal = peer[0] in self.own or peer[0].startswith("127.") or peer[0] == "::1"
        if internal and not self.loopback:
            return None  # it never comes to the wire
        there = self.table.reached(self.host, peer[0])
        return Flow.between(protocol, Endpoint(self.host, here, port), Endpoint(there, *peer))

    def _call(self, line: StraceLine, socket: Socket | None = None, **fields: Any) -> Call:
        """Return a line as a call on a socket, with further fields."""
        process = self._descriptors.processes.get(line.thread, line.thread)
        known: dict[str, Any] = {
            "end": None if line.end is None else line.end - self.start,
            "duration": 0 if line.end is None else line.end - line.at,
            "next_seen": line.next_seen - self.start if line.next_seen else None,
            "name": line.name,
            "process": process,
            "thread": line.thread,
            "program": self._programs.get(process, ""),
            "result": line.result,
            "error": _error(line),
        }
        if socket is not None:
            known |= {"socket": self._number(socket), "protocol": socket.protocol}
        return Call(-1, line.at - self.start, self.host, **(known | fields))

    def _add(self, line: StraceLine, socket: Socket | None, **fields: Any) -> None:
        self._calls.append((self._call(line, socket, **fields), socket, []))

    def _number(self, socket: Socket) -> int:
        if id(socket) not in self._numbers:
            self._numbers[id(socket)] = len(self._numbers)
            self._sockets.append(socket)
        return self._numbers[id(socket)]

    def _inherit_name(self, line: StraceLine) -> None:
        if line.result:
            parent = self._descriptors.processes.get(line.thread, line.thread)
            self._programs.setdefault(line.result, self._programs.get(parent, ""))

    def _exit(self, line: StraceLine) -> None:
        words = line.arguments.split()
        process = self._descriptors.processes.get(line.thread, line.thread)
        if process != line.thread:
            return  # a thread, not the program
        status = -1
        if words[:2] == ["exited", "with"]:
            status = int(words[2])
        elif words[:2] == ["killed", "by"]:
            status = -_signal_number(words[2])
        self._process(line, process, status)

    def _execute(self, line: StraceLine) -> None:
        if line.result != 0:
            return
        process = self._descriptors.processes.get(line.thread, line.thread)
        path = quoted(split_arguments(line.arguments)[0]).decode("utf-8", "replace")
        self._programs[process] = path.rpartition("/")[2]
        self._process(line, process, None)

    def _process(self, line: StraceLine, process: int, status: int | None) -> None:
        at, program = line.at - self.start, self._programs.get(process, "")
        self.processes.append(
            Process(-1, at, self.host, process=process, program=program, status=status)
        )

    def _poll(self, line: StraceLine) -> None:
        parts = split_arguments(line.arguments)
        ready: list[Socket] = []
        if line.name.startswith("epoll"):
            number = parts[0].partition("<")[0]
            watched = self._descriptors.table(line.thread).epolls.get(int(number), {})
            found = EPOLL_DATA.findall(parts[1]) if line.result and len(parts) > 1 else []
            # most programs let the kernel keep the descriptor's number with it
            named = {**self._descriptors.table(line.thread).sockets, **watched}
            ready = [named[int(n, 0)] for n in found if int(n, 0) in named]
            waited = list(watched.values()) or ready
        else:
            printed = SOCKETS.findall(line.arguments)
            known = {text.partition("<")[0]: self._socket(line, text) for text in printed}
            numbers = READY_POLL.findall(line.rest) or re.findall(r"\d+", _bracketed(line.rest))
            ready = [s for n in numbers if (s := known.get(n))]
            waited = [s for s in known.values() if s]
        if not waited:
            return
        names = ", ".join(sorted({s.protocol.upper() for s in waited}))
        many = f"{len(waited)} sockets" if len(waited) > 1 else f"a {names} socket"
        call = self._call(
            line,
            watched_sockets=tuple(dict.fromkeys(self._number(s) for s in waited)),
            protocol=waited[0].protocol if len(waited) == 1 else "",
            display=f"{line.name}({many})",
        )
        self._calls.append((call, None, ready))

    def _socket(self, line: StraceLine, text: str) -> Socket | None:
        return self._descriptors.socket(line.thread, text)

    def _on_descriptor(self, line: StraceLine) -> None:
        parts = split_arguments(line.arguments)
        name = line.name
        whole: dict[str, Callable[[StraceLine, list[str]], None]] = {
            "socket": self._create,
            "close_range": self._close_range,
            "epoll_ctl": self._watch,
            "sendfile": self._copy,
            "splice": self._copy,
        }
        if name in whole:
            whole[name](line, parts)
            return
        if not parts[0][:1].isdecimal():
            return
        number = int(parts[0].partition("<")[0])
        socket = self._socket(line, parts[0])
        if name == "epoll_create1":
            return
        if name in DUPLICATES or (name == "fcntl" and "F_DUPFD" in parts[1]):
            self._descriptors.duplicated(line, number)
        if socket is None:
            return
        if name in HANDLERS:
            HANDLERS[name](self, line, parts, number, socket)
        elif name in SENDS or name in RECEIVES:
            self._move(line, parts, number, socket)
        else:
            option = parts[2] if name in ("setsockopt", "getsockopt") and len(parts) > 2 else ""
            display = f"{name}({number}{display_rest(parts[1:3])})"
            self._add(line, socket, descriptor=number, option=option, display=display)

    def _create(self, line: StraceLine, parts: list[str]) -> None:
        if parts[0] not in ("AF_INET", "AF_INET6"):
            return
        kind = parts[1].partition("|")[0]
        number = line.result if line.result is not None else -1
        display = f"socket({parts[0]}, {kind})"
        self._add(line, self._descriptors.returned(line), descriptor=number, display=display)

    def _close_range(self, line: StraceLine, parts: list[str]) -> None:
        first = int(parts[0].partition("<")[0])
        last = parts[1].partition("<")[0]
        end = int(last) if last.isdecimal() else 2**32
        for number in list(self._descriptors.table(line.thread).sockets):
            if first <= number <= end:
                self._descriptors.closed(line.thread, number)

    def _watch(self, line: StraceLine, parts: list[str]) -> None:
        table = self._descriptors.table(line.thread)
        epoll = table.epolls.setdefault(int(parts[0].partition("<")[0]), {})
        socket = self._socket(line, parts[2])
        found = EPOLL_DATA.search(parts[3]) if len(parts) > 3 else None
        if socket and found and line.result == 0:
            epoll[int(found[1], 0)] = socket

    def _copy(self, line: StraceLine, parts: list[str]) -> None:
        """Add sendfile() or splice(), which move bytes from one descriptor to another."""
        source, target = (parts[1], parts[0]) if line.name == "sendfile" else (parts[0], parts[2])
        size = parts[3] if line.name == "sendfile" else parts[4]
        for text, direction in ((target, Direction.OUT), (source, Direction.IN)):
            socket = self._socket(line, text)
            if socket is None:
                continue
            number = int(text.partition("<")[0])
            self._add(
                line,
                socket,
                descriptor=number,
                direction=direction,
                transferred=max(0, line.result or 0),
                requested=int(size) if size.isdecimal() else None,
                display=f"{line.name}({number}, {size})",
            )

    def connect(self, line: StraceLine, parts: list[str], number: int, socket: Socket) -> None:
        """Add a call that names the peer; it is known unless the call failed."""
        address = sockaddr(parts[1])
        if address is None:
            self._add(line, socket, descriptor=number, display=f"connect({number}, {parts[1]})")
            return
        if socket.protocol == "udp" or _error(line) in ("", "EINPROGRESS"):
            socket.peer = address
        display = f"connect({number}, {display_address(address)})"
        self._add(line, socket, descriptor=number, peer=address, display=display)

    def bind(self, line: StraceLine, parts: list[str], number: int, socket: Socket) -> None:
        """Add a call that names the socket's own end."""
        address, display = sockaddr(parts[1]), ""
        if address:
            display = f"bind({number}, {display_address(address)})"
            if not _error(line) and address[1]:
                socket.local = address
        self._add(line, socket, descriptor=number, display=display)

    def listen(self, line: StraceLine, parts: list[str], number: int, socket: Socket) -> None:
        """Add a call after which the socket listens."""
        socket.listening = True
        self._add(line, socket, descriptor=number, display=f"listen({number}, {parts[1]})")

    def accept(self, line: StraceLine, parts: list[str], number: int, socket: Socket) -> None:
        """Add a call that returns a new socket; it is that socket's first call."""
        new = self._descriptors.returned(line)
        fields: dict[str, Any] = {
            "name": "accept", "descriptor": number, "protocol": "tcp",
            "display": f"accept({number})",
        }  # fmt: skip
        if new is not None:
            peer = sockaddr(line.arguments)
            new.peer = new.peer or peer
            new.local = new.local or socket.local
            fields["peer"] = peer
        self._add(line, new, **fields)

    def shutdown(self, line: StraceLine, parts: list[str], number: int, socket: Socket) -> None:
        """Add a call that ends one direction or both."""
        display = f"shutdown({number}, {parts[1]})"
        self._add(line, socket, descriptor=number, flags=parts[1], display=display)

    def close(self, line: StraceLine, parts: list[str], number: int, socket: Socket) -> None:
        """Add a call that closes a descriptor; the last one of a socket closes it."""
        self._descriptors.closed(line.thread, number)
        others = {id(table): table for table in self._descriptors.tables.values()}.values()
        shared = any(socket in table.sockets.values() for table in others)
        self._add(line, socket, descriptor=number, shared=shared, display=f"close({number})")

    def _move(self, line: StraceLine, parts: list[str], number: int, socket: Socket) -> None:
        """Add a call that sends or receives."""
        name = line.name
        direction = Direction.OUT if name in SENDS else Direction.IN
        if name in ("sendmmsg", "recvmmsg"):
            self._many(line, number, direction, socket)
            return
        flags = next((p for p in parts[1:] if p.startswith("MSG_")), "")
        data = quoted(parts[1]) if len(parts) > 1 and parts[1][:1] == '"' else b""
        requested, peer = None, None
        if name in ("sendmsg", "recvmsg", "writev", "readv"):
            body = parts[1] if len(parts) > 1 else ""
            data, requested, peer = _vector(body)
            if "MSG_TRUNC" in body.rpartition("msg_flags=")[2]:
                flags = f"{flags}|MSG_TRUNC" if flags else "MSG_TRUNC"
        elif len(parts) > 2 and parts[2].isdecimal():
            requested = int(parts[2])
        if name in ("sendto", "recvfrom") and len(parts) > 4:
            peer = sockaddr(parts[4])
            if parts[4] == "NULL":
                name = "send" if name == "sendto" else "recv"
        if "MSG_PEEK" in flags:
            direction = Direction.PEEK
        call = self._call(
            line, socket, name=name, descriptor=number, direction=direction, flags=flags,
            data=data, requested=requested, peer=peer, transferred=max(0, line.result or 0),
        )  # fmt: skip
        self._calls.append((replace(call, display=display_transfer(call)), socket, []))

    def _many(self, line: StraceLine, number: int, direction: Direction, socket: Socket) -> None:
        """Add recvmmsg() or sendmmsg() as one event a datagram, all of the same time."""
        total = max(0, line.result or 0)
        messages = MESSAGE.findall(line.arguments)[:total]
        if not messages:
            self._add(line, socket, descriptor=number, display=f"{line.name}({number})")
            return
        for ordinal, (header, size) in enumerate(messages, 1):
            data, requested, peer = _vector(header)
            call = self._call(
                line, socket, descriptor=number, direction=direction, transferred=int(size),
                data=data, requested=requested, peer=peer,
            )  # fmt: skip
            more = f" {ordinal} of {total}" if total > 1 else ""
            self._calls.append((replace(call, display=display_transfer(call) + more), socket, []))


HANDLERS: dict[str, Callable[[Reader, StraceLine, list[str], int, Socket], None]] = {
    "connect": Reader.connect,
    "bind": Reader.bind,
    "listen": Reader.listen,
    "accept": Reader.accept,
    "accept4": Reader.accept,
    "shutdown": Reader.shutdown,
    "close": Reader.close,
}
"""The methods for calls on one socket that move no bytes."""


def _error(line: StraceLine) -> str:
    """Return the name of the error that a call returned, or ""."""
    failed = line.result is not None and line.result < 0
    return line.rest.partition(" ")[0] if failed else ""


def _vector(header: str) -> tuple[bytes, int | None, Address | None]:
    """Return the bytes, the room and the address of a printed msghdr or array of iovec."""
    vector = header[header.find("iov") :] if "iov" in header else header
    data = quoted(vector.partition("msg_control")[0])
    return data, sum(int(n) for n in ROOM.findall(header)) or None, sockaddr(header)


def _bracketed(text: str) -> str:
    """Return what select() says is ready: ``(in [3], out [4])``, without its timeout."""
    return " ".join(re.findall(r"\[([\d ]+)\]", text))


def _signal_number(name: str) -> int:
    try:
        return int(signal.Signals[name])
    except KeyError:
        return 0
