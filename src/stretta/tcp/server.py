"""The TCP server: a service answers the bytes of each connection."""

from __future__ import annotations

from typing import Literal

from stretta.errors import UsageError
from stretta.net.server.service_caller import ServiceCaller
from stretta.net.server.stream_server import StreamServer
from stretta.options import ServerTls, StreamLimits
from stretta.reports import Observer
from stretta.services import Service, cut_of, fast_path_of, upper
from stretta.tcp.connection import InlineConnection, TaskConnection
from stretta.tcp.framing import Framing, LineFraming, StreamFraming

__all__ = ["TcpServer", "serve"]


def serve(
    service: Service = upper,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    framing: Literal["stream", "line"] = "stream",
    limits: StreamLimits | None = None,
    tls: ServerTls | None = None,
    watch: Observer | None = None,
) -> TcpServer:
    """Return a TCP server that answers every connection through ``service``.

    ``service`` maps request bytes to reply bytes, plain or async. With ``framing="stream"`` it gets
    whatever arrives, as it arrives; with ``"line"``, each line without its end. ``host`` is an
    address or a name (``"::"`` takes IPv4 too), ``port`` 0 any free port. ``watch`` is called with
    each report. Use the server as an async context manager, or block in its ``run()``; both raise
    CannotServe when the address or port cannot be had. Raises UsageError when ``tls`` asks for a
    certificate that cannot be used.

    >>> import asyncio
    >>> from stretta import tcp
    >>> async def main() -> bytes:
    ...     async with tcp.serve(lambda data: data[::-1], framing="line") as server:
    ...         return await tcp.ask_async(b"ciao\\n", port=server.port)
    >>> asyncio.run(main())
    b'oaic\\n'
    """
    return TcpServer(service, host, port, framing, limits or StreamLimits(), tls, watch)


class TcpServer(StreamServer):
    """What ``serve`` returns: ``endpoints``, ``port`` and ``counts`` tell what it is and did.

    >>> from stretta import tcp
    >>> with tcp.serve().in_background() as server:
    ...     _ = tcp.ask(b"ciao", port=server.port)
    >>> server.counts["connections"]
    1
    """

    command = "stretta tcp server"

    def __init__(
        self,
        service: Service,
        host: str,
        port: int,
        framing: Literal["stream", "line"],
        limits: StreamLimits,
        tls: ServerTls | None,
        watch: Observer | None,
    ) -> None:
        if framing not in ("stream", "line"):
            raise UsageError(f"there is no framing {framing!r}", hint="Framings: stream, line.")
        # a fast path answers the stream however it was cut, so it does not fit lines
        fast_path = fast_path_of(service) if framing == "stream" else None
        caller = ServiceCaller(service)
        kind = InlineConnection if caller.inline else TaskConnection
        cut = cut_of(service)

        def new_framing() -> Framing:
            return LineFraming(limits.max_line) if framing == "line" else StreamFraming(cut)

        super().__init__(
            lambda: kind(self, caller, new_framing, fast_path),
            host,
            port,
            limits=limits,
            tls=tls,
            watch=watch,
        )
