"""The plan of a lab, and the messages between its two processes: values, and their codec. Pure.

A message is one line of JSON: an object with its type's name as ``type``, and its fields. Bytes are
base64. What does not fit the types is refused with the place of the mistake.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
import types
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from stretta.lab.topology import Topology
from stretta.options import WireOptions

__all__ = [
    "COMMANDS",
    "EVENTS",
    "Ended",
    "EndedEarly",
    "Failed",
    "Finished",
    "Launched",
    "MessageError",
    "NotListening",
    "Plan",
    "Printed",
    "Program",
    "Signal",
    "Stage",
    "Started",
    "Stop",
    "Unshared",
    "from_line",
    "to_line",
]


class Stage(StrEnum):
    """The step of making a lab that failed."""

    UNSHARE = "unshare"
    FORK = "fork"
    MOUNT = "mount"
    NETWORK = "network"
    WIRE = "wire"
    PROGRAM = "program"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program on a host: its arguments, and what it inherits.

    ``captured``: its output goes to a terminal of its own, and is reported. ``stdin``: it reads
    the standard input of the process outside. ``descriptors`` stay open in it.
    """

    host: str
    argv: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()
    descriptors: tuple[int, ...] = ()
    captured: bool = True
    stdin: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that the process inside needs to know; times are in seconds.

    ``until`` names the hosts whose programs end the lab when all of them have ended; ``limit`` ends
    it after a time. ``files`` are made outside where the inside cannot make them: what each
    replaces, and where it is. ``log`` is the descriptor of the wire's log.
    """

    topology: Topology
    programs: tuple[Program, ...]
    wire: WireOptions
    seed: int
    log: int
    ready_timeout: float
    until: tuple[str, ...]
    limit: float | None
    settle: float
    linger: float
    files: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Unshared:
    """The namespaces exist; their user map is still to be written."""


@dataclass(frozen=True, slots=True)
class Started:
    """The network is up; ``at`` is in nanoseconds since 1970, as in all messages."""

    at: int


@dataclass(frozen=True, slots=True)
class Launched:
    """A host's program started."""

    host: str
    at: int


@dataclass(frozen=True, slots=True)
class Printed:
    """A host's program printed bytes."""

    host: str
    at: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """A host's program ended; a negative status is a signal."""

    host: str
    at: int
    status: int


@dataclass(frozen=True, slots=True)
class NotListening:
    """A host's program did not listen within so many seconds."""

    host: str
    waited: float


@dataclass(frozen=True, slots=True)
class EndedEarly:
    """A host's program ended before it listened."""

    host: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The lab has ended; ``lost`` counts frames that the lab itself could not carry."""

    lost: int


@dataclass(frozen=True, slots=True)
class Failed:
    """A step failed: the error number (0 if there is none), and the text for it."""

    stage: Stage
    errno: int
    text: str


@dataclass(frozen=True, slots=True)
class Signal:
    """Command: send a signal to every program, and end soon."""

    number: int


@dataclass(frozen=True, slots=True)
class Stop:
    """Command: end now."""


EVENTS = (
    Unshared, Started, Launched, Printed, Ended, NotListening, EndedEarly, Finished, Failed,
)  # fmt: skip
"""The messages from the process inside."""

COMMANDS = (Plan, Signal, Stop)
"""The messages to the process inside."""


class MessageError(ValueError):
    """A line is not a message of an expected type; the text names the place."""


def to_line(message: object) -> bytes:
    """Return a message as a line of JSON, with its line feed."""
    fields = _plain(message)
    return json.dumps({"type": type(message).__name__, **fields}).encode() + b"\n"


def from_line(line: bytes, expected: tuple[type[Any], ...]) -> Any:
    """Return the message that a line holds. Raises MessageError."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise MessageError(f"not JSON: {error}") from error
    known = {each.__name__: each for each in expected}
    name = value.pop("type", None) if isinstance(value, dict) else None
    if not isinstance(name, str) or name not in known:
        raise MessageError(f"type: expected one of {', '.join(known)}, got {name!r}")
    return _read(known[name], value, name)


def _plain(value: Any) -> Any:
    """Return a value as what ``json.dumps`` takes."""
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in _fields(type(value))}
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return value


def _fields(kind: Any) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(kind)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _read(hint: Any, value: Any, place: str) -> Any:
    """Return the value that the type ``hint`` gives to plain JSON."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _read_union(get_args(hint), value, place)
    if origin is tuple:
        return _read_tuple(get_args(hint), value, place)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return _read_fields(hint, value, place)
    if hint is float and type(value) is int:
        return float(value)
    if hint is bytes and isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise MessageError(f"{place}: not base64") from None
    if isinstance(hint, type) and issubclass(hint, StrEnum) and isinstance(value, str):
        try:
            return hint(value)
        except ValueError:
            raise MessageError(f"{place}: {value!r} is not a {hint.__name__}") from None
    if type(value) is not hint:
        raise MessageError(f"{place}: expected {hint.__name__}, got {type(value).__name__}")
    return value


def _read_union(hints: tuple[Any, ...], value: Any, place: str) -> Any:
    if value is None and type(None) in hints:
        return None
    (hint,) = (each for each in hints if each is not type(None))
    return _read(hint, value, place)


def _read_tuple(hints: tuple[Any, ...], value: Any, place: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise MessageError(f"{place}: expected a list, got {type(value).__name__}")
    if hints[-1] is ...:
        hints = hints[:1] * len(value)
    if len(hints) != len(value):
        raise MessageError(f"{place}: expected {len(hints)} elements, got {len(value)}")
    return tuple(
        _read(hint, each, f"{place}[{n}]")
        for n, (hint, each) in enumerate(zip(hints, value, strict=True))
    )


def _read_fields(kind: type[Any], value: Any, place: str) -> Any:
    if not isinstance(value, dict):
        raise MessageError(f"{place}: expected an object, got {type(value).__name__}")
    hints = _hints(kind)  # type: ignore[arg-type]
    names = {field.name for field in _fields(kind)}
    if unknown := value.keys() - names:
        raise MessageError(f"{place}: unknown field {min(unknown)!r}")
    found = {name: _read(hints[name], value[name], f"{place}.{name}") for name in value}
    try:
        return kind(**found)
    except TypeError as error:
        missing = sorted(names - found.keys())
        raise MessageError(f"{place}: missing one of {', '.join(missing)}") from error
    except ValueError as error:
        raise MessageError(f"{place}: {error}") from error
