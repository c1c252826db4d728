"""JSON values as dataclasses, checked by the types of their fields. Pure."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import types
from enum import Enum
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

__all__ = ["Damaged", "decode"]

DEEPEST = 8
"""Packets within ICMP errors within packets: no packet is nested deeper."""

BOUNDS = {
    "port": (0, 2**16 - 1),
    "source_port": (0, 2**16 - 1),
    "target_port": (0, 2**16 - 1),
    "window": (0, 2**16 - 1),
    "scale": (0, 2**8 - 1),
    "flags": (0, 2**8 - 1),
    "length": (0, 2**32 - 1),
    "size": (0, 2**32 - 1),
    "transferred": (0, 2**48),
    "requested": (0, 2**64),
    "duration": (0, 2**62),
}
"""The values that fields of these names may have; other integers have 62 bits and a sign."""
WHOLE = (-(2**62), 2**62)


class Damaged(Exception):
    """A value has a wrong type or range; ``path`` is its place, as ``events[3].packet.seq``."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path} {problem}")
        self.path, self.problem = path, problem


def decode(kind: Any, value: Any, path: str) -> Any:
    """Return a JSON value as a value of a type: int, str, bytes, an enum, a tuple, a dataclass.

    A dataclass is an object whose members are its fields; those with defaults may be left out.
    Bytes are base64. Raises Damaged.
    """
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        choices = [each for each in get_args(kind) if each is not type(None)]
        return None if value is None else decode(choices[0], value, path)
    if origin is tuple:
        return _tuple(get_args(kind), value, path)
    if dataclasses.is_dataclass(kind):
        return _object(kind, value, path)
    if isinstance(kind, type) and issubclass(kind, Enum):
        try:
            return kind(value)
        except ValueError:
            names = ", ".join(repr(each.value) for each in kind)
            raise Damaged(path, f"is not one of {names}") from None
    if kind is bytes:
        return _bytes(value, path)
    if kind is int:
        return _integer(value, path)
    if not isinstance(value, kind):
        raise Damaged(path, f"is not {NAMES[kind]}")
    if kind is str and not value.isprintable():
        _check_text(value, path)
    return value


NAMES = {str: "a string", bool: "true or false"}


def _check_text(text: str, path: str) -> None:
    """Refuse text that no UTF-8 file can hold: half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Damaged(path, "holds half a surrogate pair") from None


def _integer(value: Any, path: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise Damaged(path, "is not an integer")
    low, high = BOUNDS.get(path.rpartition(".")[2], WHOLE)
    if not low <= value <= high:
        raise Damaged(path, f"is not from {low} to {high}")
    return value


def _bytes(value: Any, path: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise Damaged(path, "is not base64") from None


def _tuple(kinds: tuple[Any, ...], value: Any, path: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise Damaged(path, "is not a list")
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return tuple(decode(kinds[0], each, f"{path}[{n}]") for n, each in enumerate(value))
    if len(value) != len(kinds):
        raise Damaged(path, f"is not a list of {len(kinds)}")
    return tuple(
        decode(kind, each, f"{path}[{n}]")
        for n, (kind, each) in enumerate(zip(kinds, value, strict=True))
    )


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _object(kind: Any, value: Any, path: str) -> Any:
    if not isinstance(value, dict):
        raise Damaged(path, "is not an object")
    if path.count(".") > DEEPEST:
        raise Damaged(path, "is nested too deeply")
    hints = _hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for name in value:
        if name not in fields:
            raise Damaged(path, f"has no field {name[:40]!r}")
    decoded = {}
    for name, field in fields.items():
        if name in value:
            decoded[name] = decode(hints[name], value[name], f"{path}.{name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise Damaged(path, f"has no {name}")
    return kind(**decoded)
