"""A client's request: checked when it is made, and encoded as bytes. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO, Literal

from stretta import __version__
from stretta.errors import UsageError
from stretta.escape import escape
from stretta.http.client.content_decoding import accepted
from stretta.http.message.headers import NO_HEADERS, Headers, is_field_value, is_token
from stretta.http.message.redaction import redact_value
from stretta.http.message.url import Url

__all__ = ["Body", "ClientRequest", "HttpVersion", "basic"]

Body = bytes | BinaryIO

HttpVersion = Literal["1.0", "1.1"]


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class ClientRequest:
    """One request.

    ``headers`` are added to the default ones, or replace them by name; an empty value removes a
    default one. ``size`` is that of ``body`` in bytes, None if unknown. With a ``proxy`` the
    request has the form that a proxy expects. Raises UsageError when the method or a header cannot
    be sent.

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
        if not is_token(self.method):
            raise UsageError(
                f"cannot use the method {escape(self.method)!r}",
                "a method is one word",
                "Methods: GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH.",
            )
        for name, value in self.headers:
            if not (is_token(name) and is_field_value(value)):
                raise UsageError(
                    f"cannot send the header {escape(f'{name}: {redact_value(name, value)}')!r}",
                    "a name is one word, and a value has no control characters",
                    "A header looks like -H 'Accept-Language: it'",
                )
            if name.lower() in {"content-length", "transfer-encoding"}:
                raise UsageError(
                    f"cannot send the header {escape(name)!r} as given",
                    "it says where the request ends, so it is computed from the body",
                    "Leave it out.",
                )

    def __repr__(self) -> str:
        return f"ClientRequest({self.method!r}, {str(self.url)!r})"

    @property
    def target(self) -> str:
        """The request target, in the form for a server or for a proxy (RFC 9112 section 3.2)."""
        if self.method == "CONNECT":
            host = f"[{self.url.host}]" if ":" in self.url.host else self.url.host
            return f"{host}:{self.url.port}"
        return self.url.target if self.proxy is None else str(self.url)

    def head(self) -> bytes:
        """Return the request line and the header fields as bytes (RFC 9112 section 3)."""
        lines = [f"{self.method} {self.target} HTTP/{self.version}"]
        lines += [f"{name}: {value}" for name, value in self._fields()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def fields(self) -> Headers:
        """Return the header fields that are sent, the default ones first."""
        return Headers(self._fields())

    def _fields(self) -> list[tuple[str, str]]:
        if not self.headers:
            return self._default_fields()
        given = {name.lower() for name, _ in self.headers}
        defaults = [field for field in self._default_fields() if field[0].lower() not in given]
        return [*defaults, *(field for field in self.headers if field[1])]

    def _default_fields(self) -> list[tuple[str, str]]:
        fields: list[tuple[str, str]] = []
        if self.version == "1.1":
            fields = [("Host", self.target if self.method == "CONNECT" else self.url.authority)]
            fields.append(("User-Agent", f"stretta/{__version__}"))
            if self.method != "CONNECT":
                fields.append(("Accept", "*/*"))
                codings = ", ".join(accepted()) if self.compressed else ""
                fields += [("Accept-Encoding", codings)] if codings else []
        elif not (":" in self.url.host or self.url.host.rpartition(".")[2].isdecimal()):
            # the lecture's request is one line; a name needs Host, as many may share an address
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


def basic(user: str, password: str) -> str:
    """Return the Authorization value for percent-encoded credentials (RFC 7617).

    >>> basic("anna", "a%3Ab")
    'Basic YW5uYTphOmI='
    """
    from base64 import b64encode  # noqa: PLC0415 - few requests have credentials
    from urllib.parse import unquote_to_bytes  # noqa: PLC0415

    pair = unquote_to_bytes(user) + b":" + unquote_to_bytes(password)
    return "Basic " + b64encode(pair).decode("ascii")
