"""An exchange as one JSON object, and several as a HAR log. Pure."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stretta import __version__
from stretta.address import Endpoint
from stretta.errors import StrettaError
from stretta.http.client.exchange import Exchange, Phases
from stretta.http.client.request import ClientRequest
from stretta.http.client.response_parser import Head
from stretta.http.message.charset import charset_of, is_text
from stretta.http.message.headers import Headers

__all__ = ["Record", "as_json", "facts_of", "har"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """All that is known of one exchange, whether it went well or not.

    ``started`` is the time of the clock on the wall, as ISO 8601 has it; ``asked`` the request that
    was to be sent first, ``request`` the one that had a response. What did not come is None;
    ``body`` also where it went to ``file`` or was ``left_out`` as too large. ``earlier`` are the
    exchanges whose redirects led here.
    """

    started: str
    url: str
    asked: ClientRequest | None = None
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
    left_out: bool = False
    file: str | None = None
    trailers: Headers = Headers()  # noqa: RUF009 - it cannot change
    phases: Phases
    redirects: Sequence[tuple[int, str]] = ()
    earlier: Sequence[Exchange] = ()
    error: StrettaError | None = None


def facts_of(exchange: Exchange) -> dict[str, Any]:
    """Return what an exchange tells of itself, as fields of a Record."""
    return {
        "request": exchange.request,
        "request_head": exchange.request_head,
        "server": exchange.server,
        "interim": exchange.reader.interim,
        "head": exchange.reader.head,
        "framing": exchange.reader.framing,
        "received": exchange.received,
        "size": exchange.decoded,
        "trailers": exchange.reader.trailers,
        "phases": exchange.phases,
    }


def as_json(record: Record) -> dict[str, Any]:
    """Return one exchange as a JSON object; docs/http-client.md describes its fields."""
    head, error = record.head, record.error
    return {
        "url": record.url,
        "started": record.started,
        "redirects": [{"status": status, "url": url} for status, url in record.redirects],
        "request": _request(record),
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
    """Return when each phase ended, in seconds since the beginning, to the microsecond."""
    return {
        name: None if value is None else round(value, 6)
        for name in Phases.__slots__
        for value in [getattr(phases, name)]
    }


def _request(record: Record) -> dict[str, Any] | None:
    request = record.request
    if request is None and not record.request_head:
        return None
    if request is None:  # it went out, and nothing that was a response came back
        return {"head": record.request_head.decode("latin-1")}
    return {
        "method": request.method,
        "target": request.target,
        "version": request.version,
        "headers": [list(field) for field in request.fields()],
        "head": record.request_head.decode("latin-1"),
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


def _body(record: Record) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "framing": record.framing,
        "received_bytes": record.received,
        "body_bytes": record.size,
        "trailers": [list(field) for field in record.trailers],
    }
    if record.file is not None:
        fields["file"] = record.file
    elif record.body is not None:
        text = _text(record)
        key = "base64" if text is None else "text"
        fields[key] = b64encode(record.body).decode() if text is None else text
    return fields


def _text(record: Record) -> str | None:
    """Return the body as text, or None where it is none."""
    assert record.body is not None  # noqa: S101 - for the type checker
    kind = record.head.headers.get("content-type") if record.head else None
    if record.body and not is_text(kind, record.body[:1024]):
        return None
    try:
        return record.body.decode(charset_of(kind, record.body[:1024]))
    except UnicodeDecodeError:
        return None


def har(records: Sequence[Record]) -> dict[str, Any]:
    """Return the exchanges as a log in the HTTP Archive format, version 1.2."""
    creator = {"name": "stretta", "version": __version__}
    entries = [
        _entry(one)
        for record in records
        for one in [*_redirects(record), record]
        if one.request or one.asked
    ]
    return {"log": {"version": "1.2", "creator": creator, "entries": entries}}


def _redirects(record: Record) -> list[Record]:
    """Return the exchanges that led to this one, each as one of its own."""
    return [
        Record(started=record.started, url=str(one.request.url), addresses=[], **facts_of(one))
        for one in record.earlier
    ]


def _entry(record: Record) -> dict[str, Any]:
    request, head, phases = record.request or record.asked, record.head, record.phases
    assert request is not None  # noqa: S101 - har() leaves those out that have none
    entry: dict[str, Any] = {
        "startedDateTime": record.started,
        "time": _ms(phases.ended, 0.0),
        "request": {
            "method": request.method,
            "url": str(request.url),
            "httpVersion": f"HTTP/{request.version}",
            "cookies": [],
            "headers": _pairs(request.fields()),
            "queryString": _query(request.url.target),
            "headersSize": len(record.request_head),
            "bodySize": -1 if request.size is None else request.size,
        },
        "response": _har_response(record, head),
        "cache": {},
        "timings": _timings(phases),
    }
    if request.body or request.size != 0:
        entry["request"]["postData"] = _post_data(request)
    if record.server is not None:
        entry["serverIPAddress"] = record.server.host
    if record.error is not None:
        entry["comment"] = str(record.error)
    elif record.left_out:
        entry["comment"] = "The body is left out: it is too large."
    return entry


def _post_data(request: ClientRequest) -> dict[str, Any]:
    """Return the body that was sent, as far as it is at hand."""
    kind = request.headers.get("content-type")
    data: dict[str, Any] = {"mimeType": kind or "", "params": [], "text": ""}
    if not isinstance(request.body, bytes):
        return {**data, "comment": "It came from a file or a pipe."}
    try:
        return {**data, "text": request.body.decode(charset_of(kind, request.body[:1024]))}
    except UnicodeDecodeError:  # the format has no other way for requests than text
        text = b64encode(request.body).decode()
        return {**data, "text": text, "encoding": "base64", "comment": "The text is base64."}


def _har_response(record: Record, head: Head | None) -> dict[str, Any]:
    content: dict[str, Any] = {"size": record.size, "mimeType": ""}
    if head is not None:
        content["mimeType"] = head.headers.get("content-type") or ""
        content["compression"] = record.size - record.received
    if record.body is not None:
        text = _text(record)
        content["text"] = b64encode(record.body).decode() if text is None else text
        if text is None:
            content["encoding"] = "base64"
    return {
        "status": head.status if head else 0,
        "statusText": head.reason if head else "",
        "httpVersion": f"HTTP/{head.version}" if head else "",
        "cookies": [],
        "headers": _pairs(head.headers) if head else [],
        "content": content,
        "redirectURL": (head.headers.get("location") or "") if head else "",
        "headersSize": len(head.raw) if head else -1,
        "bodySize": record.received if head else -1,
    }


def _timings(phases: Phases) -> dict[str, float]:
    """Return how long each phase took, in milliseconds, -1 for one that was not."""
    return {
        "dns": _ms(phases.looked_up, 0.0),
        "connect": _ms(phases.secured or phases.connected, phases.looked_up or 0.0),
        "ssl": _ms(phases.secured, phases.connected),
        "send": max(0.0, _ms(phases.sent, phases.secured or phases.connected or 0.0)),
        "wait": max(0.0, _ms(phases.first_byte, phases.sent)),
        "receive": max(0.0, _ms(phases.ended, phases.first_byte)),
    }


def _ms(end: float | None, begin: float | None) -> float:
    return -1 if end is None or begin is None else round((end - begin) * 1000, 3)


def _pairs(headers: Headers) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in headers]


def _query(target: str) -> list[dict[str, str]]:
    from urllib.parse import parse_qsl  # noqa: PLC0415

    pairs = parse_qsl(target.partition("?")[2], keep_blank_values=True)
    return [{"name": name, "value": value} for name, value in pairs]
