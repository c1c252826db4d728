"""Whether what is compiled is to be used where it is: each such module has a stand-in. Pure."""

from __future__ import annotations

import os

__all__ = ["uses_compiled"]


def uses_compiled() -> bool:
    """Return whether the user has not chosen to go without (``STRETTA_PURE=1``)."""
    return not os.environ.get("STRETTA_PURE")
