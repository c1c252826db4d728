"""Declaring options: a field of an ``Options`` class says all that there is to say of one option.

A field is the command's flag, its environment variable, the documentation's row, the library's
keyword and the bounds of its value. The bounds hold for every construction: from the command, from
a variable, from Python.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import Field, FrozenInstanceError, dataclass, field
from operator import index
from typing import Any, ClassVar, dataclass_transform

from stretta.errors import UsageError
from stretta.options.units import SIZE_FORMS, TIME_FORMS, parse_size, parse_time

__all__ = ["Options", "check_value", "flag_of", "option", "read_text", "variable_of"]

MOST_SECONDS = 1_000_000
"""The longest time: poll(2) counts milliseconds in a C int."""

MOST_COUNT = 2**31 - 1
MOST_BYTES = 2**63 - 1


def option(
    default: Any,
    words: str,
    *,
    unit: str = "",
    kind: type | None = None,
    zero: bool = False,
    least: int | None = None,
    most: int | None = None,
    choices: tuple[str, ...] = (),
    flag: str | None = None,
    short: str = "",
    variable: str | None = None,
    group: str = "",
    common: bool = False,
    negatable: bool = False,
    counts: bool = False,
    secret: bool = False,
    check: Callable[[str], object] | None = None,
) -> Any:
    """Declare one option: its default, what it is for, its unit, and the type of its value.

    Without a ``kind``, a bool default declares a switch, a str or a tuple a text, and anything else
    a number; the kind ``object`` leaves the check to the class. A tuple is an option that may be
    repeated. The ``unit`` "seconds" reads ``50ms``, "bytes" and "bytes per second" read ``64k``.
    A number is above zero, or with ``zero`` not below it, or at least ``least``; it is at most
    ``most``. A text is one of ``choices``, where there are any (a number may be one too), and
    passes ``check``, which returns the value to keep or raises UsageError.

    ``flag`` is the long flag where it is not the field's name ("" for none), ``short`` its letter,
    ``variable`` its environment variable where it is not STRETTA_ and the name ("" for none: what
    only one call is about). The help lists the option in its ``group``, or among the ``common``
    ones. ``negatable`` gives a switch that is off a --no- flag too; ``counts`` counts how often the
    flag is given; a ``secret`` is not repeated in messages.
    """
    if kind is None:
        kind = (
            bool
            if isinstance(default, bool)
            else str
            if isinstance(default, str | tuple)
            else float
        )
    if least is None and kind is int and not zero:
        least = 1
    if most is None:
        most = MOST_SECONDS if kind is float else MOST_BYTES if "bytes" in unit else MOST_COUNT
    return field(
        default=default,
        metadata={
            "words": words, "unit": unit, "kind": kind, "least": 0 if zero else least,
            "most": most, "choices": choices, "flag": flag, "short": short, "variable": variable,
            "group": group, "common": common or bool(short and flag != ""), "negatable": negatable,
            "counts": counts, "secret": secret, "check": check,
        },
    )  # fmt: skip


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Options:
    """The base of all classes of options: a subclass is a frozen dataclass with keywords only.

    Its values are checked against their declaration; a wrong one raises UsageError. The methods are
    inherited, not generated: a frozen dataclass of its own costs a client's start 0.5 ms.
    """

    group: ClassVar[str] = "Limits"
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def __init_subclass__(cls) -> None:
        """Make the subclass a dataclass."""
        dataclass(init=False, repr=False, eq=False, match_args=False, kw_only=True)(cls)

    def __init__(self, **values: Any) -> None:
        """Check and store the values; the rest have their defaults."""
        store = self.__dict__
        for name, declared in self.__dataclass_fields__.items():
            if name in values:
                store[name] = check_value(declared, values.pop(name))
            else:
                store[name] = declared.default
        if values:
            raise TypeError(f"{type(self).__name__} has no option {next(iter(values))!r}")
        self.__post_init__()

    def __post_init__(self) -> None:
        """Check, in a subclass, what several values mean together. Raises UsageError."""

    def __setattr__(self, name: str, value: object) -> None:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> None:
        raise FrozenInstanceError(f"cannot delete field {name!r}")

    def __eq__(self, other: object) -> bool:
        return self.__dict__ == other.__dict__ if type(self) is type(other) else NotImplemented

    def __hash__(self) -> int:
        return hash((type(self), *self.__dict__.values()))

    def __repr__(self) -> str:
        fields = self.__dataclass_fields__
        values = (
            f"{name}={'...' if fields[name].metadata['secret'] and value else repr(value)}"
            for name, value in self.__dict__.items()
        )
        return f"{type(self).__name__}({', '.join(values)})"


def flag_of(declared: Field[Any]) -> str:
    """Return an option's long flag, or its short one where it has no other."""
    facts = declared.metadata
    if facts["flag"] is None:
        return "--" + declared.name.replace("_", "-")
    return facts["flag"] or f"-{facts['short']}"


def variable_of(declared: Field[Any]) -> str | None:
    """Return an option's environment variable; None where it has none."""
    variable = declared.metadata["variable"]
    if variable is None and not isinstance(declared.default, tuple):  # a variable holds one value
        return f"STRETTA_{declared.name.upper()}"
    return variable or None


def read_text(declared: Field[Any], text: str, name: str = "") -> Any:
    """Return the value that a text means for an option, checked. Raises UsageError.

    Of an option that may be repeated it is one value of several. ``name`` is what the message calls
    the option, usually its flag.
    """
    facts = declared.metadata
    kind, unit = facts["kind"], facts["unit"]
    value: Any = text
    if isinstance(declared.default, tuple):
        return _check_text(declared, text, name)
    if text in facts["choices"] or kind in {str, object}:
        pass
    elif kind is bool:
        value = _SWITCH.get(text.strip().lower(), text)
    else:
        try:
            value = _READERS.get(unit, _parse_int if kind is int else parse_time)(text)
        except ValueError as error:
            raise _refused(declared, name, text, str(error)) from None
    return check_value(declared, value, name, text)


def check_value(declared: Field[Any], value: Any, name: str = "", shown: object = None) -> Any:
    """Return a value as an option keeps it. Raises UsageError when the option cannot have it."""
    facts = declared.metadata
    kind, default = facts["kind"], declared.default
    if kind is object or (value is None and default is None):
        return value
    if kind is str and isinstance(default, tuple):
        if isinstance(value, str | bytes) or not hasattr(value, "__iter__"):
            raise _refused(declared, name, value, "it must be a list of texts")
        return tuple(_check_text(declared, one, name) for one in value)
    if kind is str:
        return _check_text(declared, value, name)
    if isinstance(value, str):
        if value in facts["choices"]:
            return value
        if shown is None:
            return read_text(declared, value, name)
    if kind is bool:
        if isinstance(value, bool):
            return value
        raise _refused(declared, name, shown or value, "it must be yes or no")
    return _check_number(declared, value, name, shown)


def _check_number(declared: Field[Any], value: Any, name: str, shown: object) -> float:
    facts = declared.metadata
    shown = value if shown is None else shown
    try:
        number = float(value) if facts["kind"] is float else index(value)
        if isinstance(value, bool):
            raise TypeError
    except (TypeError, ValueError, OverflowError):
        whole = "whole " if facts["kind"] is int else ""
        raise _refused(declared, name, shown, f"it is not a {whole}number") from None
    least, most = facts["least"], facts["most"]
    enough = number > 0 if least is None else number >= least  # NaN is not
    if not enough or number > most:
        unit = f" {facts['unit']}" if facts["unit"] in _READERS else ""
        first = "more than 0 and at most" if least is None else f"from {least:,} to"
        raise _refused(declared, name, shown, f"it must be {first} {most:,}{unit}")
    return number


def _check_text(declared: Field[Any], value: Any, name: str) -> str:
    facts = declared.metadata
    try:
        text = os.fspath(value)
        if not isinstance(text, str):
            raise TypeError
    except TypeError:
        raise _refused(declared, name, value, "it must be a text") from None
    if facts["choices"] and text not in facts["choices"]:
        *others, last = facts["choices"]
        raise _refused(declared, name, text, f"it must be {', '.join(others)} or {last}")
    if "\0" in text:
        raise _refused(declared, name, text, "it contains a NUL byte")
    return facts["check"](text) if facts["check"] else text


def _refused(declared: Field[Any], name: str, value: object, why: str) -> UsageError:
    facts = declared.metadata
    name = name or declared.name
    what = f"{name} cannot be {value!r}" if not facts["secret"] else f"{name} cannot be used"
    return UsageError(what, why, _ACCEPTED.get(facts["unit"], ""))


def _parse_int(text: str) -> int:
    digits = text.strip().removeprefix("+")
    if not (digits.removeprefix("-").isdecimal() and digits.isascii()) or len(digits) > 30:
        raise ValueError("it is not a whole number")
    return int(digits)


def _parse_rate(text: str) -> int:
    return parse_size(text.removesuffix("/s"))


_READERS: dict[str, Callable[[str], float]] = {
    "seconds": parse_time,
    "bytes": parse_size,
    "bytes per second": _parse_rate,
}
"""The parser of each unit."""

_ACCEPTED = {
    "seconds": f"Accepted: {TIME_FORMS}.",
    "bytes": f"Accepted: {SIZE_FORMS}.",
    "bytes per second": f"Accepted: {SIZE_FORMS}; with /s or without.",
}

_SWITCH = {
    **dict.fromkeys(("1", "true", "yes", "on", "y", "t"), True),
    **dict.fromkeys(("0", "false", "no", "off", "n", "f"), False),
}
