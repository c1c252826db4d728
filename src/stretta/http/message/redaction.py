"""Hiding credentials in what is shown of a message. Pure."""

from __future__ import annotations

import re

__all__ = ["CREDENTIALS", "HIDDEN", "redact_head", "redact_value"]

CREDENTIALS = frozenset({"authorization", "cookie", "proxy-authorization"})
"""Header fields that hold credentials; names are in lower case."""

HIDDEN = "***"

_FIELD = re.compile(
    rb"^(authorization|cookie|proxy-authorization)(:[ \t]*)([^\r\n]*)", re.IGNORECASE | re.MULTILINE
)


def redact_value(name: str, value: str) -> str:
    """Return the value of a field as it may be shown; the scheme of Authorization is kept.

    >>> redact_value("Authorization", "Basic YTpi"), redact_value("Cookie", "a=b")
    ('Basic ***', '***')
    >>> redact_value("Accept", "*/*")
    '*/*'
    """
    if name.lower() not in CREDENTIALS or not value:
        return value
    scheme, space, _ = value.partition(" ")
    keeps_scheme = space and name.lower() != "cookie" and scheme.isalnum()
    return f"{scheme} {HIDDEN}" if keeps_scheme else HIDDEN


def redact_head(head: bytes) -> bytes:
    r"""Return the head of a request as it may be shown.

    >>> redact_head(b"GET / HTTP/1.1\r\nCookie: a=b\r\n\r\n")
    b'GET / HTTP/1.1\r\nCookie: ***\r\n\r\n'
    """
    return _FIELD.sub(_redact, head)


def _redact(found: re.Match[bytes]) -> bytes:
    name, separator, value = found.groups()
    shown = redact_value(name.decode("latin-1"), value.decode("latin-1"))
    return name + separator + shown.encode("latin-1")
