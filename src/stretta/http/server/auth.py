"""Who may read: names and passwords (HTTP Basic, RFC 7617), kept as scrypt hashes only."""

from __future__ import annotations

import base64
import binascii
import errno
import hashlib
import hmac
import os
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from stretta.errors import UsageError

__all__ = ["Users", "password_line"]

COST, BLOCK, PARALLEL = 2**14, 8, 1
"""scrypt's parameters (RFC 7914): 16 MiB and some 50 ms for each guess."""

MOST_REMEMBERED = 1024
"""Right answers that are remembered, as digests, so that scrypt runs once for each."""


MAKE = "Make one with: stretta http password USER"

FREE = 20
"""Wrong passwords that an address may send at once: a person's, not a program's."""


class PasswordHash(NamedTuple):
    """A password, as it is kept."""

    salt: bytes
    key: bytes

    @classmethod
    def of(cls, password: str, salt: bytes) -> PasswordHash:
        """Return the hash of a password."""
        key = hashlib.scrypt(
            password.encode("utf-8", "surrogateescape"), salt=salt, n=COST, r=BLOCK, p=PARALLEL
        )
        return cls(salt, key)


DUMMY_HASH = PasswordHash(bytes(16), bytes(64))
"""What an unknown name is compared with, so that it takes as long as a known one."""


def password_line(user: str, password: str) -> str:
    """Return the line of a file of users: ``user:scrypt:SALT:KEY``, both in base64.

    Raises UsageError for a name that cannot be sent (RFC 7617 section 2).
    """
    if not user or ":" in user or not user.isprintable():
        raise UsageError(f"{user!r} cannot be a user's name", "it is empty or holds a colon")
    kept = PasswordHash.of(password, secrets.token_bytes(16))
    return ":".join([user, "scrypt", *(base64.b64encode(part).decode() for part in kept)])


class Users:
    """Those who may read."""

    def __init__(self, lines: Iterable[str]) -> None:
        """Take the lines that ``password_line`` made. Raises UsageError."""
        self._users: dict[str, PasswordHash] = {}
        self._secret = secrets.token_bytes(32)
        self._known: dict[bytes, str] = {}
        for line in lines:
            try:
                user, kind, salt, key = line.split(":")
                kept = PasswordHash(base64.b64decode(salt, validate=True), base64.b64decode(key))
            except ValueError:
                kind = ""
            if kind != "scrypt":
                raise UsageError(
                    f"{line.partition(':')[0]!r} has no password that can be read",
                    "the line is not of the form user:scrypt:SALT:KEY",
                    MAKE,
                )
            self._users[user] = kept

    @classmethod
    def load(cls, pairs: Iterable[str], file: str | None) -> Users | None:
        """Return the users of options ``--auth`` and ``--auth-file``, None if there are none.

        Raises UsageError.
        """
        lines = []
        for pair in pairs:
            user, colon, password = pair.partition(":")
            if not colon:
                raise UsageError(f"--auth takes user:password, not {user!r}")
            lines.append(password_line(user, password))
        if file is not None:
            try:
                text = Path(file).read_text("utf-8")
            except OSError as error:
                why = os.strerror(error.errno or errno.EIO).lower()
                raise UsageError(f"cannot read the users in {file}", why, MAKE) from error
            except UnicodeDecodeError as error:
                raise UsageError(
                    f"cannot read the users in {file}", "it is no text", MAKE
                ) from error
            found = [line.strip() for line in text.splitlines()]
            lines += [line for line in found if line and not line.startswith("#")]
        if not lines and file is None:
            return None
        return cls(lines)

    def known(self, authorization: str | None) -> str | None:
        """Return whose credentials these are if they were found right before; takes no time."""
        return None if authorization is None else self._known.get(self._digest(authorization))

    def check(self, authorization: str | None) -> str | None:
        """Return whose an Authorization header's value is, None if it is wrong.

        Takes some 50 ms of a core.
        """
        parsed = _parse(authorization)
        if authorization is None or parsed is None:
            return None
        user, password = parsed
        kept = self._users.get(user, DUMMY_HASH)
        right = hmac.compare_digest(PasswordHash.of(password, kept.salt).key, kept.key)
        if right:
            self._known[self._digest(authorization)] = user
            if len(self._known) > MOST_REMEMBERED:
                del self._known[next(iter(self._known))]
        return user if right else None

    def _digest(self, authorization: str) -> bytes:
        return hmac.digest(self._secret, authorization.encode("latin-1", "replace"), "sha256")


class GuessLimiter:
    """How often an address may guess: ``FREE`` times at once, then once a second.

    Right passwords cost nothing. ``clock`` gives seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._spent: dict[str, float] = {}  # when the last of its guesses is made good

    def allow(self, address: str) -> bool:
        """Count a guess; return whether it may be looked at."""
        now = self._clock()
        until = max(self._spent.pop(address, now), now)
        self._spent[address] = until  # the last of those to be forgotten
        if len(self._spent) > MOST_REMEMBERED:
            del self._spent[next(iter(self._spent))]
        if until - now > FREE - 1:
            return False
        self._spent[address] = until + 1
        return True

    def forgive(self, address: str) -> None:
        """Take back a guess that was right."""
        if address in self._spent:
            self._spent[address] -= 1


def _parse(authorization: str | None) -> tuple[str, str] | None:
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        pair = base64.b64decode(token.strip(), validate=True).decode("utf-8", "surrogateescape")
    except (binascii.Error, ValueError):
        return None
    user, colon, password = pair.partition(":")
    return (user, password) if colon else None
