"""Pages that the server makes itself: errors, redirects; from templates, every value escaped."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from stretta.http.server.response import PHRASES, Response

if TYPE_CHECKING:
    import jinja2

__all__ = ["HTML", "JSON", "TEXT", "best_type", "error_reply", "redirect_reply", "render"]

HTML = "text/html"
JSON = "application/json"
TEXT = "text/plain"

EXPLANATIONS = {
    400: "The request cannot be understood.",
    401: "Reading here takes a name and a password.",
    404: "There is nothing here by this name.",
    405: "This cannot be done here.",
    408: "The request did not arrive in time.",
    500: "Something went wrong here; the request was fine.",
    503: "There is too much to do at the moment; ask again soon.",
}


@cache
def templates() -> jinja2.Environment:
    """Return the environment of the templates, loaded when the first page is made."""
    import jinja2  # noqa: PLC0415 - a server of files may never need it

    return jinja2.Environment(
        loader=jinja2.PackageLoader("stretta.http.server"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )


def render(template: str, **values: Any) -> bytes:
    """Return a page made from a template, every value escaped."""
    return templates().get_template(template).render(values).encode("utf-8", "backslashreplace")


def best_type(accept: str | None, *offered: str) -> str:
    """Return the media type that a client likes best among those offered, the first by default.

    >>> best_type("application/json, */*;q=0.1", "text/html", "application/json")
    'application/json'
    >>> best_type("image/png", "text/html", "text/plain")
    'text/html'
    """
    if not accept or accept == "*/*":
        return offered[0]
    asked: MIMEAccept = parse_accept_header(accept, MIMEAccept)
    return asked.best_match(offered, offered[0])


def error_reply(
    status: int, why: str = "", *headers: tuple[str, str], accept: str | None = None
) -> Response:
    """Return the page of an error, in plain words, as HTML, JSON or text as the client likes."""
    phrase = PHRASES[status]
    why = why or EXPLANATIONS.get(status, phrase + ".")
    kind = best_type(accept, HTML, JSON, TEXT)
    if kind == JSON:
        page = json.dumps({"status": status, "error": phrase, "why": why}).encode() + b"\n"
    elif kind == TEXT:
        page = f"{status} {phrase}\n{why}\n".encode()
    else:
        page = render("error.html", status=status, phrase=phrase, why=why)
    charset = "" if kind == JSON else "; charset=utf-8"
    return Response.of(status, kind + charset, page, ("Vary", "Accept"), *headers)


def redirect_reply(status: int, location: str) -> Response:
    """Return a redirect to a path of this server."""
    return Response(status, [("Location", location)])
