"""One exchange over one connection: a request out, a response in; the same for both worlds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from stretta.errors import InvalidReply, NetworkError, ReplyEndedEarly, StrettaError
from stretta.http.client.content_decoding import Decoder, decoder_for
from stretta.http.client.reports import Awaiting, Interim, Requesting, Responding
from stretta.http.client.request import ClientRequest
from stretta.http.client.request_body import pieces_of
from stretta.http.client.response_parser import Head, HeadLimits, Piece, ResponseReader
from stretta.net.client.channel.interface import Channel, Timer
from stretta.reports import Observer, Report

__all__ = ["MOST_DECODED", "BodyTooLarge", "Exchange", "Phases", "Stopwatch"]

MOST_DECODED = 1 << 30
"""Bytes that a compressed body may become unless ``max_size`` says otherwise."""

MOST_EARLY = 64 << 20
"""Bytes of a response that are kept while its request is still going out."""


class BodyTooLarge(ReplyEndedEarly):
    """A body has become larger than what is taken."""


@dataclass(slots=True, eq=False)
class Phases:
    """When each phase of an exchange ended, in seconds since it began; None if it had none.

    ``looked_up``: the name's addresses known; ``connected``: TCP's three-way handshake over;
    ``secured``: TLS's over; ``sent``: the request given to the kernel; ``first_byte``: the first of
    the response come; ``ended``: the last.
    """

    looked_up: float | None = None
    connected: float | None = None
    secured: float | None = None
    sent: float | None = None
    first_byte: float | None = None
    ended: float | None = None


class Stopwatch:
    """The time since an exchange began, in seconds; telling those who watch costs none of it."""

    __slots__ = ("_began", "_clock", "_watch")

    def __init__(self, clock: Callable[[], float], watch: Observer | None) -> None:
        self._clock, self._watch = clock, watch
        self._began = clock()

    def now(self) -> float:
        """Return the seconds that have passed."""
        return self._clock() - self._began

    def tell(self, report: Report) -> None:
        """Tell what happened; however long that takes, no time passes."""
        if self._watch is not None:
            before = self._clock()
            self._watch(report)
            self._began += self._clock() - before


class Exchange:
    """A request that goes out over ``channel``, and its response as it comes.

    ``read`` gives the body in pieces, decoded unless ``decode`` is false; ``received`` counts its
    bytes as they were on the way, ``decoded`` as they were given, and ``before`` those of the same
    object that an earlier exchange brought. ``release`` is called when the response is over, with
    whether the connection can serve again.
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
        self.phases = phases or Phases()
        self.request_head = request.head()
        self.reader = ResponseReader(request.method, limits)
        self.decoded = 0
        self.before = 0
        self.history: tuple[Exchange, ...] = ()
        self._channel = channel
        self._timer = timer
        self._release = release
        self._stopwatch = stopwatch
        self._max_size = max_size
        self._decoder: Decoder | None = None
        self._decode = decode
        self._undecided = True
        self._pieces: Iterator[Piece] = iter(())
        self._early = 0  # bytes of the response before the request was out
        self._all_sent = False
        self._over = False

    @property
    def head(self) -> Head:
        """The head of the final response; ``begin`` has to have come first."""
        assert self.reader.head is not None  # noqa: S101 - begin() returns after it came
        return self.reader.head

    @property
    def received(self) -> int:
        """Bytes of the body so far, as they came."""
        return self.reader.received

    @property
    def is_decoding(self) -> bool:
        """Whether the body came compressed, and is given as what it was."""
        return self._decoder is not None

    async def begin(self) -> None:
        """Send the request and receive the final head.

        Raises NetworkError, TimedOut, InvalidReply, ReplyEndedEarly.
        """
        try:
            await self._send()
            self.phases.sent = self._stopwatch.now()
            self._stopwatch.tell(Awaiting())
            while self.reader.head is None:
                await self._receive()
            self._stopwatch.tell(Responding(self.head))
        except BaseException:
            self.abort()
            raise

    async def read(self) -> Piece:
        """Return the next piece of the body, empty at its end; it is valid until the next call.

        Raises NetworkError, TimedOut, InvalidReply, and ReplyEndedEarly when it ends too early.
        """
        try:
            while True:
                for piece in self._pieces:
                    if piece:
                        self._count(piece)
                        return piece
                if self._over:
                    return b""
                if self.reader.complete:
                    self._finish()
                    return b""
                await self._receive()
        except BaseException:
            self.abort()
            raise

    async def drain(self, timer: Timer, most: int) -> None:
        """Let a body pass that nobody wants, if it is short: then its connection can serve again.

        ``most`` are bytes as they come; ``timer`` says how long. Raises nothing.
        """
        expected = self.reader.expected or 0
        self._timer, self._pieces, self._decoder = timer, iter(()), None
        self._undecided = False  # what it stands for matters no more
        try:
            while not self.reader.complete and self.reader.framing != "close":
                if max(expected, self.received) > most:
                    break
                timer.left()
                await self._receive()
            if self.reader.complete:
                self._finish()
        except StrettaError:  # then the connection is lost; what matters has come
            pass
        self._end(reusable=False)

    def abort(self) -> None:
        """Give the response up: unless all of it has come, the connection is closed."""
        if self.reader.complete and not self.reader.received:
            self._finish()
        self._end(reusable=False)

    def _finish(self) -> None:
        if self._decoder is not None and self.reader.received:
            self._decoder.finish()
        request = self.request
        wanted = request.version == "1.1" and "close" not in request.headers.tokens("connection")
        self._end(reusable=wanted and self._all_sent and self.reader.keep_alive)

    def _end(self, *, reusable: bool) -> None:
        if not self._over:
            self._over = True
            if self.phases.ended is None:
                self.phases.ended = self._stopwatch.now()
            self._release(self._channel, reusable)

    def _count(self, piece: Piece) -> None:
        self.decoded += len(piece)
        self.check_size(None if self._decoder is None else MOST_DECODED)

    def check_size(self, usual: int | None) -> None:
        """Raise ReplyEndedEarly when the body is larger than ``max_size``, else than ``usual``."""
        most = usual if self._max_size is None else self._max_size
        if most is not None and self.before + self.decoded > most:
            decoded = f", {self.decoded} when decoded," if self.is_decoding else ""
            raise BodyTooLarge(
                "the body is too large",
                f"{self.before + self.received} bytes of it have come{decoded} and {most} is the"
                " limit",
                "Allow more with --max-size BYTES.",
            )

    # the way out

    async def _send(self) -> None:
        request = self.request
        self._stopwatch.tell(Requesting(self.request_head, request.size))
        sent = 0
        try:
            for piece in self._outgoing():
                rest = memoryview(piece)
                while rest:
                    size = await self._channel.send(rest, self._timer)
                    sent += size
                    rest = rest[size:]
                    if rest:  # the server speaks before it has heard everything
                        await self._receive(sending=True)
                        head = self.reader.head
                        if self.reader.complete or (head is not None and head.status >= 300):
                            return  # it will not have the rest (RFC 9112 section 9.5)
        except NetworkError:
            if not sent:
                raise
            return  # it may have answered before it cut us off: receiving tells
        self._all_sent = True

    def _outgoing(self) -> Iterator[bytes]:
        """Give the request as it goes out; what is short goes in one piece."""
        request = self.request
        if isinstance(request.body, bytes) and len(request.body) < 1 << 16:
            yield self.request_head + request.body
            return
        yield self.request_head
        yield from pieces_of(request.body, request.size)

    def _lost(self, error: NetworkError) -> StrettaError:
        """Return the error for a connection that was lost, by what had come."""
        if self.reader.started:
            return self.reader.cut(error.why)
        if self.request.url.scheme == "https":
            return error
        hint = f"{error.hint} For TLS the URL begins with https://"
        return NetworkError(error.what, error.why, hint.strip())

    # the way in

    async def _receive(self, *, sending: bool = False) -> None:
        """Receive once: heads go to the reader, the body's pieces to ``read``."""
        try:
            data = await self._channel.receive(self._timer)
        except NetworkError as error:
            raise self._lost(error) from None
        now = self._stopwatch.now()
        if not data:
            if getattr(self._channel, "truncated", False) and not self.reader.complete:
                # an end that nobody vouches for (RFC 9112 section 9.8)
                raise self.reader.cut("the TLS connection was cut off")
            self.reader.finish()
            self.phases.ended = now
            return
        if self.phases.first_byte is None:
            self.phases.first_byte = now
        known = len(self.reader.interim)
        pieces: Iterable[Piece] = self.reader.feed(data)
        if self.reader.complete:  # what is done with the body takes none of the transfer's time
            self.phases.ended = now
        for head in self.reader.interim[known:]:
            self._stopwatch.tell(Interim(head))
        if sending:  # they are views, and wait longer than the next call
            pieces = held = [bytes(piece) for piece in pieces]
            self._early += sum(map(len, held))
            if self._early > MOST_EARLY:
                raise InvalidReply(
                    "the response outran the request",
                    f"{self._early} bytes of it came before the request was all sent",
                )
        empty = self.reader.complete and not self.reader.received  # whatever its coding
        if self._undecided and self.reader.head is not None and not empty:
            self._undecided = False
            codings = self.reader.head.headers.tokens("content-encoding") if self._decode else []
            self._decoder = decoder_for([*codings, *self.reader.transfer_codings])
        if self._decoder is not None:
            pieces = chain.from_iterable(map(self._decoder.feed, pieces))
        self._pieces = chain(self._pieces, pieces) if sending else iter(pieces)
