"""Let a request in, or ask for a user name and a password (HTTP Basic, RFC 7617)."""

from __future__ import annotations

import time
from functools import partial

from stretta.address import source_of
from stretta.http.server.auth import GuessLimiter, Users, parse_credentials
from stretta.http.server.request import Request, Requester
from stretta.http.server.worker_pool import Overloaded, WorkerPool

__all__ = ["CHALLENGE", "RETRY_LATER", "AuthGate", "Denied"]

CHALLENGE = ("WWW-Authenticate", 'Basic realm="stretta", charset="UTF-8"')

RETRY_LATER = ("Retry-After", "1")

CHECKS, WAITING_CHECKS, PER_SOURCE = 2, 1024, 4
"""Password checks that run at once, that may wait, and that one source may have waiting; further
ones get 503. A check takes some 50 ms, so the longest wait is about half a minute."""


class Denied(Exception):
    """A request is not let in: the status of its response, why, and headers to add."""

    def __init__(self, status: int, why: str, header: tuple[str, str]) -> None:
        super().__init__(why)
        self.status, self.why, self.header = status, why, header


class AuthGate:
    """Checks the credentials of requests; the costly comparison runs in a worker thread."""

    def __init__(self, users: Users, prefix: int = 64) -> None:
        self._users, self._prefix = users, prefix
        self._guesses = GuessLimiter(time.monotonic)
        self._checks = WorkerPool(CHECKS, WAITING_CHECKS, PER_SOURCE, alternates=True)

    def admit_known(self, request: Request) -> bool:
        """Return whether the request carries credentials that were right before.

        Raises Denied (401) when it carries none.
        """
        authorization = request.headers.get("authorization")
        request.user = self._users.remembered(authorization)
        if request.user is None and authorization is None:
            raise Denied(401, "", CHALLENGE)
        return request.user is not None

    async def check(self, request: Request, client: Requester) -> None:
        """Check credentials that were not seen before, and set ``request.user``.

        Raises Denied: 401 for wrong ones, 429 after too many wrong ones from one address, 503 when
        too many checks are waiting.
        """
        authorization = request.headers["authorization"]
        credentials = parse_credentials(authorization)
        if credentials is None:
            raise Denied(401, "", CHALLENGE)
        source = source_of(client.address, self._prefix)
        priority = self._guesses.priority(source)
        if not self._guesses.allow(source):
            why = "There were too many wrong passwords from this address. Try again later."
            raise Denied(429, why, RETRY_LATER)
        try:
            request.user = await self._checks.run(
                partial(self._users.check, authorization, credentials),
                credentials,
                pure=True,
                is_there=client.is_there,
                source=source,
                priority=priority,
            )
        except Overloaded:
            self._guesses.give_back(source)
            raise Denied(503, "", RETRY_LATER) from None
        if request.user is None:
            self._guesses.distrust(source)
            raise Denied(401, "", CHALLENGE)
        self._guesses.trust(source)
