"""From a request for a file to which bytes of which file."""

from __future__ import annotations

import os
from email.utils import parsedate_to_datetime

from stretta.http.folder import Opened, Version
from stretta.http.mime import media_type_of
from stretta.http.reply import Reply, http_date
from stretta.http.request import Request

__all__ = ["FilePieces", "file_reply"]

PIECE = 256 * 1024
"""Bytes read and written at a time: large enough to be cheap, small enough for the cache."""


class FilePieces:
    """A stretch of an open file, piece by piece. Owns the descriptor."""

    __slots__ = ("_at", "_descriptor", "_left")

    def __init__(self, descriptor: int, at: int, length: int) -> None:
        self._descriptor, self._at, self._left = descriptor, at, length

    def __next__(self) -> bytes:
        """Return the next piece; raises OSError where the file has become shorter."""
        if not self._left:
            raise StopIteration
        piece = os.pread(self._descriptor, min(PIECE, self._left), self._at)
        if not piece:
            raise OSError("the file was truncated while it was sent")
        self._at += len(piece)
        self._left -= len(piece)
        return piece

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def file_reply(request: Request, name: str, opened: Opened) -> Reply:
    """Return the reply to a GET or HEAD for an open file, whose descriptor it takes over."""
    status = opened.status
    headers = [("Last-Modified", http_date(status.st_mtime))]
    if not_modified(request, status.st_mtime):
        os.close(opened.descriptor)
        return Reply(304, headers)
    headers.insert(0, ("Content-Type", media_type_of(name)))
    if status.st_size > PIECE:
        pieces = FilePieces(opened.descriptor, 0, status.st_size)
        return Reply(200, headers, pieces, status.st_size)
    try:
        body = read_whole(opened.descriptor, status)
    finally:
        os.close(opened.descriptor)
    return Reply(200, headers, body, len(body))


def read_whole(descriptor: int, status: os.stat_result) -> bytes:
    """Return what a small file holds, all of one version if it changes no more than twice."""
    for _ in range(3):
        body = os.pread(descriptor, status.st_size + 1, 0)
        before, status = Version.of(status), os.fstat(descriptor)
        if Version.of(status) == before:
            break
    return body


def not_modified(request: Request, modified: float) -> bool:
    """Return whether the client's copy is as new (RFC 9110 section 13.1.3)."""
    since = request.headers.get("if-modified-since")
    if since is None or "if-none-match" in request.headers:
        return False
    try:
        return int(modified) <= parsedate_to_datetime(since).timestamp()
    except (ValueError, OverflowError, IndexError):
        return False
