"""Declaring an option: one line that says all there is to say of it."""

from __future__ import annotations

from dataclasses import field
from typing import Any

__all__ = ["option"]


def option(default: Any, words: str, *, unit: str = "", kind: type = float) -> Any:
    """Declare one option: its default, what it is for, its unit, and the type of its value."""
    return field(default=default, metadata={"words": words, "unit": unit, "kind": kind})
