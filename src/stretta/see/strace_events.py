"""strace's output as events: the socket calls of a program, its threads and its children. Pure.

Each call is related to its conversation: by the ends that strace names beside the descriptor, or by
what is remembered of the descriptor where the kernel has forgotten the ends.
"""

from __future__ import annotations

import re

from stretta.see.descriptors import Address, Descriptors, Socket
from stretta.see.events import Call, Flow, Process
from stretta.see.strace_parser import StraceLine, parse_lines, quoted, sockaddr, split_arguments

__all__ = ["StraceEvents", "read_strace"]

SENDS = {"send", "sendto", "sendmsg", "sendmmsg", "write", "writev", "sendfile", "splice"}
RECEIVES = {"recv", "recvfrom", "recvmsg", "recvmmsg", "read", "readv"}
POLLS = {
    "poll", "ppoll", "select", "pselect6", "epoll_wait", "epoll_pwait", "epoll_pwait2",
}  # fmt: skip
FORKS = {"clone", "clone3", "fork", "vfork"}
DUPLICATES = {"dup", "dup2", "dup3"}
SETTINGS = {"setsockopt", "getsockopt", "getsockname", "getpeername", "ioctl", "fcntl", "epoll_ctl"}

SOCKETS = re.compile(r"-?\d+<(?:TCP|UDP)(?:v6)?:\[.*?\]>")
READY_POLL = re.compile(r"fd=(\d+), revents=")
EPOLL_DATA = re.compile(r"u64=(0x[0-9a-f]+|\d+)")
MESSAGE = re.compile(r"\{msg_hdr=(.*?), msg_len=(\d+)\}", re.DOTALL)
ROOM = re.compile(r"iov_len=(\d+)")


def read_strace(
    text: str, host: str, own: tuple[str, ...], start: int = 0, *, loopback: bool = False
) -> StraceEvents:
    """Return the events in strace's output of the programs on a host.

    ``own`` are the host's addresses, IPv4 first; ``start`` is taken off all times (nanoseconds).
    With ``loopback``, conversations of the host with itself count too. Events have no ids yet.
    """
    calls = StraceEvents(host, own, start, loopback=loopback)
    for line in parse_lines(text):
        calls.take(line)
    calls.resolve()
    return calls


class StraceEvents:
    """The calls and the processes of one host, in order of time; ``blind`` says what hid calls."""

    def __init__(
        self, host: str, own: tuple[str, ...], start: int, *, loopback: bool = False
    ) -> None:
        self.host, self.own, self.start, self.loopback = host, own, start, loopback
        self.calls: list[Call] = []
        self.processes: list[Process] = []
        self.blind = ""
        self._descriptors = Descriptors()
        self._sockets: list[tuple[Call, Socket]] = []
        self._ready: list[tuple[Call, list[Socket]]] = []
        self._watched: list[list[Socket]] = []
        self._programs: dict[int, str] = {}
        self._numbers: dict[int, int] = {}  # of sockets, which all stay alive

    def take(self, line: StraceLine) -> None:
        """Add what one line of strace says."""
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

    def resolve(self) -> None:
        """Name the conversation of each call, now that all is known of every socket."""
        for call, socket in self._sockets:
            peer = call.peer or socket.peer
            local = call.local or socket.local
            if call.name == "bind":
                peer = socket.peer
            call.peer, call.local = peer, local
            call.flow = self._flow(socket.protocol, local, peer)
        for call, sockets in self._ready:
            flows = (self._flow(s.protocol, s.local, s.peer) for s in sockets)
            call.ready = tuple(dict.fromkeys(flow for flow in flows if flow))
            if len(call.ready) == 1:
                call.flow = call.ready[0]
            call.local = next((s.local for s in sockets if s.listening), None)

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
        ends = (here, port), peer
        return Flow(protocol, *(ends if self.host == "client" else ends[::-1]))

    def _event(self, line: StraceLine, name: str = "") -> Call:
        process = self._descriptors.processes.get(line.thread, line.thread)
        call = Call(
            -1, line.at - self.start, self.host,
            end=None if line.end is None else line.end - self.start,
            duration=0 if line.end is None else line.end - line.at,
            next_seen=line.next_seen - self.start if line.next_seen else None,
            name=name or line.name, process=process, thread=line.thread,
            program=self._programs.get(process, ""), result=line.result,
        )  # fmt: skip
        if line.result is not None and line.result < 0:
            call.error = line.rest.partition(" ")[0]
        return call

    def _add(self, call: Call, socket: Socket | None) -> None:
        self.calls.append(call)
        if socket is not None:
            call.socket = self._number(socket)
            call.protocol = socket.protocol
            self._sockets.append((call, socket))

    def _number(self, socket: Socket) -> int:
        return self._numbers.setdefault(id(socket), len(self._numbers))

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
        self.processes.append(
            Process(
                -1,
                line.at - self.start,
                self.host,
                process=process,
                program=self._programs.get(process, ""),
                status=status,
            )
        )

    def _execute(self, line: StraceLine) -> None:
        if line.result != 0:
            return
        process = self._descriptors.processes.get(line.thread, line.thread)
        parts = split_arguments(line.arguments)
        program = quoted(parts[0]).decode("utf-8", "replace").rpartition("/")[2]
        self._programs[process] = program
        self.processes.append(
            Process(-1, line.at - self.start, self.host, process=process, program=program)
        )

    def _poll(self, line: StraceLine) -> None:
        call = self._event(line)
        parts = split_arguments(line.arguments)
        sockets: list[Socket] = []
        if line.name.startswith("epoll"):
            number = parts[0].partition("<")[0]
            watched = self._descriptors.table(line.thread).epolls.get(int(number), {})
            found = EPOLL_DATA.findall(parts[1]) if line.result and len(parts) > 1 else []
            # most programs let the kernel keep the descriptor's number with it
            named = {**self._descriptors.table(line.thread).sockets, **watched}
            sockets = [named[int(n, 0)] for n in found if int(n, 0) in named]
            all_watched = list(watched.values()) or sockets
        else:
            printed = SOCKETS.findall(line.arguments)
            known = {text.partition("<")[0]: self._socket(line, text) for text in printed}
            ready = READY_POLL.findall(line.rest) or re.findall(r"\d+", _bracketed(line.rest))
            sockets = [s for n in ready if (s := known.get(n))]
            all_watched = [s for s in known.values() if s]
        if not all_watched:
            return
        call.watched_sockets = tuple(dict.fromkeys(self._number(s) for s in all_watched))
        if len(all_watched) == 1:
            call.protocol = all_watched[0].protocol
        names = ", ".join(sorted({s.protocol.upper() for s in all_watched}))
        many = f"{len(all_watched)} sockets" if len(all_watched) > 1 else f"a {names} socket"
        call.display = f"{line.name}({many})"
        self.calls.append(call)
        self._ready.append((call, sockets))
        self._watched.append(all_watched)

    def _socket(self, line: StraceLine, text: str) -> Socket | None:
        return self._descriptors.socket(line.thread, text)

    def _on_descriptor(self, line: StraceLine) -> None:
        parts = split_arguments(line.arguments)
        name = line.name
        if name == "socket":
            self._create(line, parts)
            return
        if name == "close_range":
            self._close_range(line, parts)
            return
        if name == "epoll_ctl":
            self._watch(line, parts)
            return
        if name in ("sendfile", "splice"):
            self._copy(line, parts)
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
        call = self._event(line)
        call.descriptor = number
        if name in HANDLERS:
            getattr(self, HANDLERS[name])(line, parts, call, socket)
        elif name in SENDS or name in RECEIVES:
            self._move(line, parts, call, socket)
        else:
            call.display = f"{name}({number}{_rest_of(parts[1:3])})"
            self._add(call, socket)

    def _create(self, line: StraceLine, parts: list[str]) -> None:
        if parts[0] not in ("AF_INET", "AF_INET6"):
            return
        call = self._event(line)
        kind = parts[1].partition("|")[0]
        call.display = f"socket({parts[0]}, {kind})"
        call.descriptor = line.result if line.result is not None else -1
        self._add(call, self._descriptors.returned(line))

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
        for text, way in ((target, "out"), (source, "in")):
            socket = self._socket(line, text)
            if socket is None:
                continue
            call = self._event(line)
            call.descriptor = int(text.partition("<")[0])
            call.direction, call.transferred = way, max(0, line.result or 0)
            size = parts[3] if line.name == "sendfile" else parts[4]
            call.requested = int(size) if size.isdecimal() else None
            call.display = f"{line.name}({call.descriptor}, {size})"
            self._add(call, socket)

    def _connect(self, line: StraceLine, parts: list[str], call: Call, socket: Socket) -> None:
        address = sockaddr(parts[1])
        if address is not None:
            call.peer = address
            if socket.protocol == "udp" or call.error in ("", "EINPROGRESS"):
                socket.peer = address
            call.display = f"connect({call.descriptor}, {_end(address)})"
        else:
            call.display = f"connect({call.descriptor}, {parts[1]})"
        self._add(call, socket)

    def _bind(self, line: StraceLine, parts: list[str], call: Call, socket: Socket) -> None:
        address = sockaddr(parts[1])
        if address:
            call.display = f"bind({call.descriptor}, {_end(address)})"
            if not call.error and address[1]:
                socket.local = address
        self._add(call, socket)

    def _listen(self, line: StraceLine, parts: list[str], call: Call, socket: Socket) -> None:
        socket.listening = True
        call.display = f"listen({call.descriptor}, {parts[1]})"
        self._add(call, socket)

    def _accept(self, line: StraceLine, parts: list[str], call: Call, socket: Socket) -> None:
        call.name = "accept"
        call.display = f"accept({call.descriptor})"
        new = self._descriptors.returned(line)
        if new is None:
            self._add(call, None)
            call.protocol = "tcp"
            return
        call.peer = sockaddr(line.arguments)
        new.peer = new.peer or call.peer
        new.local = new.local or socket.local
        self._add(call, new)

    def _shutdown(self, line: StraceLine, parts: list[str], call: Call, socket: Socket) -> None:
        call.flags = parts[1]
        call.display = f"shutdown({call.descriptor}, {parts[1]})"
        self._add(call, socket)

    def _close(self, line: StraceLine, parts: list[str], call: Call, socket: Socket) -> None:
        # only the last descriptor of a socket closes it
        self._descriptors.closed(line.thread, call.descriptor)
        others = {id(table): table for table in self._descriptors.tables.values()}.values()
        if any(socket in table.sockets.values() for table in others):
            call.flags = "shared"
        call.display = f"close({call.descriptor})"
        self._add(call, socket)

    def _move(self, line: StraceLine, parts: list[str], call: Call, socket: Socket) -> None:
        name = line.name
        call.direction = "out" if name in SENDS else "in"
        if name in ("sendmmsg", "recvmmsg"):
            self._many(line, parts, call, socket)
            return
        call.flags = next((p for p in parts[1:] if p.startswith("MSG_")), "")
        call.data = quoted(parts[1]) if len(parts) > 1 and parts[1][:1] == '"' else b""
        if name in ("sendmsg", "recvmsg", "writev", "readv"):
            body = parts[1] if len(parts) > 1 else ""
            vector = body[body.find("iov") :] if "iov" in body else body
            call.data = quoted(vector.partition("msg_control")[0])
            call.requested = sum(int(n) for n in ROOM.findall(body)) or None
            call.peer = sockaddr(body)
            if "MSG_TRUNC" in body.rpartition("msg_flags=")[2]:
                call.flags = _joined(call.flags, "MSG_TRUNC")
        elif len(parts) > 2 and parts[2].isdecimal():
            call.requested = int(parts[2])
        if name in ("sendto", "recvfrom"):
            call.peer = sockaddr(parts[4]) if len(parts) > 4 else None
            if len(parts) > 4 and parts[4] == "NULL":
                call.name = "send" if name == "sendto" else "recv"
        call.transferred = max(0, line.result or 0)
        if "MSG_PEEK" in call.flags:
            call.direction = "peek"
        call.display = _shown(call)
        self._add(call, socket)

    def _many(self, line: StraceLine, parts: list[str], call: Call, socket: Socket) -> None:
        """Add recvmmsg() or sendmmsg() as one event a datagram, all of the same time."""
        total = max(0, line.result or 0)
        messages = MESSAGE.findall(line.arguments)[:total]
        if not messages:
            call.display = f"{line.name}({call.descriptor})"
            call.direction = ""
            self._add(call, socket)
            return
        for number, (header, size) in enumerate(messages, 1):
            one = self._event(line)
            one.descriptor, one.direction, one.transferred = (
                call.descriptor,
                call.direction,
                int(size),
            )
            one.data = quoted(header[header.find("msg_iov") :].partition("msg_control")[0])
            one.requested = sum(int(n) for n in ROOM.findall(header)) or None
            one.peer = sockaddr(header)
            one.display = _shown(one)
            if total > 1:
                one.display += f" {number} of {total}"
            self._add(one, socket)


HANDLERS = {
    "connect": "_connect",
    "bind": "_bind",
    "listen": "_listen",
    "accept": "_accept",
    "accept4": "_accept",
    "shutdown": "_shutdown",
    "close": "_close",
}
"""The methods for calls that are more than a movement of bytes."""


def _shown(call: Call) -> str:
    address = f", {_end(call.peer)}" if call.peer and call.protocol != "tcp" else ""
    if call.direction == "out":
        return f"{call.name}({call.descriptor}, {_said(call.data)}, {call.requested}{address})"
    return f"{call.name}({call.descriptor}, {call.requested})"


def _said(data: bytes, most: int = 16) -> str:
    text = "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode()
        for c in data[:most].decode("utf-8", "backslashreplace")
    )
    return f'"{text}"' + ("…" if len(data) > most else "")


def _end(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _rest_of(parts: list[str]) -> str:
    return "".join(f", {part}" for part in parts)


def _joined(flags: str, more: str) -> str:
    return f"{flags}|{more}" if flags else more


def _bracketed(text: str) -> str:
    """Return what select() says is ready: ``(in [3], out [4])``, without its timeout."""
    return " ".join(re.findall(r"\[([\d ]+)\]", text))


def _signal_number(name: str) -> int:
    import signal  # noqa: PLC0415

    try:
        return int(signal.Signals[name])
    except KeyError:
        return 0
