"""Send the body of one response through a transport, at the pace of the peer."""

from __future__ import annotations

import asyncio
from enum import Enum, auto
from typing import cast

from stretta.http.server.files.file_body import FileBody
from stretta.http.server.protocol import ServerProtocol
from stretta.http.server.response import ResponseBody
from stretta.net.server.transport import FastTransport

__all__ = ["BodySender", "Progress", "can_sendfile"]

CHUNKS_PER_ITERATION = 4
"""Chunks of one body that are written before other connections are served."""


class Progress(Enum):
    """How far a body is."""

    DONE = auto()
    BLOCKED = auto()  # until the transport resumes writing
    YIELDED = auto()  # until the next event-loop iteration


class BodySender:
    """Writes a body chunk by chunk, or has the kernel send the file (sendfile(2)).

    The transport's write buffer must be empty before a chunk is produced: all chunks of a body
    share one buffer. With ``chunked`` each is framed (RFC 9112 section 7.1).
    """

    __slots__ = ("_body", "_chunked", "_protocol", "_transport")

    def __init__(
        self,
        transport: asyncio.Transport,
        protocol: ServerProtocol,
        body: ResponseBody,
        *,
        chunked: bool,
    ) -> None:
        self._transport, self._protocol = transport, protocol
        self._body, self._chunked = body, chunked
        transport.set_write_buffer_limits(high=0)

    def close(self) -> None:
        """Release the body."""
        self._body.close()

    def send(self) -> Progress:
        """Write as much as possible now. Raises OSError when the body cannot be completed."""
        for _ in range(CHUNKS_PER_ITERATION):
            if self._protocol.blocked or self._transport.is_closing():
                return Progress.BLOCKED
            if self._send_file_range():
                continue
            try:
                chunk = next(self._body)
            except StopIteration:
                self._end()
                return Progress.DONE
            if chunk:
                self._write(chunk)
        return Progress.BLOCKED if self._protocol.blocked else Progress.YIELDED

    def _write(self, chunk: bytes | memoryview) -> None:
        transport = self._transport
        if self._chunked:
            transport.write(b"%x\r\n" % len(chunk))
        transport.write(chunk)
        self._body.taken(whole=not transport.get_write_buffer_size())
        if self._chunked:
            transport.write(b"\r\n")

    def _send_file_range(self) -> bool:
        """Have the kernel send the next range of a file, where it can; return whether it does."""
        body = self._body
        if not (isinstance(body, FileBody) and can_sendfile(self._transport)):
            return False
        byte_range = body.take_range()
        if byte_range is None:
            return False
        send = cast("FastTransport", self._transport).sendfile
        assert body.file is not None  # noqa: S101 - for the type checker
        sending = send(body.file, byte_range.start, len(byte_range))
        if sending is not None:  # a future; connection_lost tells of its failure
            sending.add_done_callback(lambda done: done.cancelled() or done.exception())
        return True

    def _end(self) -> None:
        self._body.close()
        self._transport.set_write_buffer_limits()
        if self._chunked:
            self._transport.write(b"0\r\n\r\n")


def can_sendfile(transport: asyncio.Transport) -> bool:
    """Return whether the transport has the kernel send files: not with TLS."""
    return hasattr(transport, "sendfile")
