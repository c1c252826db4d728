"""A timeline as a JSON document and back; docs/lab.md describes the schema."""

from __future__ import annotations

import base64
import dataclasses
from typing import Any

from stretta.errors import UsageError
from stretta.see.events import (
    Arrival,
    Call,
    Event,
    Fault,
    Flow,
    Frame,
    Print,
    Process,
    State,
)
from stretta.see.explain import explain
from stretta.see.packets import Packet
from stretta.see.timeline import Timeline, build

__all__ = ["VERSION", "from_document", "to_document"]

VERSION = 2
"""Of the schema; a document of another version is refused."""

KINDS: dict[str, type[Event]] = {
    "call": Call,
    "frame": Frame,
    "fault": Fault,
    "process": Process,
    "print": Print,
    "state": State,
}


def to_document(timeline: Timeline) -> dict[str, Any]:
    """Return the timeline as what ``json.dumps`` takes."""
    return {
        "version": VERSION,
        "start": timeline.start,
        "about": timeline.about,
        "events": [_event(event) for event in timeline.events],
        "links": [dataclasses.asdict(link) for link in timeline.links],
        "notes": [dataclasses.asdict(note) for note in timeline.notes],
    }


def _event(event: Event) -> dict[str, Any]:
    kind = type(event).__name__.lower()
    return {"id": event.id, "kind": kind, **_fields(event, skip={"id"})}


def _fields(thing: Any, skip: set[str] = frozenset()) -> dict[str, Any]:  # type: ignore[assignment]
    """Return the fields that say something: those that differ from their defaults."""
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
    if isinstance(value, Packet | Arrival | Flow):
        return _fields(value)
    if isinstance(value, list | tuple):
        return [_value(each) for each in value]
    return value


def from_document(document: Any) -> Timeline:
    """Return the timeline that a document holds; links and explanations are found anew.

    Raises UsageError when it is no timeline of this version.
    """
    if not isinstance(document, dict) or "version" not in document or "events" not in document:
        raise UsageError(
            "this is no recorded timeline",
            "it has no version and no events",
            "To record one: stretta lab run handshake --json timeline.json",
        )
    if document["version"] != VERSION:
        raise UsageError(
            "cannot read this timeline",
            f"it has version {document['version']}, and this program knows {VERSION}",
            "Draw it with the version of stretta that recorded it.",
        )
    try:
        events = _to_events(document["events"])
        timeline = build(
            [event for event in events if not isinstance(event, State)],
            start=document.get("start", 0),
            about=document.get("about", {}),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(
            "this timeline is damaged",
            "its events do not fit together",
            "Record it again; docs/lab.md describes what each event has.",
        ) from error
    timeline.notes = explain(timeline)
    return timeline


def _to_events(listed: list[dict[str, Any]]) -> list[Event]:
    """Return the events. Raises UsageError, which names the one that cannot be read."""
    events = []
    for number, fields in enumerate(listed):
        try:
            events.append(_to_event(fields))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            kind = fields.get("kind") if isinstance(fields, dict) else None
            what = f"a {kind}" if kind in KINDS else "an event of a known kind"
            raise UsageError(
                "this timeline is damaged",
                f"number {number} of its events is not {what} with all its fields in order",
                "Record it again; docs/lab.md describes what each event has.",
            ) from error
    return events


def _to_event(fields: dict[str, Any]) -> Event:
    fields = dict(fields)
    kind = KINDS[fields.pop("kind")]
    for name, value in fields.items():
        if name == "data":
            fields[name] = base64.b64decode(value)
        elif name == "flow" and value:
            fields[name] = _to_flow(value)
        elif name == "ready":
            fields[name] = tuple(_to_flow(each) for each in value)
        elif name == "packet":
            fields[name] = _to_packet(value)
        elif name == "arrivals":
            fields[name] = [Arrival(**each) for each in value]
        elif name == "watched_sockets":
            fields[name] = tuple(value)
        elif name in ("peer", "local") and value:
            fields[name] = (value[0], value[1])
    if kind is Frame:
        fields.pop("retransmission_of", None)  # found anew
    return kind(**fields)


def _to_flow(value: dict[str, Any]) -> Flow:
    client, server = value["client"], value["server"]
    return Flow(value["protocol"], (client[0], client[1]), (server[0], server[1]))


def _to_packet(value: dict[str, Any]) -> Packet:
    fields = dict(value)
    if "payload" in fields:
        fields["payload"] = base64.b64decode(fields["payload"])
    if fields.get("inner"):
        fields["inner"] = _to_packet(fields["inner"])
    for name in ("icmp", "timestamps"):
        if fields.get(name):
            fields[name] = tuple(fields[name])
    if "sacks" in fields:
        fields["sacks"] = tuple(tuple(edge) for edge in fields["sacks"])
    return Packet(**fields)
