"""The UDP server: each datagram goes through a service, and back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

from stretta.net.server.datagram_server import DatagramServer, Fail, ReplyTo
from stretta.options import DatagramLimits
from stretta.reports import Observer
from stretta.services import Service, fast_path_of, is_async, no_fast_path, upper

__all__ = ["UdpServer", "serve"]


def serve(
    service: Service = upper,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    limits: DatagramLimits | None = None,
    watch: Observer | None = None,
) -> UdpServer:
    """Return a UDP server that answers each datagram with the one that ``service`` makes of it.

    ``service`` maps request bytes to reply bytes, plain or async; None is no reply. ``host`` is an
    address or a name (``"::"`` takes IPv4 too), ``port`` 0 any free port. ``watch`` is called with
    each report. Use the server as an async context manager, or block in its ``run()``; both raise
    CannotServe when the address or port cannot be had.

    >>> import asyncio
    >>> from stretta import udp
    >>> async def main() -> bytes:
    ...     async with udp.serve(lambda data: data[::-1]) as server:
    ...         return await udp.ask_async(b"ciao", port=server.port)
    >>> asyncio.run(main())
    b'oaic'
    """
    return UdpServer(service, host, port, limits or DatagramLimits(), watch)


class UdpServer(DatagramServer):
    """What ``serve`` returns: ``endpoints``, ``port`` and ``counts`` tell what it is and did.

    >>> from stretta import udp
    >>> with udp.serve().in_background() as server:
    ...     _ = udp.ask(b"ciao", port=server.port)
    >>> server.counts["datagrams"], server.counts["replies"]
    (1, 1)
    """

    command = "stretta udp server"

    def __init__(
        self, service: Service, host: str, port: int, limits: DatagramLimits, watch: Observer | None
    ) -> None:
        super().__init__(host, port, limits=limits, watch=watch)
        self._service = service
        self._is_async = is_async(service)
        self._at_work: set[asyncio.Task[None]] = set()

    def answer(self, data: bytes, reply_to: ReplyTo) -> None:
        if self._is_async:
            self._answer_later(data, reply_to)
            return
        try:
            reply = self._ask_service(data)
            if reply is not None:
                self.reply(data, reply, reply_to)
        except Exception as error:  # noqa: BLE001 - a service can fail in any way, the server not
            self._failed(error, reply_to)

    @property
    def answers_singly(self) -> bool:
        return self._is_async

    def answer_all(self, requests: list[bytes], fail: Fail) -> list[bytes | None]:
        fast_path = fast_path_of(self._service) or no_fast_path
        replies = list(map(fast_path, requests))
        if all(replies):
            return replies
        for number, data in enumerate(requests):
            if replies[number] is None:
                try:
                    replies[number] = self._ask_service(data)
                except Exception as error:  # noqa: BLE001
                    fail(number, error)
        return replies

    def _ask_service(self, data: bytes) -> bytes | None:
        return _checked(self._service(data))

    def _answer_later(self, data: bytes, reply_to: ReplyTo) -> None:
        if len(self._at_work) >= self.limits.max_pending:
            self._leave(reply_to.address, "too_many", "the service has too many to answer already")
            return
        task = asyncio.get_running_loop().create_task(self._work(data, reply_to))
        self._at_work.add(task)
        task.add_done_callback(self._done)

    async def _work(self, data: bytes, reply_to: ReplyTo) -> None:
        service = cast("Callable[[bytes], Awaitable[bytes | None]]", self._service)
        try:
            reply = _checked(await service(data))
            if reply is not None:
                self.reply(data, reply, reply_to)
        except Exception as error:  # noqa: BLE001
            self._failed(error, reply_to)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._at_work.discard(task)
        if not self._at_work:
            self._on_idle()

    def _close_idle(self) -> int:
        return len(self._at_work)

    def abort(self) -> None:
        for task in self._at_work:
            task.cancel()
        super().abort()


def _checked(reply: object) -> bytes | None:
    """Return a service's reply. Raises TypeError if it is none."""
    if reply is None or isinstance(reply, bytes):
        return reply
    raise TypeError(f"its reply is {type(reply).__name__}, not bytes")
