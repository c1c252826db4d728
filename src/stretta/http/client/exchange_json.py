"""The record of an exchange, and its JSON document. Pure."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stretta.address import Endpoint
from stretta.errors import StrettaError
from stretta.http.client.exchange_state import ExchangeState, Phases
from stretta.http.client.request import ClientRequest
from stretta.http.client.response_parser import Head
from stretta.http.message.charset import charset_of, is_text
from stretta.http.message.headers import Headers
from stretta.http.message.redaction import redact_head, redact_value

__all__ = ["ExchangeRecord", "as_json", "body_text", "exchange_fields"]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ExchangeRecord:
    """Everything known of one exchange, successful or not.

    ``started`` is the time of day in ISO 8601; ``first_request`` is the request before redirects,
    ``request`` the one that got a response. ``size`` counts the decoded body, ``received`` the
    bytes transferred. ``body`` is None if none came, if it was saved in ``file``, or if it was too
    large (``body_omitted``). ``earlier`` are the records of the redirects.
    """

    started: str
    url: str
    first_request: ClientRequest | None = None
    request: ClientRequest | None = None
    request_head: bytes = b""
    addresses: list[str]
    server: Endpoint | None = None
    tls: dict[str, Any] | None = None
    interim: Sequence[Head] = ()
    head: Head | None = None
    framing: str = ""
    received: int = 0
    size: int = 0
    body: bytes | None = None
    body_omitted: bool = False
    file: str | None = None
    trailers: Headers = Headers()  # noqa: RUF009 - it is immutable
    phases: Phases
    redirects: Sequence[tuple[int, str]] = ()
    earlier: Sequence[ExchangeRecord] = ()
    error: StrettaError | None = None


def exchange_fields(exchange: ExchangeState, server: Endpoint) -> dict[str, Any]:
    """Return the fields of an ExchangeRecord that an exchange knows."""
    parser = exchange.parser
    return {
        "request": exchange.request,
        "request_head": exchange.request_head,
        "server": server,
        "interim": parser.interim,
        "head": parser.head,
        "framing": parser.framing,
        "received": parser.received,
        "size": exchange.decoded,
        "trailers": parser.trailers,
        "phases": exchange.phases,
    }


def as_json(record: ExchangeRecord, *, show_secrets: bool = False) -> dict[str, Any]:
    """Return an exchange as a JSON object; docs/http-client.md describes its fields.

    ``show_secrets``: with the credentials in the request.
    """
    head, error = record.head, record.error
    return {
        "url": record.url,
        "started": record.started,
        "redirects": [{"status": status, "url": url} for status, url in record.redirects],
        "request": _request(record, show_secrets=show_secrets),
        "addresses": record.addresses,
        "server": list(record.server) if record.server else None,
        "tls": record.tls,
        "interim": [_head(one) for one in record.interim],
        "response": None if head is None else {**_head(head), **_body(record)},
        "phases": phases_of(record.phases),
        "error": None
        if error is None
        else {"what": error.what, "why": error.why, "hint": error.hint},
        "exit_status": error.status if error else 0,
    }


def phases_of(phases: Phases) -> dict[str, float | None]:
    """Return the end of each phase in seconds since the start, to the microsecond."""
    return {
        name: None if value is None else round(value, 6)
        for name in Phases.__slots__
        for value in [getattr(phases, name)]
    }


def _request(record: ExchangeRecord, *, show_secrets: bool) -> dict[str, Any] | None:
    request, head = record.request, record.request_head
    if request is None and not head:
        return None
    text = (head if show_secrets else redact_head(head)).decode("latin-1")
    if request is None:  # it was sent, and no valid response came
        return {"head": text}
    return {
        "method": request.method,
        "target": request.target,
        "version": request.version,
        "headers": [
            [name, value if show_secrets else redact_value(name, value)]
            for name, value in request.fields()
        ],
        "head": text,
        "body_bytes": request.size,
    }


def _head(head: Head) -> dict[str, Any]:
    return {
        "version": head.version,
        "status": head.status,
        "reason": head.reason,
        "headers": [list(field) for field in head.headers],
        "head": head.raw.decode("latin-1"),
    }


def _body(record: ExchangeRecord) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "framing": record.framing,
        "received_bytes": record.received,
        "body_bytes": record.size,
        "trailers": [list(field) for field in record.trailers],
    }
    if record.file is not None:
        fields["file"] = record.file
    elif record.body is not None:
        text = body_text(record)
        key = "base64" if text is None else "text"
        fields[key] = b64encode(record.body).decode() if text is None else text
    return fields


def body_text(record: ExchangeRecord) -> str | None:
    """Return the body as text, None if it is not text."""
    if record.body is None:
        return None
    kind = record.head.headers.get("content-type") if record.head else None
    if record.body and not is_text(kind, record.body[:1024]):
        return None
    try:
        return record.body.decode(charset_of(kind, record.body[:1024]))
    except UnicodeDecodeError:
        return None
