"""Why a program cannot be executed: which file or folder on its path denies it."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["unexecutable_reason"]


def unexecutable_reason(program: str) -> str:
    """Return why this user cannot execute a file, or '' if nothing prevents it.

    Symbolic links are followed (path_resolution(7)).

    >>> unexecutable_reason("/no/such/program"), unexecutable_reason("/bin/sh")
    ('/no does not exist', '')
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
