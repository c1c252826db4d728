"""One exchange over one connection: sends the request, receives the response, blocking or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from stretta.errors import NetworkError, StrettaError
from stretta.http.client.exchange_state import ExchangeState, Phases
from stretta.http.client.reports import Awaiting, Interim, Requesting, Responding
from stretta.http.client.request import ClientRequest
from stretta.http.client.request_body import body_chunks
from stretta.http.client.response_parser import Buffer, Head, HeadLimits
from stretta.net.client.channel.interface import Channel, Timer
from stretta.reports import Observer, Report

__all__ = ["Exchange", "Stopwatch"]

ONE_WRITE = 64 * 1024
"""A shorter body is sent together with its head, in one write."""


class Stopwatch:
    """Measures the time since an exchange began, without the time that reporting takes."""

    __slots__ = ("_clock", "_start", "_watch")

    def __init__(self, clock: Callable[[], float], watch: Observer | None) -> None:
        self._clock, self._watch = clock, watch
        self._start = clock()

    def now(self) -> float:
        """Return the seconds since the start."""
        return self._clock() - self._start

    def report(self, report: Report) -> None:
        """Pass a report on; the time that it takes is not counted."""
        if self._watch is not None:
            before = self._clock()
            self._watch(report)
            self._start += self._clock() - before


class Exchange:
    """A request that is sent over ``channel``, and its response.

    ``release`` is called once, when the response has ended or is given up, with the channel and
    whether it can be reused. ``history`` holds the exchanges of the redirects that were followed.
    """

    def __init__(
        self,
        request: ClientRequest,
        channel: Channel,
        timer: Timer,
        *,
        release: Callable[[Channel, bool], None],
        stopwatch: Stopwatch,
        phases: Phases | None = None,
        limits: HeadLimits | None = None,
        max_size: int | None = None,
        decode: bool = True,
    ) -> None:
        self.request = request
        self.server = channel.peer
        self.state = ExchangeState(
            request, phases=phases, limits=limits, max_size=max_size, decode=decode
        )
        self.parser = self.state.parser
        self.phases = self.state.phases
        self.history: tuple[Exchange, ...] = ()
        self._channel = channel
        self._timer = timer
        self._release = release
        self._stopwatch = stopwatch
        self._released = False

    @property
    def head(self) -> Head:
        """The head of the final response; ``begin`` must have returned."""
        assert self.parser.head is not None  # noqa: S101 - begin() returns after it came
        return self.parser.head

    @property
    def received(self) -> int:
        """Bytes of the body so far, as they were transferred."""
        return self.parser.received

    @property
    def decoded(self) -> int:
        """Bytes of the body so far, as ``read`` returned them."""
        return self.state.decoded

    @property
    def is_decoding(self) -> bool:
        """Whether the body arrives compressed and is decoded."""
        return self.state.is_decoding

    async def begin(self, report: Report | None = None) -> None:
        """Send the request and receive the final head; ``report`` is passed on first.

        Raises NetworkError, TimedOut, InvalidReply, ReplyEndedEarly.
        """
        try:
            if report is not None:
                self._stopwatch.report(report)
            await self._send()
            self.phases.sent = self._stopwatch.now()
            self._stopwatch.report(Awaiting())
            while self.parser.head is None:
                await self._receive()
            self._stopwatch.report(Responding(self.head))
        except BaseException:
            self.abort()
            raise

    async def read(self) -> Buffer:
        """Return the next chunk of the body, empty at its end; it is valid until the next call.

        Raises NetworkError, TimedOut, InvalidReply, ReplyEndedEarly.
        """
        try:
            self._timer.left_in_all()  # decoding takes time too
            while (chunk := self.state.next_chunk()) is None:
                if self._released:
                    return b""
                await self._receive()
            if not chunk:
                self._end(reusable=self.state.reusable)
            return chunk
        except BaseException:
            self.abort()
            raise

    async def drain(self, timer: Timer, max_size: int) -> None:
        """Read a short body and ignore it, so that its connection can be reused.

        A body of more than ``max_size`` bytes, as transferred, or one that takes longer than
        ``timer`` allows closes the connection instead. Raises no StrettaError.
        """
        parser = self.parser
        self._timer = timer
        self.state.discard()
        try:
            while not parser.complete and parser.framing != "close":
                if max(parser.expected or 0, parser.received) > max_size:
                    break
                timer.left()
                await self._receive()
        except StrettaError:  # the connection is lost, and nothing of value with it
            pass
        self._end(reusable=self.state.reusable)

    def abort(self) -> None:
        """Give the response up; this closes the connection unless there is no body to read."""
        empty = self.parser.complete and not self.parser.received
        self._end(reusable=empty and self.state.reusable)

    def _end(self, *, reusable: bool) -> None:
        if not self._released:
            self._released = True
            if self.phases.ended is None:
                self.phases.ended = self._stopwatch.now()
            self._release(self._channel, reusable)

    async def _send(self) -> None:
        state = self.state
        self._stopwatch.report(Requesting(state.request_head, self.request.size))
        try:
            for chunk in self._outgoing():
                unsent = memoryview(chunk)
                while unsent:
                    self._timer.left_in_all()
                    size = await self._channel.send(unsent, self._timer)
                    state.bytes_sent += size
                    unsent = unsent[size:]
                    if unsent:  # the server sends before it has read the whole request
                        await self._receive(sending=True)
                        if state.stops_sending:
                            return
        except NetworkError:
            if not state.bytes_sent:
                raise
            return  # the server may have answered before it closed: receiving tells
        state.request_sent()

    def _outgoing(self) -> Iterator[bytes]:
        """Yield the bytes of the request."""
        request, head = self.request, self.state.request_head
        if isinstance(request.body, bytes) and len(request.body) < ONE_WRITE:
            yield head + request.body
            return
        yield head
        yield from body_chunks(request.body, request.size)

    async def _receive(self, *, sending: bool = False) -> None:
        """Receive once."""
        state = self.state
        self._timer.left_in_all()  # the channel looks at the time only when it waits
        try:
            data = await self._channel.receive(self._timer)
        except NetworkError as error:
            raise state.connection_lost(error) from None
        now = self._stopwatch.now()
        if not data:
            state.end_of_stream(now, truncated=getattr(self._channel, "truncated", False))
            return
        for head in state.receive(data, now, sending=sending):
            self._stopwatch.report(Interim(head))
