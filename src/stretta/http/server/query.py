"""The fields of a URL's query, as an HTML form sends them. Pure."""

from __future__ import annotations

from urllib.parse import unquote_plus

__all__ = ["query_fields"]

MAX_BYTES, MAX_FIELDS = 4096, 16
"""A query beyond these bounds has no fields: none of our pages sends one."""


def query_fields(query: str) -> dict[str, str]:
    """Return the fields of a query (application/x-www-form-urlencoded); of equal names the first.

    >>> query_fields("q=a+b%21&page=2&page=3")
    {'q': 'a b!', 'page': '2'}
    """
    if len(query) > MAX_BYTES or query.count("&") >= MAX_FIELDS:
        return {}
    fields: dict[str, str] = {}
    for field in query.split("&"):
        name, equals, value = field.partition("=")
        if equals:
            fields.setdefault(unquote_plus(name), unquote_plus(value))
    return fields
