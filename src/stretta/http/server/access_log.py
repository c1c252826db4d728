"""The access log: one line for each request, in the formats that other tools read."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable
from typing import Literal

from stretta.http.server.request import NO_REQUEST, Request
from stretta.options.site import WebOptions

__all__ = ["LOGGED_HEADERS", "AccessLog", "LogFormat"]

LogFormat = Literal["common", "combined", "json"]

LOGGED_HEADERS = ("referer", "user-agent")
"""Request headers that a line may contain."""

UNSEEN = re.compile(r'[^\x21-\x7e]|["\\\[]')
"""Characters that are escaped in a user name, which stands outside quotation marks."""


class Escapes(dict[int, str]):
    """Translates a text between quotation marks, in one call of ``str.translate``."""

    def __init__(self) -> None:
        super().__init__((code, chr(code)) for code in range(0x20, 0x7F) if chr(code) not in '"\\')
        for code in {*range(256)} - {*self}:
            self[code] = f"\\x{code:02x}"

    def __missing__(self, code: int) -> str:
        return f"\\x{code:02x}"


ESCAPES = Escapes()


def quoted(text: str) -> str:
    r"""Return a peer's text in quotation marks; whatever could end them or the line is escaped.

    >>> print(quoted('a "quoted"\r\nword'))
    "a \x22quoted\x22\x0d\x0aword"
    """
    return f'"{text.translate(ESCAPES)}"'


def _escape(found: re.Match[str]) -> str:
    return f"\\x{ord(found[0]):02x}"


class AccessLog:
    """Collects the lines of one event-loop iteration and passes them to ``sink`` together.

    ``clock`` returns the time in seconds since 1970. Raises UsageError for an unknown ``form``.
    """

    def __init__(
        self,
        sink: Callable[[str], object],
        form: LogFormat = "common",
        clock: Callable[[], float] = time.time,
    ) -> None:
        WebOptions(log=form)  # raises UsageError for another form
        self._sink, self._clock = sink, clock
        self._line = {"common": self._common, "combined": self._combined, "json": self._json}[form]
        self._lines: list[str] = []
        self._second, self._stamp = -1, ""

    def add(self, client: str, request: Request, status: int, size: int | None) -> None:
        """Log an answered request; ``size`` is that of the body in bytes, None if unknown."""
        if not self._lines:
            asyncio.get_running_loop().call_soon(self.flush)
        self._lines.append(self._line(client, request, status, size))

    def flush(self) -> None:
        """Pass on the lines collected so far."""
        if self._lines:
            text = "\n".join(self._lines)
            self._lines.clear()
            self._sink(text)

    def _time(self, form: str) -> str:
        now = int(self._clock())
        if now != self._second:
            self._second, self._stamp = now, time.strftime(form, time.localtime(now))
        return self._stamp

    def _common(self, client: str, request: Request, status: int, size: int | None) -> str:
        at = self._time("%d/%b/%Y:%H:%M:%S %z")
        target = request.target.decode("latin-1")
        made_out = request is not NO_REQUEST
        line = quoted(f"{request.method} {target} HTTP/{request.version}" if made_out else "-")
        user = UNSEEN.sub(_escape, request.user or "-")
        return f"{client} - {user} [{at}] {line} {status} {'-' if size is None else size}"

    def _combined(self, client: str, request: Request, status: int, size: int | None) -> str:
        referer = quoted(request.headers.get("referer", "-"))
        agent = quoted(request.headers.get("user-agent", "-"))
        return f"{self._common(client, request, status, size)} {referer} {agent}"

    def _json(self, client: str, request: Request, status: int, size: int | None) -> str:
        return json.dumps(
            {
                "event": "answered",
                "client": client,
                "user": request.user,
                "at": self._time("%Y-%m-%dT%H:%M:%S%z"),
                "method": request.method,
                "target": request.target.decode("latin-1"),
                "version": request.version,
                "status": status,
                "bytes": size,
                "referer": request.headers.get("referer"),
                "agent": request.headers.get("user-agent"),
            }
        )
