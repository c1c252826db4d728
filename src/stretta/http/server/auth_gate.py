"""Let a request in, or ask for a user name and a password (HTTP Basic, RFC 7617)."""

from __future__ import annotations

import time
from functools import partial

from stretta.http.server.auth import GuessLimiter, Users
from stretta.http.server.request import Request, Requester
from stretta.http.server.worker_pool import Overloaded, WorkerPool

__all__ = ["CHALLENGE", "RETRY_LATER", "AuthGate", "Denied"]

CHALLENGE = ("WWW-Authenticate", 'Basic realm="stretta", charset="UTF-8"')

RETRY_LATER = ("Retry-After", "1")

CHECKS, WAITING_CHECKS = 2, 32
"""Password checks that run at once, and that may wait; further ones get 503."""


class Denied(Exception):
    """A request is not let in: the status of its response, why, and headers to add."""

    def __init__(self, status: int, why: str, header: tuple[str, str]) -> None:
        super().__init__(why)
        self.status, self.why, self.header = status, why, header


class AuthGate:
    """Checks the credentials of requests; the costly comparison runs in a worker thread."""

    def __init__(self, users: Users) -> None:
        self._users = users
        self._guesses = GuessLimiter(time.monotonic)
        self._checks = WorkerPool(CHECKS, WAITING_CHECKS)

    def admit_known(self, request: Request) -> bool:
        """Return whether the request carries credentials that were right before.

        Raises Denied (401) when it carries none.
        """
        credentials = request.headers.get("authorization")
        request.user = self._users.known(credentials)
        if request.user is None and credentials is None:
            raise Denied(401, "", CHALLENGE)
        return request.user is not None

    async def check(self, request: Request, client: Requester) -> None:
        """Check credentials that were not seen before, and set ``request.user``.

        Raises Denied: 401 for wrong ones, 429 after too many wrong ones from one address, 503 when
        too many checks are waiting.
        """
        credentials = request.headers["authorization"]
        if not self._guesses.allow(client.address):
            why = "There were too many wrong passwords from this address. Try again later."
            raise Denied(429, why, RETRY_LATER)
        try:
            request.user = await self._checks.run(
                partial(self._users.check, credentials),
                credentials,
                pure=True,
                is_there=client.is_there,
            )
        except Overloaded:
            raise Denied(503, "", RETRY_LATER) from None
        if request.user is None:
            raise Denied(401, "", CHALLENGE)
        self._guesses.forgive(client.address)
