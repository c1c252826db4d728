"""The events of a conversation, as values: an observer is called with each.

``str()`` of a report is the lecture's line, with control characters escaped; its fields are the
JSON object's. The classes are not frozen: that would cost a client's start 0.5 ms for each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from stretta.address import Endpoint
from stretta.escape import escape_line

__all__ = [
    "Asked",
    "Closed",
    "Connected",
    "Connecting",
    "Dropped",
    "Limited",
    "LookedUp",
    "NotReached",
    "Observer",
    "Received",
    "Reloaded",
    "Report",
    "Resending",
    "Sent",
    "Serving",
    "Stopped",
    "Stopping",
    "TrustedLocally",
    "Unanswered",
    "Waiting",
    "WorkerEnded",
    "WorkerNotStarted",
]


class Report:
    """One event."""

    event: ClassVar[str]

    def as_json(self) -> dict[str, Any]:
        """Return the report as a JSON object: ``event`` and its fields, addresses as host, port."""
        fields: dict[str, Any] = {"event": self.event}
        for name in self.__dataclass_fields__:  # type: ignore[attr-defined]  # each report is one
            value = getattr(self, name)
            fields[name] = list(value) if isinstance(value, Endpoint) else value
        return fields


Observer = Callable[[Report], None]


@dataclass(eq=False, repr=False)
class Waiting(Report):
    """A server has begun to accept."""

    event = "waiting"
    at: Endpoint

    def __str__(self) -> str:
        return f"Server waiting on {self.at}"


@dataclass(eq=False, repr=False)
class Serving(Report):
    """An HTTP server has begun to accept, at these URLs."""

    event = "serving"
    port: int
    urls: list[str]
    folder: str
    shared: bool = False
    trust: str | None = None

    def __str__(self) -> str:
        lines = [
            f"Serving at port {self.port}/tcp ...",
            *(f"  {escape_line(url)}" for url in self.urls),
        ]
        lines.append(f"Folder: {escape_line(self.folder)}")
        if self.shared:
            lines.append(
                "Others on your network can read it. To keep it to this machine: -a 127.0.0.1"
            )
        if self.trust is not None:
            file = escape_line(self.trust)
            lines.append(f"To trust the certificate, import {file} or: curl --cacert {file} ...")
        return "\n".join([*lines, "To stop: Ctrl-C"])


@dataclass(eq=False, repr=False)
class LookedUp(Report):
    """The addresses of a host are known, in the order in which they are tried."""

    event = "looked up"
    host: str
    addresses: list[str]

    def __str__(self) -> str:
        return escape_line(f"{self.host} is {', '.join(self.addresses)}")


@dataclass(eq=False, repr=False)
class Connecting(Report):
    """A connection attempt to an address begins: a SYN is sent."""

    event = "connecting"
    server: Endpoint

    def __str__(self) -> str:
        return f"Connecting to server at {self.server}"


@dataclass(eq=False, repr=False)
class NotReached(Report):
    """A connection attempt to an address has failed."""

    event = "not reached"
    server: Endpoint
    why: str

    def __str__(self) -> str:
        return f"No connection to {self.server}: {escape_line(self.why)}"


@dataclass(eq=False, repr=False)
class Unanswered(Report):
    """An address has not answered yet; the next one is tried as well (RFC 8305)."""

    event = "unanswered"
    server: Endpoint
    waited: float

    def __str__(self) -> str:
        return f"No answer from {self.server} for {self.waited:g} s; trying the next one as well"


@dataclass(eq=False, repr=False)
class Connected(Report):
    """A client's connection is established: the three-way handshake is over."""

    event = "connected"
    server: Endpoint

    def __str__(self) -> str:
        return f"Connected to server at {self.server}"


@dataclass(eq=False, repr=False)
class TrustedLocally(Report):
    """The local authority of the same user has signed the server's certificate."""

    event = "trusted locally"
    authority: str

    def __str__(self) -> str:
        return f"Certificate signed by this machine's own authority, {escape_line(self.authority)}"


@dataclass(eq=False, repr=False)
class Closed(Report):
    """A client's connection is closed."""

    event = "closed"
    server: Endpoint

    def __str__(self) -> str:
        return f"Connection closed with server at {self.server}"


@dataclass(eq=False, repr=False)
class Asked(Report):
    """A client has sent its datagram."""

    event = "asked"
    server: Endpoint

    def __str__(self) -> str:
        return "Waiting for server response..."


@dataclass(eq=False, repr=False)
class Resending(Report):
    """No reply to a datagram arrived in time; it is sent again."""

    event = "resending"
    server: Endpoint
    waited: float
    attempt: int
    retries: int

    def __str__(self) -> str:
        return (
            f"No reply in {self.waited:g} s: the datagram or its reply may be lost."
            f" Sending again ({self.attempt} of {self.retries})..."
        )


@dataclass(eq=False, repr=False)
class Received(Report):
    """A server has received a request, or the first bytes of one."""

    event = "received"
    client: Endpoint

    def __str__(self) -> str:
        return f"Received request from {self.client}"


@dataclass(eq=False, repr=False)
class Sent(Report):
    """A server has answered everything that it has received."""

    event = "sent"
    client: Endpoint

    def __str__(self) -> str:
        return f"Sent reply to {self.client}"


@dataclass(eq=False, repr=False)
class Dropped(Report):
    """A server ends or refuses a conversation, or does not answer a datagram."""

    event = "dropped"
    client: Endpoint
    why: str

    def __str__(self) -> str:
        return f"Dropped {self.client}: {escape_line(self.why)}"


@dataclass(eq=False, repr=False)
class Reloaded(Report):
    """A server has read a file again; ``error`` is the reason why it keeps the previous content."""

    event = "reloaded"
    error: str | None
    what: str = "certificate"

    def __str__(self) -> str:
        what = escape_line(self.what)
        if self.error is None:
            return f"Reloaded the {what}: new connections get the new one."
        return f"Not reloaded, the old {what} stays: {escape_line(self.error)}"


@dataclass(eq=False, repr=False)
class Stopping(Report):
    """A server accepts nothing new, and lets open conversations end."""

    event = "stopping"
    open: int
    limit: float

    def __str__(self) -> str:
        what = "conversation" if self.open == 1 else "conversations"
        return (
            f"Stopping: {self.open} {what} may take {self.limit:g} s to end."
            " Ctrl-C again stops at once."
        )


@dataclass(eq=False, repr=False)
class Stopped(Report):
    """A server has stopped; ``counts`` says what it did."""

    event = "stopped"
    counts: dict[str, int]

    def __str__(self) -> str:
        counts = ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in self.counts.items())
        return escape_line(f"Server stopped: {counts or 'no requests'}")


@dataclass(eq=False, repr=False)
class WorkerEnded(Report):
    """A worker process has ended unexpectedly; another replaces it."""

    event = "worker ended"
    pid: int
    why: str

    def __str__(self) -> str:
        return f"Worker {self.pid} ended {escape_line(self.why)}; another takes its place"


@dataclass(eq=False, repr=False)
class WorkerNotStarted(Report):
    """The system had no resources for a worker process; it is tried again in ``delay`` seconds."""

    event = "worker not started"
    why: str
    delay: float

    def __str__(self) -> str:
        return f"Cannot start a worker: {escape_line(self.why)}; trying again in {self.delay:g} s"


@dataclass(eq=False, repr=False)
class Limited(Report):
    """A server can open fewer connections than its default, or than it was asked for."""

    event = "limited"
    connections: int
    descriptors: int

    def __str__(self) -> str:
        what = "connection" if self.connections == 1 else "connections"
        return (
            f"Room for {self.connections} {what} at once: this process may open"
            f" {self.descriptors} files. For more: ulimit -n NUMBER"
        )
