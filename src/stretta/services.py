"""Services: functions from request bytes to reply bytes, the same for TCP, UDP and HTTP.

A service is any function ``bytes -> bytes``, plain or async. It may return None: no reply at all.
"""

from __future__ import annotations

import codecs
import importlib
import inspect
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from stretta.errors import UsageError
from stretta.upper import simple_upper, upper, upper_ascii

__all__ = ["SERVICES", "Service", "discard", "echo", "load", "upper", "upper_ascii"]

Reply = bytes | None
Quick = Callable[[Any], Reply]  # of bytes, or of a view of them
Service = Callable[[bytes], Reply] | Callable[[bytes], Awaitable[Reply]]


def echo(data: bytes) -> bytes:
    """Return the data as it came (RFC 862).

    >>> echo(b"ciao")
    b'ciao'
    """
    return data


def discard(data: bytes) -> None:
    """Throw the data away and answer nothing (RFC 863).

    >>> discard(b"ciao")
    """


SERVICES: dict[str, Service] = {
    "upper": upper,
    "upper-ascii": upper_ascii,
    "echo": echo,
    "discard": discard,
}
"""The services that have a name."""


def whole_characters(data: bytes) -> int:
    """Return how many leading bytes of ``data`` do not end inside a UTF-8 character.

    At most the last three bytes are left for the next segment to complete.
    """
    if data[-1:] < b"\x80":
        return len(data)
    tail = data[-3:]
    return len(data) - len(tail) + codecs.utf_8_decode(tail, "surrogateescape", False)[1]


CUTS: dict[Service, Callable[[bytes], int]] = {upper: whole_characters}
"""Where a stream may be cut before a service sees it; a service not named here takes any cut."""

QUICK: dict[Service, Quick] = {
    upper: simple_upper,
    upper_ascii: upper_ascii,
    echo: echo,
}
"""What answers most of what a service is asked, wherever it was cut; None for the rest."""


def nothing_is_quick(data: object) -> None:
    """Leave the data to the service itself."""


def is_async(service: Service) -> bool:
    """Return whether the service must be awaited."""
    call = getattr(service, "__call__", None)  # noqa: B004 - an object's own async __call__
    return inspect.iscoroutinefunction(service) or inspect.iscoroutinefunction(call)


def load(name: str) -> Service:
    """Return the service called ``name``: one of SERVICES, or ``module:function``.

    The module is looked for in the current folder too. Raises UsageError when there is no such
    service, with the names there are.
    """
    if name in SERVICES:
        return SERVICES[name]
    module_name, colon, function_name = name.partition(":")
    if not (colon and module_name and function_name):
        raise UsageError(
            f"there is no service {name!r}",
            hint=f"Services: {', '.join(SERVICES)}, or your own function as module:function.",
        )
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise UsageError(
            f"cannot load the service {name!r}",
            f"importing {module_name} failed with {type(error).__name__}: {error}",
            f"Is there a {module_name.replace('.', '/')}.py in this folder?",
        ) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise UsageError(
            f"cannot load the service {name!r}",
            f"{module_name} has no function {function_name}",
            f"Define: def {function_name}(data: bytes) -> bytes",
        )
    return function  # type: ignore[no-any-return]
