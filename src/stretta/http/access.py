"""The access log: one report a request."""

from __future__ import annotations

import time
from dataclasses import dataclass

from stretta.reports import Report

__all__ = ["Answered"]


@dataclass(frozen=True, slots=True)
class Answered(Report):
    """An HTTP server has answered a request; ``at`` is in seconds since 1970, ``size`` in bytes.

    Its line is the Common Log Format's.
    """

    event = "answered"
    client: str
    at: float
    method: str
    target: str
    version: str
    status: int
    size: int | None

    def __str__(self) -> str:
        at = time.strftime("%d/%b/%Y:%H:%M:%S %z", time.localtime(self.at))
        target = self.target.replace('"', "%22")
        size = "-" if self.size is None else self.size
        line = f"{self.method} {target} HTTP/{self.version}"
        return f'{self.client} - - [{at}] "{line}" {self.status} {size}'
