"""One TCP connection of the server: a thin adapter between the transport and an Exchange."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from stretta.net.server.connection import Connection
from stretta.net.server.service_caller import ServiceCaller
from stretta.net.server.stream_server import StreamServer
from stretta.reports import Received, Sent
from stretta.services import FastPath, ServiceFailed, call, no_fast_path
from stretta.tcp.exchange import Decision, Exchange
from stretta.tcp.framing import Framing

__all__ = ["InlineConnection", "TaskConnection"]

LINGER = 1.0
"""Seconds from a refusal to the reset: the replies to earlier lines arrive first."""

MOST_AT_ONCE = 256
"""Requests of one connection that are answered before other connections have their turn."""


class InlineConnection(Connection):
    """Answers through a service that runs on the event loop, one of Stretta's own."""

    __slots__ = ("_blocked", "_exchange", "_fast_path", "_new_framing", "_received", "_refused",
                 "_scheduled", "_service", "_service_fast_path")  # fmt: skip

    takes_views = True

    def __init__(
        self,
        server: StreamServer,
        caller: ServiceCaller,
        new_framing: Callable[[], Framing],
        fast_path: FastPath | None,
    ) -> None:
        super().__init__(server)
        self._service_fast_path = fast_path
        self._service = caller.service
        self._new_framing = new_framing
        self._exchange: Exchange | None = None  # made for data that the fast path does not answer
        self._received = False  # a request is received, and its reply not reported yet
        self._refused = False
        self._blocked = False  # the transport holds as much output as it should
        self._scheduled = False  # more requests wait for the next event-loop iteration
        self._fast_path: FastPath = no_fast_path

    # from the transport

    def data_received(self, data: bytes | memoryview) -> None:
        self.busy = True
        fast_path = self._fast_path  # calling a slot takes longer than calling a variable
        reply = fast_path(data)
        if reply is None:
            self._receive(bytes(data))
        else:
            self.transport.write(reply)

    def eof_received(self) -> bool:
        if self._exchange is None:
            self.transport.close()  # after the output is sent
        else:
            self._exchange.receive_eof()
            self._advance()
        return True  # this side closes when everything is answered

    def pause_writing(self) -> None:
        self._blocked = True
        self._hold()

    def resume_writing(self) -> None:
        self._blocked = False
        self._advance()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._received and exc is None and (self._exchange is None or self._exchange.is_empty):
            self._report_sent()
        super().connection_lost(exc)

    # the exchange

    def _receive(self, data: bytes) -> None:
        """Answer data that the fast path does not: the first, split characters, lines."""
        if not (self._received or self._refused):
            self._report_received()
        exchange = self._exchange
        fast_path = self._service_fast_path
        if fast_path is not None and (exchange is None or exchange.is_empty):
            reply = fast_path(data)
            if reply is not None:
                self._set_fast_path(fast_path)
                self.transport.write(reply)
                return
        if exchange is None:
            exchange = self._exchange = Exchange(self._new_framing())
        exchange.receive_data(data)
        self._advance()
        self._set_fast_path(fast_path if exchange.is_empty else None)

    def _advance(self) -> None:
        """Answer what has arrived, up to a share of this event-loop iteration."""
        exchange = self._exchange
        if exchange is None:
            self._hold()
            return
        pieces: list[bytes] = []
        decision: bytes | Decision = Decision.READ
        for _ in range(0 if self._blocked or self._scheduled else MOST_AT_ONCE):
            decision = exchange.next_decision()
            if isinstance(decision, Decision):
                break
            try:
                pieces.append(exchange.reply(call(self._service, decision)))
            except ServiceFailed as error:
                self.drop("failed", str(error))
                return
        else:
            self._schedule()
        if pieces:
            self.transport.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        self._obey(decision)

    def _schedule(self) -> None:
        """Go on in the next event-loop iteration, unless the peer has to read first."""
        if not (self._blocked or self._scheduled):
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._resume)

    def _resume(self) -> None:
        self._scheduled = False
        self.busy = True
        if not self.transport.is_closing():
            self._advance()

    def _obey(self, decision: bytes | Decision) -> None:
        if decision is Decision.CLOSE:
            self.transport.close()  # after the output is sent
        elif decision is Decision.REFUSE:
            self._refuse()
        self._hold()

    def _hold(self) -> None:
        """Read only while nothing waits to be answered or sent: memory stays bounded."""
        if self._blocked or self._scheduled:
            self.transport.pause_reading()
        elif not self.transport.is_closing():
            self.transport.resume_reading()

    def _refuse(self) -> None:
        # the reset tells the client that not everything was answered
        self._refused, self._received = True, False
        self._set_fast_path(None)
        why = self._exchange.refusal if self._exchange is not None else ""
        self.server.dropped(self.peer, "too_long", why)
        asyncio.get_running_loop().call_later(LINGER, self.reset)

    def _set_fast_path(self, reply: FastPath | None) -> None:
        """Answer with ``reply`` from now on; the compiled transport calls it directly."""
        if self.fast is not None:
            self.fast.set_fast_path(reply)
        else:
            self._fast_path = reply or no_fast_path

    # the server's tick

    def on_rest(self) -> None:
        if self._received:
            self._report_sent()

    def is_working(self) -> bool:
        return self._scheduled

    def drop(self, name: str, why: str) -> None:
        self._received = False  # nothing was sent for it
        super().drop(name, why)

    def _report_received(self) -> None:
        self._received = True
        if self.server.watched:
            self.server.watch(Received(self.peer))

    def _report_sent(self) -> None:
        self._received = False
        self._set_fast_path(None)  # the next request is to be reported
        if self.server.watched:
            self.server.watch(Sent(self.peer))


class TaskConnection(InlineConnection):
    """Answers through a service that is awaited, in a task: one request at a time, in order."""

    __slots__ = ("_caller", "_task", "_writable")

    def __init__(
        self,
        server: StreamServer,
        caller: ServiceCaller,
        new_framing: Callable[[], Framing],
        fast_path: FastPath | None,
    ) -> None:
        super().__init__(server, caller, new_framing, fast_path)
        self._exchange: Exchange = Exchange(new_framing())
        self._caller = caller
        self._task: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    def pause_writing(self) -> None:
        self._writable.clear()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._writable.set()
        super().resume_writing()

    def _advance(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._work())
            self._hold()

    async def _work(self) -> None:
        """Answer requests until one has to be waited for."""
        count = 0
        while not isinstance(decision := self._exchange.next_decision(), Decision):
            try:
                reply = await self._caller(decision)
            except ServiceFailed as error:
                self._task = None
                self.drop("failed", str(error))
                return
            if self.transport.is_closing():
                return
            output = self._exchange.reply(reply)
            if output:
                self.transport.write(output)
            self.busy = True
            await self._writable.wait()
            count += 1
            if not count % MOST_AT_ONCE:  # a service that never suspends leaves others their turn
                await asyncio.sleep(0)
        self._task = None
        self._obey(decision)

    def _hold(self) -> None:
        if self._task is not None:
            self.transport.pause_reading()
        else:
            super()._hold()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._task is not None:
            self._task.cancel()
        super().connection_lost(exc)

    def is_working(self) -> bool:
        return self._task is not None

    def tick(self, elapsed: float) -> None:
        super().tick(elapsed)
        if self._task is not None and self.is_gone():  # not read from, so no callback tells
            self.transport.abort()
