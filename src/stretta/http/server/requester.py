"""The client of a request, as far as a handler needs to know it."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Requester"]


class Requester(Protocol):
    """The client that sent a request."""

    @property
    def address(self) -> str:
        """The client's IP address."""

    def is_there(self) -> bool:
        """Return whether the client certainly still waits for its response."""
