"""A request as a client makes it: what is asked, and the very bytes that ask it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from string import ascii_letters, digits
from typing import Literal

from stretta import __version__
from stretta.errors import UsageError
from stretta.escape import escape
from stretta.http.client.content_decoding import accepted
from stretta.http.client.request_body import Body
from stretta.http.message.headers import NO_HEADERS, Headers
from stretta.http.message.url import Url

__all__ = ["ClientRequest", "HttpVersion", "basic"]

HttpVersion = Literal["1.0", "1.1"]

_TOKEN = frozenset(b"!#$%&'*+.^_`|~-" + digits.encode() + ascii_letters.encode())
"""The bytes of a token (RFC 9110 section 5.6.2)."""

_VALUE = frozenset([9, *range(0x20, 0x7F), *range(0x80, 0x100)])
"""The bytes of a field's value (RFC 9110 section 5.5)."""


@dataclass(slots=True, kw_only=True, eq=False)
class ClientRequest:
    """One request, checked when it is made.

    ``headers`` are added to those that every request carries, or replace them by name; one with an
    empty value takes the usual one away. ``size`` is that of ``body``, None where only its end will
    tell. With a ``proxy`` the request is in the form that a proxy wants. Raises UsageError when
    the method or a header cannot be sent.

    >>> from stretta.http.message.url import parse_url
    >>> ClientRequest(url=parse_url("*"), version="1.0").head()
    b'GET / HTTP/1.0\\r\\n\\r\\n'
    """

    url: Url
    method: str = "GET"
    headers: Headers = NO_HEADERS
    body: Body = b""
    size: int | None = 0
    version: HttpVersion = "1.1"
    compressed: bool = True
    proxy: Url | None = None

    def __post_init__(self) -> None:
        if not _is_made_of(_TOKEN, self.method):
            raise UsageError(
                f"cannot use the method {escape(self.method)!r}",
                "a method is one word of letters",
                "Methods: GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH.",
            )
        for name, value in self.headers:
            if not (_is_made_of(_TOKEN, name) and _is_made_of(_VALUE, value or " ")):
                raise UsageError(
                    f"cannot send the header {escape(f'{name}: {value}')!r}",
                    "a name is one word, and a value holds no control character",
                    "A header looks like -H 'Accept-Language: it'",
                )
            if name.lower() in {"content-length", "transfer-encoding"}:
                raise UsageError(
                    f"cannot send the header {escape(name)!r} as given",
                    "it tells where the request ends, so it follows from the body",
                    "Leave it out.",
                )

    @property
    def target(self) -> str:
        """The request's target in the form that its receiver wants (RFC 9112 section 3.2)."""
        if self.method == "CONNECT":
            host = f"[{self.url.host}]" if ":" in self.url.host else self.url.host
            return f"{host}:{self.url.port}"
        return self.url.target if self.proxy is None else str(self.url)

    def head(self) -> bytes:
        """Return the request line and the header, as they are sent (RFC 9112 section 3)."""
        lines = [f"{self.method} {self.target} HTTP/{self.version}"]
        lines += [f"{name}: {value}" for name, value in self._fields()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def fields(self) -> Headers:
        """Return all header fields that are sent, the usual ones first."""
        return Headers(self._fields())

    def _fields(self) -> list[tuple[str, str]]:
        if not self.headers:
            return self._usual()
        given = {name.lower() for name, _ in self.headers}
        usual = [field for field in self._usual() if field[0].lower() not in given]
        return [*usual, *(field for field in self.headers if field[1])]

    def _usual(self) -> list[tuple[str, str]]:
        fields: list[tuple[str, str]] = []
        if self.version == "1.1":
            fields = [("Host", self.target if self.method == "CONNECT" else self.url.authority)]
            fields.append(("User-Agent", f"stretta/{__version__}"))
            if self.method != "CONNECT":
                fields.append(("Accept", "*/*"))
                codings = ", ".join(accepted()) if self.compressed else ""
                fields += [("Accept-Encoding", codings)] if codings else []
        elif not (":" in self.url.host or self.url.host.rpartition(".")[2].isdecimal()):
            # the lecture's request is its first line alone; a name may be one of many at its server
            fields = [("Host", self.url.authority)]
        if self.url.username and self.method != "CONNECT":
            fields.append(("Authorization", basic(self.url.username, self.url.password)))
        if self.proxy is not None and self.proxy.username:
            secret = basic(self.proxy.username, self.proxy.password)
            fields.append(("Proxy-Authorization", secret))
        if self.size is None:
            fields.append(("Transfer-Encoding", "chunked"))
        elif self.size or self.method in {"POST", "PUT", "PATCH"}:
            fields.append(("Content-Length", str(self.size)))
        return fields


def _is_made_of(allowed: frozenset[int], text: str) -> bool:
    try:
        return bool(text) and allowed.issuperset(text.encode("latin-1"))
    except UnicodeEncodeError:
        return False


def basic(user: str, password: str) -> str:
    """Return the credentials of a URL, percent-encoded there, as RFC 7617 sends them.

    >>> basic("anna", "a%3Ab")
    'Basic YW5uYTphOmI='
    """
    from base64 import b64encode  # noqa: PLC0415 - few requests need them
    from urllib.parse import unquote_to_bytes  # noqa: PLC0415

    pair = unquote_to_bytes(user) + b":" + unquote_to_bytes(password)
    return "Basic " + b64encode(pair).decode("ascii")
