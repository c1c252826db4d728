"""A timeline as a JSON document and back; docs/lab.md describes the schema.

What is read is checked value by value, by the types of the events' own fields, before anything is
built from it: a damaged document gets a UsageError that names the place.
"""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Iterable
from typing import Any, NoReturn

from stretta.errors import UsageError
from stretta.escape import escape_json
from stretta.see.events import (
    Arrival,
    Call,
    Endpoint,
    Event,
    Fault,
    Flow,
    Frame,
    Print,
    Process,
    State,
)
from stretta.see.explain import explained, reason
from stretta.see.hosts import Host, Interface
from stretta.see.json_values import Damaged, decode
from stretta.see.packets import Packet
from stretta.see.timeline import Timeline, build

__all__ = ["VERSION", "from_document", "from_json", "to_document", "to_json"]

VERSION = 2
"""Of the schema; a document of another version is refused."""

MOST_HOSTS = 32

KINDS: dict[str, type[Event]] = {
    "call": Call,
    "frame": Frame,
    "fault": Fault,
    "process": Process,
    "print": Print,
    "state": State,
}
NESTED = Arrival, Endpoint, Flow, Host, Interface, Packet

RECORD = "To record one: stretta lab run handshake --json timeline.json"


def to_document(timeline: Timeline) -> dict[str, Any]:
    """Return the timeline as values that ``json.dumps`` takes."""
    return {
        "version": VERSION,
        "start": timeline.start,
        "about": dict(timeline.about),
        "hosts": [_value(host) for host in timeline.hosts],
        "events": [_event(event) for event in timeline.events],
        "links": [
            {**dataclasses.asdict(link), "reason": reason(timeline, link)}
            for link in timeline.links
        ],
        "notes": [dataclasses.asdict(note) for note in timeline.notes],
    }


def to_json(timeline: Timeline) -> bytes:
    """Return the document as JSON in UTF-8, one line."""
    text = json.dumps(to_document(timeline), ensure_ascii=False)
    return f"{escape_json(text)}\n".encode()


def _event(event: Event) -> dict[str, Any]:
    kind = type(event).__name__.lower()
    return {"id": event.id, "kind": kind, **_fields(event, skip=("id",))}


def _fields(thing: Any, skip: Iterable[str] = ()) -> dict[str, Any]:
    """Return the fields that differ from their defaults."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(thing):
        value = getattr(thing, field.name)
        if field.name not in skip and not (
            field.default is not dataclasses.MISSING and value == field.default
        ):
            found[field.name] = _value(value)
    return found


def _value(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, NESTED):
        return _fields(value)
    if isinstance(value, list | tuple):
        return [_value(each) for each in value]
    return value


def from_json(text: str | bytes, name: str = "the document") -> Timeline:
    """Return the timeline that a JSON text holds. Raises UsageError, which names the place."""
    try:
        document = json.loads(text, parse_constant=_refuse)
    except RecursionError:
        raise UsageError(
            f"{name} is not a recorded timeline", "it is nested too deeply", RECORD
        ) from None
    except ValueError as error:  # UnicodeDecodeError, too many digits, NaN
        raise UsageError(f"{name} is not JSON", str(error).lower(), RECORD) from error
    return from_document(document)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON number")


def from_document(document: Any) -> Timeline:
    """Return the timeline that a document holds; its links and explanations are found anew.

    Raises UsageError when the document is damaged, or no timeline of this version.
    """
    if not isinstance(document, dict) or "version" not in document or "events" not in document:
        raise UsageError(
            "this is not a recorded timeline", "it has no version and no events", RECORD
        )
    if document["version"] != VERSION or isinstance(document["version"], bool):
        raise UsageError(
            "cannot read this timeline",
            f"its version is {str(document['version'])[:20]}, and this program reads {VERSION}",
            "Draw it with the version of stretta that recorded it.",
        )
    try:
        start = decode(int, document.get("start", 0), "start")
        about = document.get("about", {})
        if not isinstance(about, dict):
            raise Damaged("about", "is not an object")
        hosts = _to_hosts(document.get("hosts"))
        events = _to_events(document["events"], {host.name for host in hosts})
    except Damaged as damage:
        raise UsageError(
            "this timeline is damaged",
            f"{damage.path} {damage.problem}",
            "Record it again; docs/lab.md describes what each event has.",
        ) from None
    found_anew = [event for event in events if not isinstance(event, State)]
    return explained(build(found_anew, hosts, start=start, about=about))


def _to_hosts(listed: Any) -> tuple[Host, ...]:
    hosts = decode(tuple[Host, ...], listed, "hosts")
    if not 1 <= len(hosts) <= MOST_HOSTS:
        raise Damaged("hosts", f"has {len(hosts)} hosts, not 1 to {MOST_HOSTS}")
    names: set[str] = set()
    for number, host in enumerate(hosts):
        if not host.name or host.name in names:
            raise Damaged(f"hosts[{number}].name", "is empty" if not host.name else "is not unique")
        names.add(host.name)
    return tuple(hosts)


def _to_events(listed: Any, hosts: set[str]) -> list[Event]:
    if not isinstance(listed, list):
        raise Damaged("events", "is not a list")
    events: list[Event] = []
    frames: set[int] = set()
    ids: set[int] = set()
    for number, fields in enumerate(listed):
        path = f"events[{number}]"
        event = _to_event(fields, path)
        if event.id in ids:
            raise Damaged(f"{path}.id", "is the id of an event before it")
        ids.add(event.id)
        if isinstance(event, Frame):
            frames.add(event.id)
        _check_hosts(event, path, hosts)
        events.append(event)
    for number, event in enumerate(events):
        if isinstance(event, Fault) and event.frame not in frames:
            raise Damaged(f"events[{number}].frame", "is not the id of a frame")
    return events


def _to_event(fields: Any, path: str) -> Event:
    if not isinstance(fields, dict):
        raise Damaged(path, "is not an object")
    kind = fields.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise Damaged(f"{path}.kind", f"is not one of {', '.join(KINDS)}")
    rest = {name: value for name, value in fields.items() if name != "kind"}
    if kind == "frame":
        rest.pop("retransmission_of", None)  # found anew
    event: Event = decode(KINDS[kind], rest, path)
    return event


def _check_hosts(event: Event, path: str, hosts: set[str]) -> None:
    """Check that an event names hosts of the document only."""
    if event.host not in hosts and not isinstance(event, Fault):
        raise Damaged(f"{path}.host", "is not one of the hosts")
    if isinstance(event, Frame) and event.to and event.to not in hosts:
        raise Damaged(f"{path}.to", "is not one of the hosts")
    for number, arrival in enumerate(event.arrivals if isinstance(event, Frame) else ()):
        if arrival.host and arrival.host not in hosts:
            raise Damaged(f"{path}.arrivals[{number}].host", "is not one of the hosts")
    flows = [("flow", event.flow)] if isinstance(event, Call | Frame) else []
    if isinstance(event, Call):
        flows += [(f"ready[{number}]", flow) for number, flow in enumerate(event.ready)]
    for name, flow in flows:
        for end in (flow.initiator, flow.responder) if flow else ():
            if end.host not in hosts:
                raise Damaged(f"{path}.{name}", "names a host that is not one of the hosts")
