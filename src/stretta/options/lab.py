"""What the lab's wire does to frames, and what is recorded."""

from __future__ import annotations

from dataclasses import dataclass

from stretta.options.declare import option

__all__ = ["LabOptions", "WireOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WireOptions:
    """What the lab's wire does to frames.

    Each value may begin with a direction, as in ``client>server 10%``, and without one holds for
    both (docs/lab.md has the language).
    """

    delay: tuple[str, ...] = option((), "time that a frame travels", unit="time", kind=str)
    jitter: tuple[str, ...] = option(
        (), "up to so much more, by chance, never out of order", unit="time", kind=str
    )
    rate: tuple[str, ...] = option((), "bits a second, as 1mbit", unit="rate", kind=str)
    queue: int = option(
        1000, "frames that may wait for a slow wire in one direction; more are lost", kind=int
    )
    loss: tuple[str, ...] = option((), "share of frames that are lost", unit="share", kind=str)
    duplicate: tuple[str, ...] = option(
        (), "share of frames, or the frames, that come twice", unit="frames", kind=str
    )
    reorder: tuple[str, ...] = option(
        (), "share of frames, or the frames, that the next one overtakes", unit="frames", kind=str
    )
    corrupt: tuple[str, ...] = option(
        (), "share of frames, or the frames, that get one bit wrong", unit="frames", kind=str
    )
    drop: tuple[str, ...] = option(
        (), "the frames that are lost, as syn-ack:1 or 'server>client data:2'", unit="frames",
        kind=str,
    )  # fmt: skip
    rst: tuple[str, ...] = option(
        (), "the frames in whose place both ends get a forged RST", unit="frames", kind=str
    )
    cut: tuple[str, ...] = option(
        (), "when the wire is unplugged, and plugged in again, as 3s or 1s-2s", unit="time",
        kind=str,
    )  # fmt: skip
    seed: int | None = option(
        None, "what chance begins with: the same seed, the same fates; random unless given",
        kind=int, zero=True)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class LabOptions:
    """How a lab begins and ends."""

    ready_timeout: float = option(
        10.0,
        "longest wait for the server to listen; 0 starts the client at once",
        unit="seconds",
        zero=True,
    )
    until: str = option(
        "client", "when the lab ends: client or server (has ended), or a time, as 5s", unit="end",
        kind=str,
    )  # fmt: skip
    settle: float = option(
        0.3, "silence on the wire that the lab waits for before it ends", unit="seconds", zero=True
    )
