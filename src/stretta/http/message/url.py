"""URLs, parsed as the WHATWG standard says, and the short forms that people type. Pure."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from ada_url import URL

from stretta.errors import UsageError
from stretta.escape import escape

__all__ = ["LECTURE_URL", "PORTS", "Url", "parse_url", "without_password"]

LECTURE_URL = "http://127.0.0.1:8080/"
"""The meaning of ``*``."""

PORTS = {"http": 80, "https": 443}
"""The supported schemes and their default ports (RFC 9110 section 4.2)."""

# a scheme; but localhost:8080/x is a host and a port
_SCHEME = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]*):(?!\d+(?:[/?#]|\s*$))")

# a user and a password without a scheme before them: anna:secret@localhost, as in curl
_USER = re.compile(r"(?!\s*https?:)(?!\s*[A-Za-z][A-Za-z0-9+.-]*:[/\\])[^/\\?#]*@", re.IGNORECASE)

_SECRET = re.compile(
    r"(\s*(?:[A-Za-z][A-Za-z0-9+.-]*:[/\\]+|https?:|[/\\]+)?)[^/\\?#]*@", re.IGNORECASE
)


class Url(NamedTuple):
    """A parsed http or https URL; every part is normalized and ASCII.

    ``host`` is without brackets; ``target`` is the path with the query, as in a request line.
    """

    scheme: str
    host: str
    port: int
    target: str
    username: str = ""
    password: str = ""
    fragment: str = ""

    @property
    def authority(self) -> str:
        """The host, and the port unless it is the scheme's default, as in a Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port (RFC 6454)."""
        return self.scheme, self.host, self.port

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def href(self) -> str:
        """The whole URL, with user, password and fragment."""
        user = self.username + (f":{self.password}" if self.password else "")
        authority = f"{user}@{self.authority}" if user else self.authority
        fragment = f"#{self.fragment}" if self.fragment else ""
        return f"{self.scheme}://{authority}{self.target}{fragment}"

    def __repr__(self) -> str:
        return f"Url({str(self)!r})"

    def __str__(self) -> str:
        """Return the URL without user, password and fragment: it can be shown and sent."""
        return f"{self.scheme}://{self.authority}{self.target}"


MAX_CACHED = 2048
"""Characters of a URL whose result is cached."""


def parse_url(text: str, base: Url | None = None) -> Url:
    """Return the parsed URL, by the WHATWG URL standard.

    The default scheme is http, the default host (``:8080/x``) this machine, and ``*`` means the
    lecture's server. With a ``base``, as in a redirect, the text may be relative and has no short
    forms. Raises UsageError, which says what is wrong.

    >>> str(parse_url("Localhost:8080/a/../b c?q=1")), str(parse_url(":8080/x"))
    ('http://localhost:8080/b%20c?q=1', 'http://127.0.0.1:8080/x')
    >>> str(parse_url("../d", base=parse_url("example.com/a/b/c")))
    'http://example.com/a/d'
    """
    return (_parse_cached if len(text) <= MAX_CACHED else _parse)(text, base)


def _parse(text: str, base: Url | None) -> Url:
    full = text if base is not None else _expand(text)
    try:
        found = URL(full, base.href if base is not None else None)
    except (ValueError, UnicodeError):
        raise _bad_url(text, _why_invalid(full)) from None
    scheme = found.protocol[:-1]
    if scheme not in PORTS:
        raise _bad_url(text, f"the scheme {scheme} is not supported, only http and https")
    return Url(
        scheme=scheme,
        host=found.hostname.removeprefix("[").removesuffix("]"),
        port=int(found.port) if found.port else PORTS[scheme],
        target=found.pathname + found.search,
        username=found.username,
        password=found.password,
        fragment=found.hash[1:],
    )


_parse_cached = lru_cache(maxsize=256)(_parse)


def without_password(text: str) -> str:
    """Return the text of a URL, valid or not, without the user and password in it.

    >>> without_password("http://anna:x@a/b@c"), without_password("anna:x@a"), without_password("a")
    ('http://a/b@c', 'a', 'a')
    """
    return _SECRET.sub(r"\1", text, count=1) if _SECRET.match(text) else text


def _expand(text: str) -> str:
    """Return the full form of a URL that a person typed."""
    text = text.strip()
    if text == "*":
        return LECTURE_URL
    if text.startswith(":"):
        return f"http://127.0.0.1{text}"
    rooted = text.startswith("/") and not text.startswith("//")
    if not text or rooted or (_SCHEME.match(text) and not _USER.match(text)):
        return text
    return f"http://{text.removeprefix('//')}"


def _bad_url(text: str, why: str) -> UsageError:
    return UsageError(
        f"cannot use the URL <{escape(without_password(text))}>",
        why,
        "A URL looks like http://127.0.0.1:8080/file.txt. Short forms: :8080/file.txt,"
        " localhost/file.txt, * for " + LECTURE_URL,
    )


def _why_invalid(text: str) -> str:
    """Return what is wrong with a URL that the standard rejects; mostly it is the host."""
    found = re.match(r"\s*(?:[A-Za-z][A-Za-z0-9+.-]*:)?[/\\]*([^/\\?#]*)", text)
    host = found[1].rpartition("@")[2] if found else ""
    if not text.strip():
        return "it is empty"
    if text.startswith("/"):
        return "it names no host"
    if host.startswith("["):
        if "]" not in host:
            return "the bracket of its IPv6 address is not closed"
        if "%" in host:
            return "a URL cannot hold the zone of an IPv6 address"
        address, _, rest = host[1:].partition("]")
        if rest.startswith(":") and _bad_port(rest[1:]):
            return f"{escape(rest[1:])!r} is not a port: ports are 0..65535"
        return f"{escape(address)!r} is not an IPv6 address"
    host, colon, port = host.partition(":")
    if ":" in port:
        return "an IPv6 address needs brackets, as in http://[::1]:8080/"
    if colon and _bad_port(port):
        return f"{escape(port)!r} is not a port: ports are 0..65535"
    if not host:
        return "it names no host"
    if re.search(r"[\x00-\x20\x7f<>^|%]", host):
        return "its host holds a character that host names cannot have"
    if re.fullmatch(r"(?:.*\.)?(?:\d+|0[xX][0-9a-fA-F]*)\.?", host):
        return f"{escape(host)!r} is not an IPv4 address"
    return f"{escape(host)!r} is not a host name"


def _bad_port(text: str) -> bool:
    return bool(text) and not (text.isascii() and text.isdecimal() and int(text[:9]) < 65536)
