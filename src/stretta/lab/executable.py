"""Why a program cannot be started: which file or folder on its way says no."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["obstacle"]


def obstacle(program: str) -> str:
    """Return what keeps this user from executing a file, in words, or '' where nothing does.

    Symbolic links are followed (path_resolution(7)).

    >>> obstacle("/no/such/program"), obstacle("/dev/null"), obstacle("/bin/sh")
    ('/no does not exist', '/dev/null may not be executed', '')
    """
    real = Path(os.path.realpath(program))
    for folder in reversed(real.parents):
        if not os.access(folder, os.F_OK):
            return f"{folder} does not exist"
        if not os.access(folder, os.X_OK):
            return f"{folder} may not be entered by this user, and {real} is in it"
    if not os.access(real, os.F_OK):
        return f"{real} does not exist"
    return "" if os.access(real, os.X_OK) else f"{real} may not be executed"
