"""The pages that the server writes itself: errors, redirects, and the templates they share."""

from __future__ import annotations

import base64
import json
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from stretta.http.server.negotiation import best_media_type
from stretta.http.server.response import PHRASES, Response

if TYPE_CHECKING:
    import jinja2

__all__ = [
    "HTML",
    "JSON",
    "TEXT",
    "error_reply",
    "page_policy",
    "preload",
    "redirect_reply",
    "render",
]

HTML = "text/html"
JSON = "application/json"
TEXT = "text/plain"

EXPLANATIONS = {
    400: "The request is malformed.",
    401: "A user name and a password are required.",
    404: "There is no file or folder of this name.",
    405: "This method is not allowed for this resource.",
    408: "The request did not arrive in time.",
    500: "The server failed to answer the request.",
    503: "The server is overloaded. Try again later.",
}


@cache
def templates() -> jinja2.Environment:
    """Return the templates' environment, which escapes every value."""
    import jinja2  # noqa: PLC0415 - importing it takes longer than starting a client

    return jinja2.Environment(
        loader=jinja2.PackageLoader("stretta.http.server"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        auto_reload=False,  # the files are not looked at again
    )


def render(template: str, **values: Any) -> bytes:
    """Return a page made from a template; every value is escaped."""
    return templates().get_template(template).render(values).encode("utf-8", "backslashreplace")


def page_policy(style: str, script: str | None = None) -> tuple[str, str]:
    """Return the Content-Security-Policy field of a page with one inline style and one script.

    ``style`` and ``script`` are templates. Their hashes are the only ones that the policy allows;
    images come from this server, and no other page may hold this one in a frame.
    """
    rules = [
        "default-src 'none'",
        f"style-src '{_hash_of(style)}'",
        "img-src 'self' data:",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
    if script is not None:
        rules.append(f"script-src '{_hash_of(script)}'")
    return "Content-Security-Policy", "; ".join(rules)


@cache
def _hash_of(template: str) -> str:
    return "sha256-" + base64.b64encode(sha256(render(template)).digest()).decode()


def error_reply(
    status: int, why: str = "", *headers: tuple[str, str], accept: str | None = None
) -> Response:
    """Return the response for an error: HTML, JSON or plain text, as the Accept field prefers.

    ``why`` explains the error in one sentence; most statuses have a default.
    """
    phrase = PHRASES[status]
    why = why or EXPLANATIONS.get(status, phrase + ".")
    media_type = best_media_type(accept, HTML, JSON, TEXT)
    if media_type == JSON:
        page = json.dumps({"status": status, "error": phrase, "why": why}).encode() + b"\n"
    elif media_type == TEXT:
        page = f"{status} {phrase}\n{why}\n".encode()
    else:
        page = _error_page(status, phrase, why)
    charset = "" if media_type == JSON else "; charset=utf-8"
    policy = page_policy("error.css")
    return Response.of(status, media_type + charset, page, ("Vary", "Accept"), policy, *headers)


def _error_page(status: int, phrase: str, why: str) -> bytes:
    try:
        return render("error.html", status=status, phrase=phrase, why=why)
    except Exception:  # noqa: BLE001 - an error must be reported even without the template
        return f"<!doctype html>\n<title>{status} {phrase}</title>\n".encode()


def redirect_reply(status: int, location: str) -> Response:
    """Return a redirect to a path on this server."""
    return Response(status, [("Location", location)])


def preload() -> None:
    """Load every template, so that pages can be made when no file can be opened any more."""
    for name in ("error.html", "listing.html"):
        templates().get_template(name)
    page_policy("error.css")
    page_policy("listing.css", "listing.js")
