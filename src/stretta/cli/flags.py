"""From the classes of options to a command's flags, and from its flags to the classes."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from stretta.options.declare import Options, flag_of, read_text, variable_of

__all__ = ["Flag", "flags"]

F = TypeVar("F", bound=Callable[..., Any])
Declared = dataclasses.Field[Any]

LETTERS = {"bytes per second": "bytes/s"}
"""Units whose name in the help is another."""


class Value(click.ParamType[Any]):
    """The type of a flag's value: the option's own parser and bounds."""

    name = "value"

    def __init__(self, declared: Declared) -> None:
        self._declared = declared

    def convert(self, value: Any, param: Any, ctx: click.Context | None) -> Any:
        """Return the value that a text means; raises UsageError, naming the flag or variable."""
        if not isinstance(value, str):  # the default
            return value
        name = flag_of(self._declared)
        source = ctx.get_parameter_source(self._declared.name) if ctx else None
        if source is ParameterSource.ENVIRONMENT:
            name = variable_of(self._declared) or name
        return read_text(self._declared, value, name)


class Flag(click.Option):
    """One option of a command, from its declaration in a class of options.

    ``group`` is the part of the help that lists it; a ``secret`` is not repeated in messages.
    """

    def __init__(self, declared: Declared, options: type[Options]) -> None:
        facts = declared.metadata
        self.options = options
        self.declared, self.secret = declared, facts["secret"]
        self.group = facts["group"] or options.group
        is_switch = facts["kind"] is bool
        name = flag_of(declared)
        names = [f"-{facts['short']}"] if facts["short"] and name.startswith("--") else []
        negatable = is_switch and (declared.default is True or facts["negatable"])
        names.append(f"{name}/--no-{name[2:]}" if negatable else name)
        more: dict[str, Any] = {"is_flag": True} if is_switch else {"type": Value(declared)}
        if facts["counts"]:
            more = {"count": True}
        super().__init__(
            [declared.name, *names],
            multiple=isinstance(declared.default, tuple),
            default=declared.default,
            metavar=None if is_switch or facts["counts"] else _metavar(declared),
            envvar=variable_of(declared),
            help=facts["words"],
            **more,
        )

    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        """Return the value; of a switch too, a variable's text is read as the option declares."""
        if self.is_flag and isinstance(value, str):
            return read_text(self.declared, value, self.get_error_hint(ctx))
        return super().type_cast_value(ctx, value)

    def get_error_hint(self, ctx: click.Context | None) -> str:
        """Return the name that an error message gives the option."""
        if ctx and ctx.get_parameter_source(self.declared.name) is ParameterSource.ENVIRONMENT:
            return variable_of(self.declared) or flag_of(self.declared)
        return flag_of(self.declared)


def flags(**classes: type[Options]) -> Callable[[F], Callable[..., Any]]:
    """Give a command the flags of each class; its function gets an instance of each."""

    def add(function: F) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(**values: Any) -> Any:
            for key, options in classes.items():
                values[key] = options(
                    **{name: values.pop(name) for name in options.__dataclass_fields__}
                )
            return function(**values)

        params = call.__dict__.setdefault("__click_params__", [])
        found = [
            Flag(declared, options)
            for options in classes.values()
            for declared in options.__dataclass_fields__.values()
        ]
        params.extend(reversed(found))  # click reverses them, as decorators are applied upwards
        return call

    return add


def _metavar(declared: Declared) -> str:
    facts = declared.metadata
    unit = LETTERS.get(facts["unit"], facts["unit"]).upper()
    if facts["choices"]:
        number = ["N"] if facts["kind"] is int else []
        return "|".join([*number, *facts["choices"]])
    return unit or ("N" if facts["kind"] is int else "TEXT")
