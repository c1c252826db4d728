"""User names and passwords (HTTP Basic, RFC 7617), stored as scrypt hashes only."""

from __future__ import annotations

import base64
import binascii
import errno
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple, TypeVar

from stretta.errors import UsageError

__all__ = ["Credentials", "GuessLimiter", "Users", "parse_credentials", "password_line"]

T = TypeVar("T")

COST, BLOCK, PARALLEL = 2**14, 8, 1
"""Parameters of scrypt (RFC 7914): each guess takes 16 MiB and some 50 ms."""

MAX_REMEMBERED = 1024
"""Credentials remembered as digests after a successful check, so that scrypt runs once for each."""

MAX_SOURCES = 16384
"""Sources whose wrong guesses are counted."""

HOW_TO_MAKE = "To make a line: stretta http password USER"

FREE_GUESSES = 20
"""Wrong passwords that a source may send at once: enough for a person, too few for a program."""

DISTRUST = 300.0
"""Seconds for which the checks of a source come last after a wrong guess."""

CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
"""Characters that neither a user name nor a password can hold (RFC 7617 section 2)."""


class Credentials(NamedTuple):
    """A user name and a password."""

    user: str
    password: str

    def __repr__(self) -> str:
        return f"Credentials({self.user!r}, ...)"


class PasswordHash(NamedTuple):
    """A hashed password."""

    salt: bytes
    key: bytes

    @classmethod
    def of(cls, password: str, salt: bytes) -> PasswordHash:
        """Return the hash of a password."""
        key = hashlib.scrypt(
            password.encode("utf-8", "surrogateescape"), salt=salt, n=COST, r=BLOCK, p=PARALLEL
        )
        return cls(salt, key)

    def __repr__(self) -> str:
        return "PasswordHash(...)"


DUMMY_HASH = PasswordHash(bytes(16), bytes(64))
"""Compared with the password of an unknown user, so that the check takes as long as any other."""


def password_line(user: str, password: str) -> str:
    """Return a line for ``--auth-file``: ``user:scrypt:SALT:KEY``, salt and key in base64.

    Raises UsageError for a name or a password that HTTP cannot carry (RFC 7617 section 2).
    """
    if not user or ":" in user or not user.isprintable():
        why = "it is empty, or contains a colon or an unprintable character"
        raise UsageError(f"{user!r} cannot be a user name", why)
    if CONTROLS.search(password):
        raise UsageError(f"cannot use the password of {user!r}", "it contains a control character")
    kept = PasswordHash.of(password, secrets.token_bytes(16))
    return ":".join([user, "scrypt", *(base64.b64encode(part).decode() for part in kept)])


def parse_credentials(authorization: str) -> Credentials | None:
    """Return the credentials in an Authorization field, None when they are malformed.

    The scheme must be Basic, the base64 canonical (RFC 4648 section 3.5), and neither the user name
    nor the password may hold a control character.
    """
    scheme, _, token = authorization.partition(" ")
    token = token.strip(" ")
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(token, validate=True)
    except (binascii.Error, ValueError):
        return None
    if base64.b64encode(decoded).decode() != token:
        return None
    pair = decoded.decode("utf-8", "surrogateescape")
    user, colon, password = pair.partition(":")
    return Credentials(user, password) if colon and not CONTROLS.search(pair) else None


class Users:
    """The users that may read."""

    def __init__(self, lines: Iterable[str]) -> None:
        """Take lines made by ``password_line``. Raises UsageError."""
        self._users: dict[str, PasswordHash] = {}
        self._secret = secrets.token_bytes(32)
        self._remembered: dict[bytes, str] = {}
        for number, line in enumerate(lines, 1):
            try:
                user, kind, salt, key = line.split(":")
                stored = PasswordHash(
                    base64.b64decode(salt, validate=True), base64.b64decode(key, validate=True)
                )
            except ValueError:
                kind = ""
            if kind != "scrypt":
                raise UsageError(
                    f"entry {number} of the users has no password that can be read",
                    "the line is not of the form user:scrypt:SALT:KEY",
                    HOW_TO_MAKE,
                )
            self._users[user] = stored

    @classmethod
    def load(cls, pairs: Iterable[str], file: str | None) -> Users | None:
        """Return the users of the options ``--auth`` and ``--auth-file``, None if there are none.

        Raises UsageError.
        """
        lines = []
        for pair in pairs:
            user, colon, password = pair.partition(":")
            if not colon:
                raise UsageError("--auth takes user:password", "the value contains no colon")
            lines.append(password_line(user, password))
        if file is not None:
            try:
                text = Path(file).read_text("utf-8")
            except OSError as error:
                why = os.strerror(error.errno or errno.EIO).lower()
                raise UsageError(f"cannot read the users in {file}", why, HOW_TO_MAKE) from error
            except UnicodeDecodeError as error:
                why = "it is not a text file in UTF-8"
                raise UsageError(f"cannot read the users in {file}", why, HOW_TO_MAKE) from error
            found = [line.strip() for line in text.splitlines()]
            lines += [line for line in found if line and not line.startswith("#")]
        if not lines and file is None:
            return None
        return cls(lines)

    def remembered(self, authorization: str | None) -> str | None:
        """Return the user of credentials that ``check`` accepted before; takes no time."""
        if authorization is None:
            return None
        return self._remembered.get(self._digest(authorization))

    def check(self, authorization: str, credentials: Credentials) -> str | None:
        """Return the user whose credentials these are, None when they are wrong.

        Takes some 50 ms of a core. ``authorization`` is the field that carried the credentials.
        """
        user, password = credentials
        stored = self._users.get(user, DUMMY_HASH)
        right = hmac.compare_digest(PasswordHash.of(password, stored.salt).key, stored.key)
        if not right:
            return None
        self._remembered[self._digest(authorization)] = user
        if len(self._remembered) > MAX_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        return user

    def _digest(self, authorization: str) -> bytes:
        return hmac.digest(self._secret, authorization.encode("latin-1", "replace"), "sha256")


class GuessLimiter:
    """Limits the guesses of each source: ``FREE_GUESSES`` at once, then one a second.

    Right passwords cost nothing. ``clock`` returns seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._full_at: dict[str, float] = {}  # time at which the source has all its guesses again
        self._trusted: dict[str, None] = {}  # sources that sent a right password
        self._wrong: dict[str, float] = {}  # sources that sent a wrong one, and when

    def allow(self, source: str) -> bool:
        """Count a guess; return whether it may be checked."""
        now = self._clock()
        full_at = max(self._full_at.pop(source, now), now)
        _remember(self._full_at, source, full_at)
        if full_at - now > FREE_GUESSES - 1:
            return False
        self._full_at[source] = full_at + 1
        return True

    def give_back(self, source: str) -> None:
        """Take back a guess that was not checked."""
        if source in self._full_at:
            self._full_at[source] -= 1

    def trust(self, source: str) -> None:
        """Take back a guess that was right, and prefer the source from now on."""
        self.give_back(source)
        self._wrong.pop(source, None)
        self._trusted.pop(source, None)
        _remember(self._trusted, source, None)

    def distrust(self, source: str) -> None:
        """Remember that a guess was wrong."""
        self._wrong.pop(source, None)
        _remember(self._wrong, source, self._clock())

    def priority(self, source: str) -> int:
        """Return the priority of a source's next check.

        2 after a right password, 1 for a source without a recent wrong guess, 0 for any other.
        """
        if source in self._trusted:
            return 2
        wrong = self._wrong.get(source)
        return 1 if wrong is None or self._clock() - wrong >= DISTRUST else 0


def _remember(table: dict[str, T], source: str, value: T) -> None:
    """Add an entry, and forget the oldest one when there are too many."""
    table[source] = value
    if len(table) > MAX_SOURCES:
        del table[next(iter(table))]
