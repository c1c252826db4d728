"""Services: functions from request bytes to reply bytes, the same for TCP, UDP and HTTP. Pure.

A service is any function ``bytes -> bytes``, plain or async. It may return None: no reply at all.
A service is user code and may do anything: every protocol passes its result through ``reply_bytes``
and its exception through ``failure_reason``. ``call`` does both; on an event loop,
``net.server.service_caller.ServiceCaller`` does. Those raise ServiceFailed, whatever the service
raises.
"""

from __future__ import annotations

import codecs
import importlib
import inspect
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any, cast

from stretta.errors import UsageError
from stretta.upper import simple_upper, upper, upper_ascii

__all__ = [
    "SERVICES",
    "Service",
    "ServiceFailed",
    "call",
    "discard",
    "echo",
    "failure_reason",
    "load",
    "reply_bytes",
    "upper",
    "upper_ascii",
]

Reply = bytes | None
FastPath = Callable[[Any], Reply]  # of bytes, or of a view of them
Service = Callable[[bytes], Reply] | Callable[[bytes], Awaitable[Reply]]

LONGEST_REASON = 200
"""Characters of an exception's text that a reason keeps."""


class ServiceFailed(Exception):
    """A service raised an exception or returned something that cannot be sent.

    ``str()`` is the reason, for one log line: peers are never told.
    """


def echo(data: bytes) -> bytes:
    """Return the data as it came (RFC 862).

    >>> echo(b"ciao")
    b'ciao'
    """
    return data


def discard(data: bytes) -> None:
    """Discard the data and send no reply (RFC 863).

    >>> discard(b"ciao")
    """


SERVICES: dict[str, Service] = {
    "upper": upper,
    "upper-ascii": upper_ascii,
    "echo": echo,
    "discard": discard,
}
"""The services that --service takes by name."""


def whole_characters(data: bytes) -> int:
    """Return how many leading bytes of ``data`` do not end inside a UTF-8 character.

    At most the last three bytes are left for the next segment to complete.
    """
    if data[-1:] < b"\x80":
        return len(data)
    tail = data[-3:]
    return len(data) - len(tail) + codecs.utf_8_decode(tail, "surrogateescape", False)[1]


CUTS: list[tuple[Service, Callable[[bytes], int]]] = [(upper, whole_characters)]
FAST_PATHS: list[tuple[Service, FastPath]] = [
    (upper, simple_upper),
    (upper_ascii, upper_ascii),
    (echo, echo),
]


def cut_of(service: Service) -> Callable[[bytes], int] | None:
    """Return the function that says where a stream may be cut before the service sees it.

    None means anywhere.
    """
    return next((cut for known, cut in CUTS if known is service), None)


def fast_path_of(service: Service) -> FastPath | None:
    """Return a function that answers most requests without state, or None if there is none.

    It takes bytes or a view of them, however a stream was cut, and returns the reply, or None to
    leave the request to the service.
    """
    # by identity: a service need not be hashable, nor compare as equal to itself
    return next((fast for known, fast in FAST_PATHS if known is service), None)


def no_fast_path(data: object) -> None:
    """Leave every request to the service."""


def is_own(service: Service) -> bool:
    """Return whether the service is one of SERVICES: quick, and safe to call on the event loop."""
    return any(known is service for known in SERVICES.values())


def reply_bytes(result: object) -> bytes | None:
    """Return the bytes to send for what a service returned, None for no reply.

    Any bytes-like object is copied, contiguous or not (PEP 3118). Raises ServiceFailed for anything
    else.

    >>> reply_bytes(memoryview(b"ciao")[::-1])
    b'oaic'
    >>> reply_bytes("ciao")
    Traceback (most recent call last):
    stretta.services.ServiceFailed: the reply is str, not bytes
    """
    if result is None or type(result) is bytes:
        return result
    try:
        return memoryview(cast("Any", result)).tobytes()
    except BaseException as error:  # noqa: BLE001 - a buffer can be user code (PEP 688)
        if inspect.iscoroutine(result):
            result.close()  # else Python warns that nobody awaited it
        if isinstance(error, MemoryError):
            raise ServiceFailed(failure_reason(error)) from None
        raise ServiceFailed(f"the reply is {_type_name(result)}, not bytes") from None


def failure_reason(error: BaseException) -> str:
    """Return why a service failed, from what it raised: one short line that never fails itself.

    >>> failure_reason(ValueError("no"))
    'the service failed with ValueError: no'
    """
    if type(error) is ServiceFailed:
        return str(error)
    try:
        text = str.__getitem__(str(error), slice(LONGEST_REASON))
    except BaseException:  # noqa: BLE001 - __str__ is user code too
        text = ""
    return f"the service failed with {_type_name(error)}" + (f": {text}" if text else "")


def _type_name(value: object) -> str:
    return type.__dict__["__name__"].__get__(type(value))[:LONGEST_REASON]  # type: ignore[no-any-return]


def call(service: Service, request: bytes) -> bytes | None:
    """Return what a plain service replies. Raises ServiceFailed, whatever the service does."""
    try:
        return reply_bytes(service(request))
    except BaseException as error:  # noqa: BLE001 - user code can raise anything, even SystemExit
        raise ServiceFailed(failure_reason(error)) from None


def is_async(service: Service) -> bool:
    """Return whether the service must be awaited."""
    call = getattr(service, "__call__", None)  # noqa: B004 - an object's own async __call__
    return inspect.iscoroutinefunction(service) or inspect.iscoroutinefunction(call)


def load(name: str) -> Service:
    """Return the service called ``name``: one of SERVICES, or ``module:function``.

    The current folder is searched for the module too. Raises UsageError, with the names there are,
    when no service has that name.
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
    except (Exception, SystemExit) as error:
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
