"""The adapter between a transport and the HTTP protocol: reads, asks the handler, writes."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from stretta.http.server.body_sender import BodySender, Progress, can_sendfile
from stretta.http.server.files.file_body import FileChanged
from stretta.http.server.pages import error_reply
from stretta.http.server.protocol import Closing, Input, ServerProtocol, Timeout
from stretta.http.server.request import Refused, Request
from stretta.http.server.response import PHRASES, BytesBody, Response, encode_head
from stretta.http.server.response_cache import CachedResponse, OpenFileBody
from stretta.net.server.connection import Connection
from stretta.services import ServiceFailed

if TYPE_CHECKING:
    from stretta.http.server.server import HttpServer

__all__ = ["HttpConnection"]

REQUESTS_PER_ITERATION = 8
"""Pipelined requests of one connection that are answered before other connections are served."""

OUTPUT_SIZE = 64 * 1024
"""Bytes of responses that are collected for one write."""

LARGEST_WRITE = 128 * 1024
"""Bytes of a body that is written at once; a larger one is sent in chunks as the peer reads."""

SPARE_PROTOCOLS = 64
"""Protocol objects that a server keeps for the next connections that become active."""

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN}
"""Errors of the system after which the same request may succeed later."""

DROPPED = {
    Timeout.HEAD: "slow_head",
    Timeout.BODY_STOPPED: "slow_body",
    Timeout.BODY_SLOW: "slow_body",
}
"""The counter of each time-out."""


class HttpConnection(Connection):
    """One HTTP connection. It has a protocol object only while a request arrives or is answered.

    A cached response is sent without one, unless the peer takes too little of it.
    """

    __slots__ = ("_cache", "_is_scheduled", "_protocol", "_sender", "_served", "_task")

    server: HttpServer

    def __init__(self, server: HttpServer) -> None:
        super().__init__(server)
        self._cache = server.cache
        self._protocol: ServerProtocol | None = None
        self._sender: BodySender | None = None  # of the body that is being sent
        self._task: asyncio.Task[None] | None = None  # in which a response is made
        self._is_scheduled = False  # _work, for the next iteration
        self._served = 0  # requests

    # as a Requester

    @property
    def address(self) -> str:
        """The IP address of the client."""
        return self.peer.host

    @property
    def sends_files(self) -> bool:
        """Whether the kernel can send a file to the client: the connection is not encrypted."""
        return can_sendfile(self.transport)

    def is_there(self) -> bool:
        """Return whether the client certainly still waits for its response."""
        return not self.peer_finished()

    # reading

    def data_received(self, data: bytes) -> None:
        self.busy = True
        if self._protocol is None:
            cache = self._cache
            cached = cache.get(data)
            if cached is not None and (
                (cached.iteration == cache.iteration and self._served < cache.max_served)
                or self._revalidate(cached)
            ):
                self._served += 1
                cache.hits += 1
                if cached.body is None:
                    self.transport.write(cached.payload)
                else:
                    self._send_open_file(cached.payload, cached.body)
                if not cached.keep_alive:
                    self._close_after_cached()
                return
        self._receive(data)

    def _receive(self, data: bytes) -> None:
        protocol = self._protocol
        if protocol is not None:
            protocol.receive(data)
            self._work()
        else:
            self._activate().receive(data)
            self._work(data)

    def _revalidate(self, cached: CachedResponse) -> bool:
        """Return whether a cached response may be sent; log it then."""
        server = self.server
        if server.stopping or self._served >= self._cache.max_served:
            return False
        if not self._cache.revalidate(cached, server):
            return False
        if server.access is not None:
            server.access.add(self.peer.host, cached.request, cached.status, cached.size)
        return True

    def _send_open_file(self, head: bytes, body: OpenFileBody) -> None:
        """Send as much of a cached file as the kernel accepts, and the rest as any other body."""
        sent = 0
        fast = self.fast
        if fast is None:
            self.transport.write(head)
        else:
            sent = fast.offer_file(head, body.descriptor, body.start, body.size)
            if sent == body.size:
                return
        protocol = self._activate()
        protocol.resume_cached()
        self._sender = BodySender(self.transport, protocol, body.after(sent), chunked=False)
        self._work()

    def _close_after_cached(self) -> None:
        if self._protocol is None:
            self.transport.close()
        else:
            self._protocol.stop(lingers=False)
            self._settle(self._protocol)

    def eof_received(self) -> bool:
        protocol = self._activate()
        if protocol.input is Input.LINGERING:
            return False
        protocol.receive_eof()
        self._work()
        return True

    def on_late_data(self) -> None:
        self._cache.begin_iteration(self.server)

    # the protocol object, while it is needed

    def _activate(self) -> ServerProtocol:
        protocol = self._protocol
        if protocol is None:
            spare = self.server.spare_protocols
            protocol = spare.pop() if spare else self.server.new_protocol()
            protocol.start(0.0 if self._served else self.clock)
            self._protocol = protocol
        return protocol

    def _rest(self, protocol: ServerProtocol) -> None:
        self._protocol = None
        if len(self.server.spare_protocols) < SPARE_PROTOCOLS:
            self.server.spare_protocols.append(protocol)

    # answering

    def _work(self, key: bytes | None = None) -> None:
        """Go on as far as possible: send the body under way, answer requests, close.

        ``key`` is the data that arrived, if it was the first of a request.
        """
        protocol = self._protocol
        if protocol is None or self.transport.is_closing():
            return
        if self._sender is not None:
            self._send_body(protocol)
        out: list[bytes] = []
        for _ in range(REQUESTS_PER_ITERATION):
            item = protocol.next_request()
            if item is None:
                break
            self._answer(protocol, item, out, key)
            key = None
            if sum(map(len, out)) >= OUTPUT_SIZE:
                self._write(out)
        self._write(out)
        self._settle(protocol)

    def _write(self, out: list[bytes]) -> None:
        if out and not self.transport.is_closing():
            self.transport.write(out[0] if len(out) == 1 else b"".join(out))
        out.clear()

    def _answer(
        self, protocol: ServerProtocol, item: Request | Refused, out: list[bytes], key: bytes | None
    ) -> None:
        handler = self.server.handler
        if isinstance(item, Refused):
            self.server.counts["refused"] += 1
            response = self._safely(lambda: handler.refusal(item), item.status)
            self._respond(protocol, item.request, response, out, lingers=True)
            return
        try:
            answer = handler.answer(item, self)
        except Exception as error:  # noqa: BLE001 - whatever fails, the client gets an answer
            answer = self._failed(error)
        if isinstance(answer, Response):
            if protocol.has_unparsed:  # the key is not this request alone
                key = None
            self._respond(protocol, item, answer, out, key)
        else:
            self._task = asyncio.get_running_loop().create_task(self._await(item, answer))

    async def _await(self, request: Request, coming: Awaitable[Response]) -> None:
        """Send a response that takes time, whatever becomes of it."""
        try:
            response = await coming
        except asyncio.CancelledError as error:
            if self._task is None:  # the connection is lost
                raise
            response = self._failed(error)
        except Exception as error:  # noqa: BLE001
            response = self._failed(error)
        self._task = None
        protocol = self._protocol
        if protocol is None or self.transport.is_closing():
            _discard(response)
            return
        self.busy = True
        out: list[bytes] = []
        try:
            self._respond(protocol, request, response, out)
            self._write(out)
            self._work()
        except Exception as error:  # noqa: BLE001 - an exception here would leave the client waiting
            self.drop("failed", f"{type(error).__name__}: {error}")

    def _failed(self, error: BaseException) -> Response:
        """Report an error of ours, or of the service, and return the response that hides it."""
        status = 500
        if isinstance(error, ServiceFailed):
            why = str(error)
        elif isinstance(error, OSError):
            status = 503 if isinstance(error, FileChanged) or error.errno in EXHAUSTED else 500
            why = f"it cannot be served: {error}"
        else:
            why = f"it failed with {type(error).__name__}: {error}"
        self.server.dropped(self.peer, "failed", why)
        handler = self.server.handler
        return self._safely(lambda: handler.finish(error_reply(status)), status)

    def _safely(self, make: Callable[[], Response], status: int = 500) -> Response:
        """Return the error page that ``make`` makes; one without a template, should that fail."""
        try:
            return make()
        except Exception as error:  # noqa: BLE001 - a template is missing, memory is short
            self.server.dropped(
                self.peer, "failed", f"no error page: {type(error).__name__}: {error}"
            )
            page = f"{status} {PHRASES[status]}\n".encode()
            return Response.of(status, "text/plain; charset=utf-8", page)

    def _respond(
        self,
        protocol: ServerProtocol,
        request: Request,
        response: Response,
        out: list[bytes],
        key: bytes | None = None,
        *,
        lingers: bool = False,
    ) -> None:
        """Append the bytes of a response to ``out``, or start sending its body after them."""
        server = self.server
        self._served += 1
        server.counts["requests"] += 1
        last = response.close or server.stopping or self._served > self._cache.max_served
        framing = protocol.start_response(request, response.length, close=last, lingers=lingers)
        as_requested = framing.keep_alive == request.keep_alive
        if key is not None and response.depends is not None and as_requested:
            self._cache.store(key, request, response, framing.connection)
        date = server.clock.date()
        out.append(encode_head(response, date, framing.connection, chunked=framing.chunked))
        body, has_body = response.body, response.has_body and request.method != "HEAD"
        if server.access is not None:
            sent = response.length if has_body else 0
            server.access.add(self.peer.host, request, response.status, sent)
        if not has_body:
            _discard(response)
        elif isinstance(body, bytes) and len(body) <= LARGEST_WRITE:
            if body:
                out.append(body)
        else:
            self._write(out)
            if isinstance(body, bytes):
                body = BytesBody(body)
            self._sender = BodySender(self.transport, protocol, body, chunked=framing.chunked)
            self._send_body(protocol)
            return
        protocol.end_response()

    def _send_body(self, protocol: ServerProtocol) -> None:
        sender = self._sender
        if sender is None:
            return
        try:
            progress = sender.send()
        except Exception as error:  # noqa: BLE001 - only a reset tells that the body is not whole
            self.drop("failed", str(error))
            return
        if progress is Progress.DONE:
            self._sender = None
            protocol.end_response()
        elif progress is Progress.YIELDED:
            self._schedule()

    def _schedule(self) -> None:
        """Go on in the next event-loop iteration."""
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        self._is_scheduled = False
        self._work()

    def pause_writing(self) -> None:
        self._activate().blocked = True
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self._activate().blocked = False
        self.busy = True
        self._work()

    def _settle(self, protocol: ServerProtocol) -> None:
        """Close, rest, or read on, as the protocol says."""
        closing = protocol.closing
        if self.transport.is_closing():
            return
        if closing is Closing.LINGER and self.transport.can_write_eof():
            protocol.shut_down()
            self.linger()
            try:
                self.transport.write_eof()
            except OSError:  # reset meanwhile
                self.transport.abort()
                return
        elif closing is not Closing.KEEP:
            self.transport.close()
            return
        if protocol.at_rest:
            self._rest(protocol)
        elif protocol.can_answer and protocol.has_unparsed:
            self._schedule()
        elif protocol.take_continue():
            self.transport.write(CONTINUE)
        if self._protocol is None or protocol.reads:
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()

    # ending

    def on_plaintext(self) -> bytes:
        """Return the answer to a client that speaks HTTP where HTTPS is expected."""
        refused = Refused(400, "This port speaks HTTPS, and the request was plain HTTP.")
        page = self.server.handler.refusal(refused)
        body = page.body if isinstance(page.body, bytes) else b""
        return encode_head(page, self.server.clock.date(), "close") + body

    def connection_lost(self, exc: Exception | None) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
        if self._sender is not None:
            self._sender.close()
            self._sender = None
        if self._protocol is not None:
            self._protocol.parser.close()
            self._protocol = None
        super().connection_lost(exc)

    # time limits

    def tick(self, elapsed: float) -> None:
        super().tick(elapsed)
        if self.transport.is_closing() or self.is_handshaking:
            return
        protocol = self._protocol
        if protocol is not None:
            if self._task is not None and self.is_gone():  # nobody waits for the response
                self.transport.abort()
            elif (timeout := protocol.tick(elapsed, self.clock)) is not None:
                self._time_out(protocol, timeout)
        elif not self._served and self.clock >= self.server.http_limits.header_timeout:
            self.server.dropped(self.peer, DROPPED[Timeout.HEAD], Timeout.HEAD.value)
            self.transport.close()  # nothing was asked, so nothing is answered

    def _time_out(self, protocol: ServerProtocol, timeout: Timeout) -> None:
        self.server.dropped(self.peer, DROPPED[timeout], timeout.value)
        handler = self.server.handler
        late = Refused(408, "The request took too long to arrive.", protocol.parser.current)
        response = self._safely(lambda: handler.refusal(late), 408)
        out: list[bytes] = []
        self._respond(protocol, late.request, response, out, lingers=True)
        self._write(out)
        self._settle(protocol)

    def is_working(self) -> bool:
        protocol = self._protocol
        return protocol is not None and (protocol.is_busy or not self.server.stopping)

    def on_idle_limit(self) -> None:
        self.server.counts["idle"] += 1


def _discard(response: Response) -> None:
    """Release a body that is not sent."""
    if not isinstance(response.body, bytes):
        response.body.close()
