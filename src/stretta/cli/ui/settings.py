"""What ``--color`` and ``--debug`` say, for the whole process."""

from __future__ import annotations

__all__ = ["SETTINGS"]


class Settings:
    """The colour that was asked for (auto, always or never), and whether tracebacks are shown."""

    def __init__(self) -> None:
        self.color = "auto"
        self.debug = False


SETTINGS = Settings()
