"""Header fields: an ordered list, looked up by case-insensitive name. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from string import ascii_letters, digits
from typing import overload

from stretta.http.message.redaction import redact_value

__all__ = ["NO_HEADERS", "Headers", "is_field_value", "is_token"]

_TOKEN = frozenset(b"!#$%&'*+.^_`|~-" + digits.encode() + ascii_letters.encode())

_FIELD_VALUE = frozenset([9, *range(0x20, 0x7F), *range(0x80, 0x100)])


def is_token(text: str) -> bool:
    """Return whether the text is a token, as methods and field names are (RFC 9110 5.6.2).

    >>> is_token("Content-Type"), is_token("a b"), is_token("")
    (True, False, False)
    """
    return bool(text) and _consists_of(_TOKEN, text)


def is_field_value(text: str) -> bool:
    """Return whether the text can be the value of a field (RFC 9110 section 5.5).

    >>> is_field_value("a b"), is_field_value(""), is_field_value("a\\r\\nb")
    (True, True, False)
    """
    return _consists_of(_FIELD_VALUE, text)


def _consists_of(allowed: frozenset[int], text: str) -> bool:
    try:
        return allowed.issuperset(text.encode("latin-1"))
    except UnicodeEncodeError:
        return False


class Headers(Sequence[tuple[str, str]]):
    """The fields of one head, as (name, value) pairs of Latin-1 text (RFC 9110 section 5.5).

    >>> headers = Headers([("Via", "a"), ("via", "b"), ("Content-Length", "5")])
    >>> headers.get("content-length"), headers.get_all("Via"), headers.get("Date")
    ('5', ['a', 'b'], None)
    """

    __slots__ = ("_index", "_pairs")

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self._pairs = tuple(pairs)
        index: dict[str, list[str]] = {}
        for name, value in self._pairs:
            index.setdefault(name.lower(), []).append(value)
        self._index = index

    def get(self, name: str) -> str | None:
        """Return the values of all fields of this name, joined by commas, None without one."""
        values = self.get_all(name)
        return ", ".join(values) if values else None

    def get_all(self, name: str) -> list[str]:
        """Return the value of each field of this name."""
        return list(self._index.get(name.lower(), ()))

    def tokens(self, name: str) -> list[str]:
        """Return the elements of a comma-separated field, in lower case (RFC 9110 5.6.1).

        >>> Headers([("Connection", "Keep-Alive,, Upgrade")]).tokens("connection")
        ['keep-alive', 'upgrade']
        """
        return [
            token
            for value in self._index.get(name.lower(), ())
            for part in value.split(",")
            if (token := part.strip(" \t").lower())
        ]

    @overload
    def __getitem__(self, index: int) -> tuple[str, str]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[tuple[str, str]]: ...
    def __getitem__(self, index: int | slice) -> tuple[str, str] | Sequence[tuple[str, str]]:
        return self._pairs[index]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._index

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self._pairs == other._pairs

    def __hash__(self) -> int:
        return hash(self._pairs)

    def __repr__(self) -> str:
        shown = [(name, redact_value(name, value)) for name, value in self._pairs]
        return f"Headers({shown!r})"


NO_HEADERS = Headers()
"""The empty list of fields."""
