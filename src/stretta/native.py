"""Whether compiled modules are used; each has a fallback in Python. Pure."""

from __future__ import annotations

import os

__all__ = ["uses_compiled"]


def uses_compiled() -> bool:
    """Return whether compiled modules are used: always, unless ``STRETTA_PURE=1`` is set."""
    return not os.environ.get("STRETTA_PURE")
