"""Redirects: the request that follows a 3xx response (RFC 9110 section 15.4). Pure."""

from __future__ import annotations

from dataclasses import replace

from stretta.errors import InvalidReply, UsageError
from stretta.escape import escape
from stretta.http.client.request import ClientRequest
from stretta.http.client.response_parser import Head
from stretta.http.message.headers import Headers
from stretta.http.message.redaction import CREDENTIALS
from stretta.http.message.url import parse_url, without_password

__all__ = ["redirected"]

REDIRECTS = frozenset({301, 302, 303, 307, 308})

CONTENT = frozenset({"content-length", "content-type", "content-encoding", "content-language"})
"""Header fields that describe the body."""


def redirected(request: ClientRequest, head: Head) -> ClientRequest | None:
    """Return the request that follows a redirect, None if the response is not a redirect.

    POST becomes GET after 301 and 302, as in browsers, and every method but HEAD after 303. Another
    origin (scheme, host, port) gets no credentials. Raises InvalidReply when the target is not a
    URL, has another scheme than http and https, or leads from https to http.
    """
    locations = head.headers.get_all("location")
    if head.status not in REDIRECTS or not locations:
        return None
    location = locations[0]
    try:
        url = parse_url(location.encode("latin-1").decode("utf-8", "replace"), request.url)
    except UsageError as error:
        raise _refused(location, error.why) from None
    if request.url.scheme == "https" and url.scheme != "https":
        raise _refused(
            location, "it leads from https to http, where anybody can read and change it"
        )
    if not url.fragment:
        url = url._replace(fragment=request.url.fragment)  # RFC 9110 section 10.2.2
    same_origin = url.origin == request.url.origin
    if same_origin and not url.username:
        url = url._replace(username=request.url.username, password=request.url.password)
    dropped = frozenset() if same_origin else CREDENTIALS | {"host"}
    method, body, size = request.method, request.body, request.size
    becomes_get = method == "POST" if head.status in {301, 302} else head.status == 303
    if becomes_get and method not in {"GET", "HEAD"}:
        method, body, size = "GET", b"", 0
        dropped |= CONTENT | {"transfer-encoding", "expect"}
    headers = Headers(field for field in request.headers if field[0].lower() not in dropped)
    return replace(request, url=url, method=method, body=body, size=size, headers=headers)


def _refused(location: str, why: str) -> InvalidReply:
    return InvalidReply(
        f"the redirect to <{escape(without_password(location))}> is not followed",
        why,
        "To follow it yourself, request that URL.",
    )
