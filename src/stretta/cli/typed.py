"""The words of a command line, each with the option that it belongs to."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence

import click

__all__ = ["closest_option", "same_command", "split_words"]

Piece = tuple[click.Option | None, list[str]]


def split_words(params: Iterable[click.Parameter], words: Sequence[str]) -> Iterator[Piece]:
    """Give each option with its words, and None with each other word, as click reads them.

    A word after ``--`` belongs to no option, even if it begins with a dash. In a cluster of short
    flags the last one counts.
    """
    known = {
        name: param
        for param in params
        if isinstance(param, click.Option)
        for name in (*param.opts, *param.secondary_opts)
    }
    rest = iter(words)
    for word in rest:
        if word == "--":
            yield from ((None, [left]) for left in (word, *rest))
        elif not word.startswith("-") or word == "-":
            yield None, [word]
        else:
            option, value = _find(known, word)
            takes_next = option is not None and value is None and _takes_value(option)
            after = next(rest, None) if takes_next else None
            yield option, [word] if after is None else [word, after]


def _find(known: dict[str, click.Option], word: str) -> tuple[click.Option | None, str | None]:
    """Return the option of a word, and the value in the same word if it has one."""
    name, equals, value = word.partition("=")
    if name in known or word.startswith("--"):
        return known.get(name), value if equals else None
    option = None
    for at, letter in enumerate(word[1:], 2):
        option = known.get(f"-{letter}")
        if option is None or _takes_value(option):
            return option, word[at:] or None
    return option, None


def _takes_value(option: click.Option) -> bool:
    return not option.is_flag and not option.count


def same_command(path: str, params: Iterable[click.Parameter], words: Sequence[str]) -> str:
    """Return the command that was typed, to be typed again with another port.

    The port is left out: ``-p`` and the argument named port. Empty where a secret would be shown.
    """
    kept = []
    for option, own in split_words(params, words):
        if option is not None and getattr(option, "secret", False):
            return ""
        is_port = option.name == "port" if option is not None else own[0].isdecimal()
        if not is_port:
            kept += own
    return shlex.join([*path.split(), *kept])


def closest_option(name: str, known: Iterable[str]) -> str | None:
    """Return the option that a wrong name most probably means; None when none is close.

    >>> closest_option("--tiemout", ["--timeout", "--tls"]), closest_option("--upload", ["--log"])
    ('--timeout', None)
    """
    word = name.strip("-")
    most = 2 if len(word) > 5 else 1 if len(word) > 2 else 0
    long = sorted({one for one in known if one.startswith("--")})
    near = min(((_distance(word, one[2:]), one) for one in long), default=(99, ""))
    if near[0] <= most:
        return near[1]
    for fits in (
        lambda one: len(word) > 2 and one[2:].startswith(word),
        lambda one: word in one[2:].split("-"),
    ):
        found = [one for one in long if fits(one)]
        if len(found) == 1:
            return found[0]
    return None


def _distance(one: str, other: str) -> int:
    """Return the edits between two words: insertion, deletion, change, transposition."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        new = [i]
        for j, b in enumerate(other, 1):
            best = min(row[j] + 1, new[-1] + 1, row[j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                best = min(best, before[j - 2] + 1)
            new.append(best)
        before, row = row, new
    return row[-1]
