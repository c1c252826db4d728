"""Redirects: the request that a response asks for instead (RFC 9110 section 15.4). Pure."""

from __future__ import annotations

from dataclasses import replace

from stretta.errors import InvalidReply, UsageError
from stretta.escape import escape
from stretta.http.client.request import ClientRequest
from stretta.http.client.response_parser import Head
from stretta.http.message.headers import Headers
from stretta.http.message.url import parse_url

__all__ = ["redirected"]

REDIRECTS = {301, 302, 303, 307, 308}

SECRETS = {"authorization", "cookie", "proxy-authorization"}
"""Fields that are meant for one server, and not for another that it names."""

CONTENT = {"content-length", "content-type", "content-encoding", "content-language"}


def redirected(request: ClientRequest, head: Head) -> ClientRequest | None:
    """Return the request that follows a redirect; None when the response is none.

    A POST becomes a GET after 301 and 302, as everywhere, and every method but HEAD after 303.
    Another host, scheme or port gets no credentials. Raises InvalidReply when the place cannot be
    gone to: no URL, another scheme, or out of https.
    """
    place = head.headers.get_all("location")
    if head.status not in REDIRECTS or not place:
        return None
    try:
        url = parse_url(place[0].encode("latin-1").decode("utf-8", "replace"), request.url)
    except UsageError as error:
        raise _refused(place[0], error.why) from None
    if request.url.scheme == "https" and url.scheme != "https":
        raise _refused(place[0], "it leads out of https: what follows could be read and changed")
    if not url.fragment:
        url = url._replace(fragment=request.url.fragment)  # RFC 9110 section 10.2.2
    if url.origin == request.url.origin and not url.username:
        url = url._replace(username=request.url.username, password=request.url.password)
    dropped: set[str] = set() if url.origin == request.url.origin else SECRETS | {"host"}
    method, body, size = request.method, request.body, request.size
    becomes_get = method == "POST" if head.status in {301, 302} else head.status == 303
    if becomes_get and method not in {"GET", "HEAD"}:
        method, body, size = "GET", b"", 0
        dropped = dropped | CONTENT | {"transfer-encoding", "expect"}
    kept = Headers(field for field in request.headers if field[0].lower() not in dropped)
    return replace(request, url=url, method=method, body=body, size=size, headers=kept)


def _refused(place: str, why: str) -> InvalidReply:
    return InvalidReply(
        f"the redirect to <{escape(place)}> is not followed", why, "To go there, give that URL."
    )
