"""From option dataclasses to flags and back; and the flags that every command has."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import click

from stretta.address import ANY_PORT, USER_PORTS, parse_host, parse_port

__all__ = [
    "end_flags",
    "flags_of",
    "look_flags",
    "parse_end",
    "service_flag",
    "take",
    "talk_flags",
    "workers_flag",
]

F = TypeVar("F", bound=Callable[..., Any])
Options = TypeVar("Options")


class Host(click.ParamType[str]):
    """An IPv4 address, an IPv6 address or a name."""

    name = "address"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        """Return the address without brackets; raises UsageError."""
        return parse_host(value)


class Number(click.ParamType[float]):
    """A number that makes sense: finite, above zero or not below it, and not beyond ``MOST``."""

    MOST: ClassVar[dict[type, float]] = {int: 2**63 - 1, float: 1e6}
    """Of a size in bytes, and of seconds: poll(2) counts milliseconds, in a C int."""

    def __init__(self, kind: type, *, zero: bool) -> None:
        self._kind, self._zero = kind, zero
        self.name = "integer" if kind is int else "number"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Return the number; fails with what is wrong with it."""
        try:
            number: float = self._kind(value)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no {self.name}.", param, ctx)
        most = self.MOST[self._kind]
        if not (number >= 0 if self._zero else number > 0) or not number <= most:  # also not NaN
            least = "at least 0" if self._zero else "more than 0"
            self.fail(f"{value} is not {least} and at most {most:,.0f}.", param, ctx)
        return number


def flags_of(options: type) -> Callable[[F], F]:
    """Give a command a flag for each field of a dataclass of options."""

    def add(function: F) -> F:
        for field in reversed(dataclasses.fields(options)):
            facts = field.metadata
            name = field.name.replace("_", "-")
            unit, kind = facts["unit"], facts["kind"]
            off_too = kind is bool and field.default  # what is on needs a flag to turn it off
            several = isinstance(field.default, tuple)
            click.option(
                f"--{name}/--no-{name}" if off_too else f"--{name}",
                type=Number(kind, zero=facts["zero"]) if kind in (int, float) else kind,
                is_flag=kind is bool,
                multiple=several,
                default=field.default,
                metavar=_metavar(unit, kind),
                envvar=None if several else f"STRETTA_{field.name.upper()}",
                show_default=field.default not in (None, ()) and kind is not bool,
                help=_sentence(facts["words"]),
            )(function)
        return function

    return add


def take(options: type[Options], values: dict[str, Any]) -> Options:
    """Return the options object that the flags of ``flags_of`` gave, taken out of ``values``."""
    names = [field.name for field in dataclasses.fields(options)]  # type: ignore[arg-type]
    return options(**{name: values.pop(name) for name in names})


def end_flags(host: str, port: int, words: str, envvar: str | None = None) -> Callable[[F], F]:
    """Give a command ``-a``, ``-p`` and ``--any-port``."""

    def add(function: F) -> F:
        click.option(
            "--any-port", is_flag=True, help="Allow ports 0..65535 with -p, not only 1024..65535."
        )(function)
        click.option(
            "-p",
            "--port",
            default=str(port),
            show_default=True,
            metavar="N",
            envvar=envvar,
            help=f"Port {words}, in 1024..65535.",
        )(function)
        click.option(
            "-a",
            "--address",
            type=Host(),
            default=host,
            show_default=True,
            metavar="ADDRESS",
            help=f"Address {words}: IPv4, IPv6 or a name.",
        )(function)
        return function

    return add


def parse_end(port: str, *, any_port: bool) -> int:
    """Return the number of the port that ``-p`` gave; raises PortError."""
    return parse_port(port, ANY_PORT if any_port else USER_PORTS)


def service_flag(function: F) -> F:
    """Give a command ``--service``."""
    click.option(
        "--service",
        default="upper",
        show_default=True,
        metavar="NAME",
        help="What answers: upper, upper-ascii, echo, discard, or your own module:function.",
    )(function)
    return function


class Workers(click.ParamType[int]):
    """A number of processes, or ``auto`` for one a processor."""

    name = "workers"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        """Return the number."""
        if value == "auto":
            from stretta.net.server.workers import processors  # noqa: PLC0415 - only here

            return processors()
        number = click.IntRange(1, 1024).convert(value, param, ctx)
        return int(number)


def workers_flag(function: F) -> F:
    """Give a server ``--workers``."""
    click.option(
        "--workers",
        type=Workers(),
        default="1",
        show_default=True,
        metavar="N",
        envvar="STRETTA_WORKERS",
        help="Processes that share the port; auto is one a processor. Limits are each one's own.",
    )(function)
    return function


def talk_flags(function: F) -> F:
    """Give a command ``-q``, ``--json``, ``--color`` and ``--debug``."""
    look_flags(function)
    click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON object a line instead of text."
    )(function)
    click.option("-q", "--quiet", is_flag=True, help="Print data and errors only.")(function)
    return function


def look_flags(function: F) -> F:
    """Give a command ``--color`` and ``--debug``."""
    click.option(
        "--debug", is_flag=True, expose_value=False, help="Show the traceback of an error."
    )(function)
    click.option(
        "--color",
        type=click.Choice(["auto", "always", "never"]),
        default="auto",
        expose_value=False,
        help="When to use colour; auto obeys NO_COLOR and FORCE_COLOR.",
    )(function)
    return function


def _metavar(unit: str, kind: type) -> str | None:
    if kind is bool:
        return None
    return unit.upper() or ("N" if kind is int else "TEXT")


def _sentence(words: str) -> str:
    return words[0].upper() + words[1:] + "."
