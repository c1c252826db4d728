"""The error that a status code means to the client. Pure."""

from __future__ import annotations

from stretta.errors import HttpStatus
from stretta.escape import one_line
from stretta.http.client.response_parser import Head
from stretta.http.message.url import without_password

__all__ = ["status_error"]


def status_error(head: Head, url: str) -> HttpStatus | None:
    """Return the error for a status of 3xx, 4xx or 5xx, None for any other."""
    if head.status // 100 not in {3, 4, 5}:
        return None
    answer = f"{url} answered {one_line(f'{head.status} {head.reason}')}"
    if head.status == 304:
        return HttpStatus(head.status, answer, "your copy is still valid")
    if head.status < 400:
        location = without_password(head.headers.get("location") or "")
        return HttpStatus(
            head.status,
            answer,
            f"the object is at {one_line(location)}" if location else "no Location says where",
            "To follow redirects: --follow" if location else "",
        )
    why = "the server refused the request" if head.status < 500 else "the server failed"
    hint = "To send a user name and password: --auth USER:PASSWORD" if head.status == 401 else ""
    return HttpStatus(head.status, answer, why, hint)
