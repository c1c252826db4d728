"""The events of an exchange, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stretta.address import Endpoint
from stretta.escape import escape, escape_line
from stretta.http.client.response_parser import Head
from stretta.http.message.redaction import redact_head
from stretta.http.message.url import without_password
from stretta.reports import Report

if TYPE_CHECKING:  # plain HTTP does not load TLS
    from stretta.net.client.channel.tls import Secured

__all__ = ["Awaiting", "Interim", "Redirected", "Requesting", "Responding", "Reusing", "Securing"]


@dataclass(eq=False, repr=False)
class Reusing(Report):
    """An idle connection is reused."""

    event = "reusing"
    server: Endpoint

    def __str__(self) -> str:
        return f"Reusing the connection to {self.server}"


@dataclass(eq=False, repr=False)
class Securing(Report):
    """The TLS handshake is complete; ``secured`` holds what was negotiated."""

    event = "secured"
    secured: Secured

    def __str__(self) -> str:
        secured = self.secured
        first = escape_line(f"{secured.version}, {secured.cipher}")
        if not secured.checked:
            return f"{first}\nCertificate not verified: the server may be anyone"
        names = ", ".join(secured.names[:3]) + (", ..." if len(secured.names) > 3 else "")
        subject = f"Certificate of {names or secured.subject}"
        names = f"{subject}, issued by {secured.issuer}, valid until {secured.until}"
        return f"{first}\n{escape_line(names)}"

    def as_json(self) -> dict[str, Any]:
        secured = self.secured
        return {
            "event": self.event,
            "version": secured.version,
            "cipher": secured.cipher,
            "checked": secured.checked,
            "subject": secured.subject,
            "issuer": secured.issuer,
            "until": secured.until,
            "names": secured.names,
        }


@dataclass(eq=False, repr=False)
class Requesting(Report):
    """The request is about to be sent: its head, byte for byte, and the size of its body in bytes.

    ``body`` is None if the size is unknown. ``str()`` and ``as_json()`` hide the credentials.
    """

    event = "requesting"
    head: bytes
    body: int | None

    def __str__(self) -> str:
        return escape(redact_head(self.head).decode("latin-1").replace("\r\n", "\n"))

    def as_json(self) -> dict[str, Any]:
        head = redact_head(self.head).decode("latin-1")
        return {"event": self.event, "head": head, "body": self.body}


@dataclass(eq=False, repr=False)
class Awaiting(Report):
    """The request was sent, and no reply has arrived yet."""

    event = "awaiting"

    def __str__(self) -> str:
        return "Waiting for response ..."


@dataclass(eq=False, repr=False)
class Interim(Report):
    """The head of an interim response (1xx) has arrived."""

    event = "interim"
    head: Head

    def __str__(self) -> str:
        return escape_line(self.head.status_line)

    def as_json(self) -> dict[str, Any]:
        return {"event": self.event, "status": self.head.status}


@dataclass(eq=False, repr=False)
class Responding(Report):
    """The head of the final response has arrived."""

    event = "responding"
    head: Head

    def __str__(self) -> str:
        return escape(self.head.raw.decode("utf-8", "backslashreplace").replace("\r\n", "\n"))

    def as_json(self) -> dict[str, Any]:
        head = self.head
        return {
            "event": self.event,
            "version": head.version,
            "status": head.status,
            "reason": head.reason,
            "headers": [list(field) for field in head.headers],
        }


@dataclass(eq=False, repr=False)
class Redirected(Report):
    """A redirect is followed."""

    event = "redirected"
    status: int
    url: str

    def __str__(self) -> str:
        return f"Redirected ({self.status}) to {escape_line(without_password(self.url))}"

    def as_json(self) -> dict[str, Any]:
        return {"event": self.event, "status": self.status, "url": without_password(self.url)}
