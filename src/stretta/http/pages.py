"""Pages that the server makes itself: errors, redirects, listings; from templates, escaped."""

from __future__ import annotations

from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from stretta.http.reply import Reply

if TYPE_CHECKING:
    import jinja2

__all__ = ["error_reply", "redirect_reply", "render"]

HTML = "text/html; charset=utf-8"

PLAIN_WORDS = {
    400: "The request cannot be understood.",
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
        loader=jinja2.PackageLoader("stretta.http"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )


def render(template: str, **values: Any) -> bytes:
    """Return a page made from a template, every value escaped."""
    return templates().get_template(template).render(values).encode("utf-8", "backslashreplace")


def error_reply(status: int, why: str = "", *headers: tuple[str, str]) -> Reply:
    """Return the page of an error, in plain words."""
    phrase = HTTPStatus(status).phrase
    why = why or PLAIN_WORDS.get(status, phrase + ".")
    page = render("error.html", status=status, phrase=phrase, why=why)
    return Reply.of(status, HTML, page, *headers)


def redirect_reply(status: int, location: str) -> Reply:
    """Return a redirect to a path of this server."""
    page = render("moved.html", location=location)
    return Reply.of(status, HTML, page, ("Location", location))
