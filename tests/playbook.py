"""Tests of pure protocol objects that read like sequence diagrams (as mitmproxy's Playbook).

``play >> event`` does something to the protocol, ``play << decision`` checks what it decides:

    play >> received(GET) << request("/") >> responded(5) << framing("") >> written() << reads()

Events and decisions are functions of the protocol; a decision returns what it expected and what it
found, which must be equal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

P = TypeVar("P")


class Playbook(Generic[P]):
    """A protocol object, and what has happened to it so far, told when a decision is wrong."""

    def __init__(self, protocol: P) -> None:
        self.protocol = protocol
        self.result: Any = None  # of the last event
        self._story: list[str] = []

    def __rshift__(self, event: Callable[[Playbook[P]], Any]) -> Playbook[P]:
        """Let an event happen."""
        self._story.append(f">> {event.__qualname__.partition('.')[0]}")
        self.result = event(self)
        return self

    def __lshift__(self, decision: Callable[[Playbook[P]], tuple[Any, Any]]) -> Playbook[P]:
        """Check a decision."""
        expected, found = decision(self)
        name = decision.__qualname__.partition(".")[0]
        assert found == expected, "\n".join([*self._story, f"<< {name} is {found}, not {expected}"])
        self._story.append(f"<< {name} {found}")
        return self
