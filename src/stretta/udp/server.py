"""The UDP server: a service answers each datagram."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from stretta.net.server.datagram.sources import DropReason
from stretta.net.server.datagram_server import DatagramServer, Fail, ReplyAddress
from stretta.net.server.service_caller import ServiceCaller
from stretta.options import DatagramLimits
from stretta.reports import Observer
from stretta.services import Service, ServiceFailed, call, echo, fast_path_of, no_fast_path, upper

__all__ = ["UdpServer", "serve"]

LONGEST_CALL = 30.0
"""Seconds after which a request gives way, when as many are pending as may be."""


def serve(
    service: Service = upper,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    limits: DatagramLimits | None = None,
    watch: Observer | None = None,
) -> UdpServer:
    """Return a UDP server that answers each datagram through ``service``.

    ``service`` maps request bytes to reply bytes, plain or async; None is no reply. A plain
    function of yours runs in threads. ``host`` is an address, a multicast group to join, or a name
    (``"::"`` takes IPv4 too), ``port`` 0 any free port. ``watch`` is called with each report. Use
    the server as an async context manager, or block in its ``run()``; both raise CannotServe when
    the address or port is not available.

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
    """The server that ``serve`` returns, with its ``endpoints``, ``port`` and ``counts``.

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
        super().__init__(host, port, limits=limits, breaks_loops=service is not echo, watch=watch)
        self._caller = ServiceCaller(service)
        self._fast_path = fast_path_of(service) or no_fast_path
        self._pending: dict[object, tuple[float, Callable[[], object]]] = {}  # in order of arrival

    @property
    def answers_later(self) -> bool:
        return not self._caller.inline

    def answer(self, data: bytes, to: ReplyAddress) -> None:
        if not self._caller.inline:
            self._answer_later(data, to)
            return
        try:
            reply = call(self._caller.service, data)
        except ServiceFailed as error:
            self.fail(str(error), to)
        else:
            if reply is not None:
                self.reply(data, reply, to)

    def answer_all(self, requests: list[bytes], fail: Fail) -> list[bytes | None]:
        replies = list(map(self._fast_path, requests))
        if all(replies):
            return replies
        for number, data in enumerate(requests):
            if replies[number] is None:
                try:
                    replies[number] = call(self._caller.service, data)
                except ServiceFailed as error:
                    fail(number, str(error))
        return replies

    # a service of the user

    def _answer_later(self, data: bytes, to: ReplyAddress) -> None:
        if not self._has_room():
            why = "the service has too many requests to answer already"
            self._drop(to.address, DropReason.PENDING, why)
            return
        loop = asyncio.get_running_loop()
        request = object()

        def done(reply: bytes | None, failed: ServiceFailed | None) -> None:
            if self._pending.pop(request, None) is None:
                return  # it gave way
            if failed is not None:
                self.fail(str(failed), to)
            elif reply is not None and self._sockets:
                self.reply(data, reply, to)
            if not self._pending:
                self._on_idle()

        if self._caller.is_async:
            task = loop.create_task(self._await_service(data, done))
            self._pending[request] = loop.time(), task.cancel
            return
        self._pending[request] = loop.time(), lambda: None
        try:
            self._caller.submit(data, done)
        except ServiceFailed as error:
            done(None, error)

    async def _await_service(
        self, data: bytes, done: Callable[[bytes | None, ServiceFailed | None], None]
    ) -> None:
        try:
            done(await self._caller(data), None)
        except ServiceFailed as error:
            done(None, error)

    def _has_room(self) -> bool:
        """Return whether one more request may be pending; the oldest gives way if it is overdue."""
        if len(self._pending) < self.limits.max_pending:
            return True
        request, (began, cancel) = next(iter(self._pending.items()))
        if asyncio.get_running_loop().time() - began < LONGEST_CALL:
            return False
        del self._pending[request]
        cancel()
        return True

    def _close_idle(self) -> int:
        return len(self._pending)

    def abort(self) -> None:
        for _, cancel in self._pending.values():
            cancel()
        self._pending.clear()
        super().abort()
