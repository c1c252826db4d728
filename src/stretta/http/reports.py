"""What an exchange has to say while it goes on, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stretta.address import Endpoint
from stretta.http.reader import Head
from stretta.reports import Report

__all__ = ["Awaiting", "Connecting", "Redirected", "Requesting", "Responding"]


@dataclass(frozen=True, slots=True)
class Connecting(Report):
    """A connection is about to be made; the host is as the URL names it."""

    event = "connecting"
    server: Endpoint

    def __str__(self) -> str:
        return f"Connecting to server at {self.server}"


@dataclass(frozen=True, slots=True)
class Requesting(Report):
    """The request is about to be sent: its head, byte for byte, and the size of its body."""

    event = "requesting"
    head: bytes
    body: int

    def __str__(self) -> str:
        return self.head.decode("latin-1").replace("\r\n", "\n")

    def as_json(self) -> dict[str, Any]:
        return {"event": self.event, "head": self.head.decode("latin-1"), "body": self.body}


@dataclass(frozen=True, slots=True)
class Awaiting(Report):
    """The request is sent, and nothing has come back yet."""

    event = "awaiting"

    def __str__(self) -> str:
        return "Waiting for response ..."


@dataclass(frozen=True, slots=True)
class Responding(Report):
    """The head of the final response has come."""

    event = "responding"
    head: Head

    def __str__(self) -> str:
        return self.head.raw.decode("utf-8", "backslashreplace").replace("\r\n", "\n")

    def as_json(self) -> dict[str, Any]:
        head = self.head
        return {
            "event": self.event,
            "version": head.version,
            "status": head.status,
            "reason": head.reason,
            "headers": [list(field) for field in head.headers],
        }


@dataclass(frozen=True, slots=True)
class Redirected(Report):
    """A redirect is being followed."""

    event = "redirected"
    status: int
    url: str

    def __str__(self) -> str:
        return f"Redirected ({self.status}) to {self.url}"
