"""Which socket a descriptor means, in every process and thread: dup, fork, close, accept."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from stretta.see.strace_parser import StraceLine, plain_address

__all__ = ["Address", "Descriptors", "Socket"]

Address = tuple[str, int]

NAMED = re.compile(r"(-?\d{1,10})<(TCP|UDP)(?:v6)?:\[(.*?)\]>")
ENDS = re.compile(
    r"\[?([0-9a-fA-F:.]+?)\]?:(\d{1,5})(?:->\[?([0-9a-fA-F:.]+?)\]?:(\d{1,5}))?", re.ASCII
)


@dataclass(slots=True, eq=False)
class Socket:
    """One TCP or UDP socket; its ends become known as calls go by."""

    protocol: str
    local: Address | None = None
    peer: Address | None = None
    listening: bool = False


@dataclass(slots=True)
class Table:
    """One table of descriptors; threads share one."""

    sockets: dict[int, Socket] = field(default_factory=dict)
    epolls: dict[int, dict[int, Socket]] = field(default_factory=dict)

    def copy(self) -> Table:
        return Table(dict(self.sockets), dict(self.epolls))


class Descriptors:
    """The tables of all threads that strace followed."""

    def __init__(self) -> None:
        self.tables: dict[int, Table] = {}
        self.processes: dict[int, int] = {}  # of threads
        self._forking: dict[int, bool] = {}  # threads inside clone(): is the table shared?

    def table(self, thread: int) -> Table:
        """Return a thread's table; a new thread is the child of the one that forks now."""
        if thread not in self.tables:
            parent = next(iter(self._forking), None)
            if parent is None:
                self.tables[thread] = Table()
                self.processes[thread] = thread
            else:
                self._adopt(parent, thread, shared=self._forking[parent])
        return self.tables[thread]

    def forking(self, line: StraceLine) -> None:
        """Note that a thread has entered fork() or clone()."""
        self._forking[line.thread] = "CLONE_FILES" in line.arguments

    def forked(self, line: StraceLine) -> None:
        """Note that fork() or clone() returned in the parent."""
        shared = self._forking.pop(line.thread, False)
        if line.result and line.result > 0 and line.result not in self.tables:
            self._adopt(line.thread, line.result, shared=shared)
        if line.result and "CLONE_THREAD" in line.arguments:
            parent = self.processes.get(line.thread, line.thread)
            self.processes[line.result] = parent

    def _adopt(self, parent: int, child: int, *, shared: bool) -> None:
        table = self.table(parent)
        self.tables[child] = table if shared else table.copy()
        self.processes[child] = child

    def socket(self, thread: int, text: str) -> Socket | None:
        """Return the socket that a printed descriptor means; learn its ends from the text."""
        number, _, _ = text.partition("<")
        if not number.lstrip("-").isdecimal():
            return None
        table = self.table(thread).sockets
        known = table.get(int(number))
        found = NAMED.match(text)
        if found is None:
            if "<" in text:  # something else has this number now
                if known and not text[len(number) :].startswith("<socket:"):
                    del table[int(number)]
                    return None
                return known
            return known
        protocol, ends = found[2].lower(), ENDS.fullmatch(found[3])
        if known is None or known.protocol != protocol:
            known = table[int(number)] = Socket(protocol)
        if ends:
            local = plain_address(ends[1]), int(ends[2])
            peer = (plain_address(ends[3]), int(ends[4])) if ends[3] else None
            if protocol == "tcp" and peer and known.local and known.local[1] != local[1]:
                known = table[int(number)] = Socket(protocol)  # a call that closed it went unseen
            known.local = local
            known.peer = peer or known.peer
        return known

    def returned(self, line: StraceLine) -> Socket | None:
        """Return the socket that a call returned, under its number; it is a new one."""
        if line.result is None or line.result < 0:
            return None
        self.table(line.thread).sockets.pop(line.result, None)
        return self.socket(line.thread, f"{line.result}{line.rest}")

    def duplicated(self, line: StraceLine, source: int) -> None:
        """Note that a call gave another number to a descriptor."""
        if line.result is None or line.result < 0 or line.result == source:
            return
        table = self.table(line.thread)
        table.sockets.pop(line.result, None)
        table.epolls.pop(line.result, None)
        if source in table.sockets:
            table.sockets[line.result] = table.sockets[source]
        if source in table.epolls:
            table.epolls[line.result] = table.epolls[source]

    def closed(self, thread: int, number: int) -> None:
        """Note that a descriptor is closed."""
        table = self.table(thread)
        table.sockets.pop(number, None)
        table.epolls.pop(number, None)
