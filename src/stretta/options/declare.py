"""Declaring an option: one line that says all there is to say of it."""

from __future__ import annotations

from dataclasses import field
from typing import Any

__all__ = ["option"]


def option(
    default: Any,
    words: str,
    *,
    unit: str = "",
    kind: type | None = None,
    zero: bool = False,
) -> Any:
    """Declare one option: its default, what it is for, its unit, and the type of its value.

    A number is above zero, or with ``zero`` not below it.

    Without a type, what is on or off is a bool, what is text or text repeated is a str, and
    everything else a float.
    """
    if kind is None:
        kind = (
            bool
            if isinstance(default, bool)
            else str
            if isinstance(default, str | tuple)
            else float
        )
    return field(
        default=default, metadata={"words": words, "unit": unit, "kind": kind, "zero": zero}
    )
