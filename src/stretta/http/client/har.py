"""Exchanges as an HTTP Archive (HAR 1.2). Pure."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Any

from stretta import __version__
from stretta.http.client.exchange_json import ExchangeRecord, body_text
from stretta.http.client.exchange_state import Phases
from stretta.http.client.request import ClientRequest
from stretta.http.client.response_parser import Head
from stretta.http.message.charset import charset_of
from stretta.http.message.headers import Headers

__all__ = ["har"]


def har(records: Sequence[ExchangeRecord]) -> dict[str, Any]:
    """Return the exchanges as a log in the HTTP Archive format, version 1.2."""
    creator = {"name": "stretta", "version": __version__}
    entries = [
        _entry(one)
        for record in records
        for one in [*record.earlier, record]
        if one.request or one.first_request
    ]
    return {"log": {"version": "1.2", "creator": creator, "entries": entries}}


def _entry(record: ExchangeRecord) -> dict[str, Any]:
    request, head, phases = record.request or record.first_request, record.head, record.phases
    assert request is not None  # noqa: S101 - har() skips records without a request
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
    elif record.body_omitted:
        entry["comment"] = "The body is omitted: it is too large."
    return entry


def _post_data(request: ClientRequest) -> dict[str, Any]:
    """Return the body that was sent, if it is in memory."""
    kind = request.headers.get("content-type")
    data: dict[str, Any] = {"mimeType": kind or "", "params": [], "text": ""}
    if not isinstance(request.body, bytes):
        return {**data, "comment": "It came from a file or a pipe."}
    try:
        return {**data, "text": request.body.decode(charset_of(kind, request.body[:1024]))}
    except UnicodeDecodeError:  # HAR has text for request bodies only
        text = b64encode(request.body).decode()
        return {**data, "text": text, "encoding": "base64", "comment": "The text is base64."}


def _har_response(record: ExchangeRecord, head: Head | None) -> dict[str, Any]:
    content: dict[str, Any] = {"size": record.size, "mimeType": ""}
    if head is not None:
        content["mimeType"] = head.headers.get("content-type") or ""
        content["compression"] = record.size - record.received
    if record.body is not None:
        text = body_text(record)
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
    """Return the duration of each phase in milliseconds, -1 for one that did not take place."""
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
