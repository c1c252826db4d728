"""From phrases to English: the only place where facts become words.

A template of the catalogue names its facts in braces, with the form in which each is written:
``{wait:time}``, ``{size:bytes}``, ``{count:times}``, ``{calls:calls}``, ``{host:host}`` and
``{host:kernel}`` (``Host``, ``Kernel`` at the beginning of a sentence), ``{parts:list}``,
``{parts:and}``, ``{count:segment|segments}``. Others are Python's own, as ``{count:,}``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from string import Formatter
from typing import Any

from stretta.see.events import Call
from stretta.see.explain.catalogue import SENTENCES
from stretta.see.explain.phrases import Phrase
from stretta.see.hosts import Host, Role

__all__ = ["Wording", "bytes_", "duration"]


def duration(nanoseconds: int) -> str:
    """Return a time as people write it.

    >>> duration(1_023_400_000), duration(50_312_000), duration(312_000)
    ('1.02 s', '50.3 ms', '0.31 ms')
    """
    if nanoseconds >= 1_000_000_000:
        return f"{nanoseconds / 1e9:.2f} s"
    if nanoseconds >= 1_000_000:
        return f"{nanoseconds / 1e6:.3g} ms"
    return f"{nanoseconds / 1e6:.2f} ms"


def bytes_(count: int) -> str:
    """Return a number of bytes in words."""
    return f"{count:,} byte" if count == 1 else f"{count:,} bytes"


def times(count: int) -> str:
    """Return how often, in words."""
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def calls_of(calls: list[Call]) -> str:
    """Return how many calls of which names: ``2 calls of send()``."""
    names = list(dict.fromkeys(f"{c.name}()" for c in calls))
    if len(calls) == 1:
        return f"one {names[0]}"
    if len(names) == 1:
        return f"{len(calls)} calls of {names[0]}"
    return f"{len(calls)} calls ({', '.join(names[:-1])} and {names[-1]})"


def _and(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


class Wording(Formatter):
    """Says phrases about some hosts.

    Where a far end is not in the recording (a trace), the hosts are "this end" and "the other end";
    elsewhere each has its name.
    """

    def __init__(self, hosts: Iterable[Host], sentences: Mapping[str, str] = SENTENCES) -> None:
        self._sentences = sentences
        self._hosts = tuple(hosts)
        self._traced = any(host.role is Role.OUTSIDE for host in self._hosts)
        forms: dict[str, Callable[[Any], str]] = {
            "time": duration,
            "bytes": bytes_,
            "times": times,
            "calls": calls_of,
            "host": self.host,
            "kernel": lambda name: f"{self.host(name)}'s kernel",
            "list": lambda parts: ", ".join(self._all(parts)),
            "and": lambda parts: _and(self._all(parts)),
        }
        self._forms = forms

    def say(self, what: Phrase) -> str:
        """Return a phrase in words."""
        return self.vformat(self._sentences[what.key], (), dict(what.facts))

    def host(self, name: str) -> str:
        """Return the words for a host."""
        if self._traced:
            outside = any(h.name == name and h.role is Role.OUTSIDE for h in self._hosts)
            return "the other end" if outside else "this end"
        return f"the {name}"

    def format_field(self, value: Any, format_spec: str) -> Any:
        """Return one fact in the form that the template wants."""
        if value is None:
            return ""
        if form := self._forms.get(format_spec):
            return form(value)
        if format_spec[:1].isupper() and (form := self._forms.get(format_spec.lower())):
            text = form(value)
            return text[:1].upper() + text[1:]
        if "|" in format_spec:
            one, many = format_spec.split("|")
            return one if value == 1 else many
        if isinstance(value, Phrase):
            return self.say(value)
        return format(value, format_spec)

    def _all(self, parts: Iterable[Any]) -> list[str]:
        return [self.say(part) if isinstance(part, Phrase) else str(part) for part in parts]
