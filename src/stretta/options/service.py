"""The service of a server, and its processes."""

from __future__ import annotations

from typing import Literal

from stretta.options.declare import Options, option

__all__ = ["DatagramService", "StreamService", "WorkerOptions"]

NAMES = "upper, upper-ascii, echo, discard, or your own module:function"


class DatagramService(Options):
    """What answers the requests of a TCP or UDP server."""

    group = "Service"

    service: str = option("upper", f"what answers: {NAMES}", unit="name", common=True)


class StreamService(DatagramService):
    """What answers the requests of a TCP server, and where each request ends."""

    framing: Literal["stream", "line"] = option(
        "stream", "what a request is: the bytes as they arrive, or a line",
        choices=("stream", "line"), common=True,
    )  # fmt: skip


class WorkerOptions(Options):
    """The processes of a server."""

    group = "Limits"

    workers: int | Literal["auto"] = option(
        1, "processes that share the port; auto is one for each processor; limits hold for each",
        kind=int, most=1024, choices=("auto",),
    )  # fmt: skip
