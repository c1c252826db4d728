"""The interface of the fast transport, typed. Nothing but types."""

from __future__ import annotations

from typing import Any, Protocol

from stretta.services import FastPath

__all__ = ["FastTransport", "File"]


class File(Protocol):
    """An open file."""

    def fileno(self) -> int:
        """Return the file descriptor."""


class FastTransport(Protocol):
    """The methods that the compiled transport adds to those of asyncio.Transport."""

    def fileno(self) -> int:
        """Return the socket's file descriptor; -1 after the connection has ended."""

    def set_fast_path(self, reply: FastPath | None) -> None:
        """Answer received data with ``reply`` before the protocol sees it; None turns that off."""

    def fast_path_used(self) -> bool:
        """Return whether the fast path has answered since the last call."""

    def sendfile(self, file: File, offset: int, count: int) -> Any:
        """Queue ``count`` bytes of a file from ``offset`` on (sendfile(2)); return None."""

    def offer_file(self, head: bytes | bytearray, descriptor: int, offset: int, count: int) -> int:
        """Write ``head``, then send what the kernel takes of a file at once; return its bytes."""
