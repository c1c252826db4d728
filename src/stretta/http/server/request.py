"""A request as a value, its client, and the refusal of one. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

__all__ = ["NO_REQUEST", "Refused", "Request", "Requester"]


@dataclass(slots=True)
class Request:
    """One request with its body. Header names are in lower case; repeated headers are joined."""

    method: str
    target: bytes
    version: str
    headers: dict[str, str]
    keep_alive: bool
    body: bytes = b""
    user: str | None = None  # the authenticated user, where a password is required


NO_REQUEST = Request("-", b"-", "1.1", {}, keep_alive=False)
"""Stands in the log for input in which no request was recognised."""


class Refused(Exception):
    """A request that gets an error response: its status, and the reason in plain words.

    ``request`` holds as much of the request as was understood.
    """

    def __init__(self, status: int, why: str, request: Request = NO_REQUEST) -> None:
        super().__init__(why)
        self.status, self.why, self.request = status, why, request


class Requester(Protocol):
    """The client that sent a request, as far as a handler needs to know it."""

    @property
    def address(self) -> str:
        """The client's IP address."""

    @property
    def sends_files(self) -> bool:
        """Whether the kernel can send a file to the client, with sendfile(2)."""

    def is_there(self) -> bool:
        """Return whether the client certainly still waits for its response."""
