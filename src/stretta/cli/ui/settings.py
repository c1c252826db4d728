"""What ``--color`` and ``--debug`` say, for the whole process."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SETTINGS"]


@dataclass
class Settings:
    """The colour that was asked for (auto, always or never), and whether tracebacks are shown."""

    color: str = "auto"
    debug: bool = False


SETTINGS = Settings()
