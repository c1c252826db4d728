"""What a status means to who asked. Pure."""

from __future__ import annotations

from stretta.errors import HttpStatus
from stretta.escape import one_line
from stretta.http.client.response_parser import Head

__all__ = ["status_error"]


def status_error(head: Head, url: str) -> HttpStatus | None:
    """Return the error that a status is, or None for 2xx and what is no class at all."""
    if head.status // 100 not in {3, 4, 5}:
        return None
    words = one_line(f"{head.status} {head.reason}")
    if head.status == 304:
        return HttpStatus(head.status, f"{url} answered {words}", "what you have is still valid")
    if head.status < 400:
        place = head.headers.get("location")
        return HttpStatus(
            head.status,
            f"{url} answered {words}",
            f"the object is at {one_line(place)}" if place else "it names no place to go",
            "To go there: --follow" if place else "",
        )
    who = "the server refused the request" if head.status < 500 else "the server failed"
    hint = "To say who you are: --auth USER:PASSWORD" if head.status == 401 else ""
    return HttpStatus(head.status, f"{url} answered {words}", who, hint)
