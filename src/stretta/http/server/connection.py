"""One HTTP connection: requests in, replies out in the same order, within the limits."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Protocol, cast

from stretta.http.server.files.file_body import MAX_IN_MEMORY, FileBody, OpenFile
from stretta.http.server.pages import error_reply
from stretta.http.server.request_parser import NO_REQUEST, Refused, Request, RequestParser, State
from stretta.http.server.response import Response, ResponseBody, head
from stretta.http.server.response_cache import CachedResponse, OpenFileBody
from stretta.net.server.connection import Connection
from stretta.net.server.lifecycle import State as Phase
from stretta.options import HttpLimits

if TYPE_CHECKING:
    from stretta.http.server.server import HttpServer

__all__ = ["HttpConnection"]

IN_A_ROW = 4
"""ResponseBody of one body that are written before others get their turn."""

SPARE = 64
"""Readers that a server keeps for the next connections that speak."""

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


NONE: deque[Request | Refused] = deque(maxlen=0)
"""The queue of a connection at rest: an empty one of its own would outweigh all the rest of it."""


class SendsFiles(Protocol):
    """A transport that can have the kernel send a file."""

    def sendfile(
        self, file: OpenFile | None, offset: int, count: int
    ) -> asyncio.Future[None] | None:
        """Send a stretch after what waits; what is returned, if anything, ends when it does."""


class HttpConnection(Connection):
    """Feeds a reader, asks the site, writes what it says.

    Most connections are at rest most of the time: then they have neither a reader nor a queue.
    """

    __slots__ = (
        "_blocked",
        "_cache",
        "_eof",
        "_head",
        "_lingering",
        "_out",
        "_pieces",
        "_queue",
        "_reader",
        "_served",
        "_sized",
        "_task",
        "_waited",
        "handler",
        "limits",
    )  # fmt: skip

    server: HttpServer

    def __init__(self, server: HttpServer) -> None:
        super().__init__(server)
        self.handler = server.handler
        self.limits: HttpLimits = server.http_limits
        self._cache = server.cache
        self._reader: RequestParser | None = None  # while a request is coming in or answered
        self._queue = NONE
        self._out: list[bytes] = []  # written together when all that came is answered
        self._pieces: ResponseBody | None = None  # a body under way
        self._sized = True  # and its length stands in its head
        self._task: asyncio.Task[None] | None = None  # a reply being made
        self._served = 0
        self._waited = 0.0  # for the request that is coming in
        self._blocked = False  # the peer reads too slowly
        self._eof = False
        self._lingering = False
        self._head: bytes | None = None  # of the request that is being answered, if it came alone

    def on_plaintext(self) -> bytes:
        page = self.handler.refusal(
            Refused(400, "This port speaks HTTPS; here it was asked in plain HTTP.")
        )
        body = page.body if isinstance(page.body, bytes) else b""
        return head(page, self.server.clock.date(), "close") + body

    def on_late_data(self) -> None:
        self._cache.begin_iteration(self.server)  # what was seen before does not hold for it

    # what the site asks

    @property
    def address(self) -> str:
        """The address of the client."""
        return self.peer.host

    def is_there(self) -> bool:
        """Return whether the client surely still waits for its reply."""
        return not self.peer_finished()

    # reading

    def data_received(self, data: bytes) -> None:
        self.busy = True
        if self._eof or self._lingering:
            return  # nothing more is answered
        reader = self._reader
        fresh = reader is None and not self._blocked
        if fresh and (ready := self._cache.get(data)) is not None:
            kept, body = self._cache, ready.body
            if ready.iteration == kept.iteration and self._served < kept.most:
                self._served += 1
                kept.repeated += 1
                if body is None:
                    self.transport.write(ready.out)
                else:
                    self._send_kept(ready.out, body)
                return
            if self._repeat(ready):
                return
        if reader is None:
            spare = self.server.spare_parsers
            reader = spare.pop() if spare else RequestParser(self.limits, self.handler.admit)
            self._reader = reader
        requests = reader.feed(data)
        if requests:
            self._waited = 0.0
            if self._queue:
                self._queue.extend(requests)
            else:
                self._queue = deque(requests)
            if fresh and len(requests) == 1 and (reader.at_rest or reader.state is State.CLOSED):
                self._head = data  # all that came and counts is this one request
            self._work()
            self._head = None
        else:
            self._invite()

    def _invite(self) -> None:
        """Let the client send its body, where it waits for that and its turn has come."""
        reader = self._reader
        if reader is not None and reader.wants_continue and not self._at_work:
            reader.wants_continue = False
            self.transport.write(CONTINUE)

    @property
    def _at_work(self) -> bool:
        """Whether something that was asked for is not answered yet."""
        return bool(self._queue or self._task or self._pieces)

    def _rest(self) -> None:
        """Let go of what a connection at rest does not need; another one can use it."""
        reader = self._reader
        if reader is not None and reader.at_rest and not self._at_work:
            self._reader = None
            self._queue = NONE
            if len(self.server.spare_parsers) < SPARE:
                self.server.spare_parsers.append(reader)

    def _repeat(self, ready: CachedResponse) -> bool:
        """Answer as the last time, if that is still right; return whether it was."""
        server = self.server
        if server.stopping or self._served + 1 >= self.limits.max_requests:
            return False
        if not self._cache.revalidate(ready, server):
            return False
        self._served += 1
        server.counts["requests"] += 1
        if server.access is not None:
            server.access.add(self.peer.host, ready.request, ready.status, ready.size)
        if ready.body is None:
            self.transport.write(ready.out)
        else:
            self._send_kept(ready.out, ready.body)
        if not ready.keep_alive:
            self._eof = True
            if self._pieces is None:
                self.transport.close()
        return True

    def _send_kept(self, out: bytes, body: OpenFileBody) -> None:
        """Send what the kernel takes of a kept file at once; the rest is a body like any other."""
        sent = 0
        fast = self.fast
        if fast is None:
            self.transport.write(out)
        else:
            sent = fast.offer_file(out, body.descriptor, body.start, body.size)
            if sent == body.size:
                return
        self._begin(body.after(sent))
        self._work()

    def eof_received(self) -> bool:
        if self._lingering:
            return False
        self._eof = True
        self._stop_reading()
        self._work()
        return True

    def _stop_reading(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def pause_writing(self) -> None:
        self._blocked = True
        self._hold()

    def resume_writing(self) -> None:
        self._blocked = False
        self.busy = True
        self._work()

    def _hold(self) -> None:
        """Read on only while nothing waits to be answered: memory stays bounded."""
        if self._blocked or self._task or self._pieces:
            self.transport.pause_reading()
        elif not self.transport.is_closing():
            self.transport.resume_reading()

    # answering

    def _work(self) -> None:
        """Answer in order, until something has to be waited for."""
        if self.transport.is_closing():
            return
        if self._pieces is not None:
            self._pump()
        while self._queue and not (self._task or self._pieces or self._blocked):
            item = self._queue.popleft()
            if isinstance(item, Refused):
                self.server.counts["refused"] += 1
                self._send(item.request, self.handler.refusal(item), linger=True)
                break
            try:
                reply = self.handler.answer(item, self)
                if isinstance(reply, Response):
                    self._settle(reply)
            except Exception as error:  # noqa: BLE001 - a service can fail in any way, the server not
                reply = self._failed(error)
            if isinstance(reply, Response):
                self._send(item, reply)
            else:
                self._task = asyncio.get_running_loop().create_task(self._await(item, reply))
        self._flush()
        if self._eof and not self._at_work:
            self.transport.close()
        self._invite()
        self._hold()
        self._rest()

    async def _await(self, request: Request, coming: Awaitable[Response]) -> None:
        try:
            reply = await coming
            self._settle(reply)
        except Exception as error:  # noqa: BLE001
            reply = self._failed(error)
        self._task = None
        self.busy = True
        self._send(request, reply)
        self._work()

    def _settle(self, reply: Response) -> None:
        """Read a body now that the kernel cannot send by itself, unless it is too long for that."""
        body = reply.body
        if (
            isinstance(body, FileBody)
            and (reply.length or 0) <= MAX_IN_MEMORY
            and not self._sends_files
        ):
            reply.body = body.read_all()

    @property
    def _sends_files(self) -> bool:
        """Whether the kernel can send a file here: nothing is encrypted, and it knows how to."""
        return hasattr(self.transport, "sendfile")

    def _failed(self, error: Exception) -> Response:
        if isinstance(error, OSError):
            self.server.dropped(self.peer, "failed", f"it cannot be served: {error}")
            return self.handler.finish(error_reply(503))
        self.server.dropped(
            self.peer, "failed", f"the service failed with {type(error).__name__}: {error}"
        )
        return self.handler.finish(error_reply(500))

    def _send(self, request: Request, reply: Response, *, linger: bool = False) -> None:
        self._served += 1
        self.server.counts["requests"] += 1
        old = request.version == "1.0"
        chunked = reply.length is None and not old
        keep = (
            request.keep_alive
            and not reply.close
            and not self.server.stopping
            and self._served < self.limits.max_requests
            and (reply.length is not None or chunked)
        )
        connection = ("keep-alive" if old else "") if keep else "close"
        as_asked = keep == request.keep_alive
        if as_asked and self._head is not None and reply.depends is not None:
            self._cache.keep(self._head, request, reply, connection)
        self._out.append(head(reply, self.server.clock.date(), connection, chunked=chunked))
        if self.server.access is not None:
            sent = 0 if request.method == "HEAD" or not reply.has_body else reply.length
            self.server.access.add(self.peer.host, request, reply.status, sent)
        body = reply.body
        if not isinstance(body, bytes):
            if request.method == "HEAD":
                body.close()
            else:
                self._flush()
                self._begin(body, sized=not chunked)
                self._pump()
        elif body and request.method != "HEAD":
            self._out.append(body)
        if not keep:
            self._close_after(linger=linger or request.keep_alive)

    def _begin(self, pieces: ResponseBody, *, sized: bool = True) -> None:
        self._pieces, self._sized = pieces, sized
        # wait as soon as the kernel takes no more: a piece's buffer can then be used again
        self.transport.set_write_buffer_limits(high=0)

    def _pump(self) -> None:
        """Write a body's pieces until the peer's pace holds us."""
        pieces = self._pieces
        turn = 0
        while not (pieces is None or self._blocked or self.transport.is_closing()):
            turn += 1
            if turn > IN_A_ROW:  # a peer that is as fast as we are must not keep others waiting
                asyncio.get_running_loop().call_soon(self._go_on)
                return
            if self._send_stretch(pieces):
                continue
            try:
                piece = next(pieces)
            except StopIteration:
                pieces.close()
                self._pieces = pieces = None
                self.transport.set_write_buffer_limits()
                if not self._sized:
                    self._out.append(b"0\r\n\r\n")
            except OSError as error:  # what was promised cannot be kept: only a cut can say so
                self.drop("failed", str(error))
                return
            else:
                if not piece:  # it has worked and has nothing to show
                    continue
                if not self._sized:
                    self.transport.write(b"%x\r\n" % len(piece))
                self.transport.write(piece)
                pieces.taken(whole=not self.transport.get_write_buffer_size())
                if not self._sized:
                    self.transport.write(b"\r\n")

    def _send_stretch(self, pieces: ResponseBody) -> bool:
        """Let the kernel send what comes next, where it can; return whether it does."""
        if not (isinstance(pieces, FileBody) and self._sends_files):
            return False
        stretch = pieces.take_range()
        if stretch is None:
            return False
        send = cast("SendsFiles", self.transport).sendfile
        waiting = send(pieces.file, stretch.start, len(stretch))
        if waiting is not None:  # that it ended with the connection, connection_lost tells
            waiting.add_done_callback(lambda done: done.cancelled() or done.exception())
        return True

    def _go_on(self) -> None:
        if self._pieces is not None and not self._blocked:
            self._work()

    def _flush(self) -> None:
        out = self._out
        if out and not self.transport.is_closing():
            self.transport.write(out[0] if len(out) == 1 else b"".join(out))
            out.clear()

    # ending

    def _close_after(self, *, linger: bool) -> None:
        """Answer nothing more; close when all is sent."""
        self._stop_reading()
        self._queue = NONE
        self._eof = True
        if linger and self.transport.can_write_eof() and self._pieces is None:
            self._flush()
            self._eof = False
            self._lingering = True
            self.linger()
            try:
                self.transport.write_eof()
            except OSError:  # reset meanwhile
                self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._task is not None:
            self._task.cancel()
        if self._pieces is not None:
            self._pieces.close()
            self._pieces = None
        self._queue = NONE
        self._stop_reading()
        super().connection_lost(exc)

    # the clock

    def tick(self, elapsed: float) -> None:
        super().tick(elapsed)
        if self._lingering or self.state is Phase.CLOSED:
            return
        if self._task or self._pieces or self._blocked:
            self._waited = 0.0  # it is not the request that is waited for
            if self._task and self.is_gone():  # nobody reads, so nobody is told
                self.transport.abort()
        elif self._reader is not None and self._reader.in_body:
            self._waited += elapsed
            self._watch_body(self._reader.body_so_far)
        elif self.is_handshaking:
            self._waited = 0.0  # nor can any have been sent
        elif self._reader is not None or not self._served:
            self._waited += elapsed
            if self._waited >= self.limits.header_timeout:
                self._time_out("slow_head", "its request did not arrive in time")
        else:
            self._waited = 0.0

    def _watch_body(self, got: int) -> None:
        limits = self.limits
        if self.clock >= limits.body_timeout:
            self._time_out("slow_body", "its request's body stopped coming")
        elif self._waited >= limits.body_timeout and got < limits.body_rate * self._waited:
            self._time_out("slow_body", "its request's body came too slowly")

    def _time_out(self, name: str, why: str) -> None:
        self.server.dropped(self.peer, name, why)
        if self._reader is None:  # nothing was asked, so nothing is answered
            self.transport.close()
            return
        late = Refused(408, "The request took too long to arrive.")
        self._send(NO_REQUEST, self.handler.refusal(late), linger=True)
        self._work()

    def is_working(self) -> bool:
        if self._reader is None:
            return self._at_work
        return self._at_work or self._reader.in_body or not self.server.stopping

    def on_idle_limit(self) -> None:
        self.server.counts["idle"] += 1
