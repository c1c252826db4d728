"""The lab: its programs, its wire, its pictures."""

from __future__ import annotations

from stretta.options.console import ColourOptions
from stretta.options.declare import Options, option

__all__ = [
    "DiagramOptions",
    "LabOptions",
    "ProgramOptions",
    "RecordOptions",
    "TraceOutput",
    "WireOptions",
]


class ProgramOptions(Options):
    """The programs on the lab's hosts."""

    group = "Programs"

    server: str | None = option(
        None, "program on the server host", unit="cmd", kind=str, variable="", common=True
    )
    client: str | None = option(
        None, "program on the client host; - is a shell for you", unit="cmd", kind=str, variable="",
        common=True,
    )  # fmt: skip
    calls: bool = option(
        default=True, words="record the programs' system calls, which needs strace", variable=""
    )


class WireOptions(Options):
    """What the lab's wire does to frames.

    Each value may begin with a direction, as in ``client>server 10%``, and without one holds for
    both (docs/lab.md has the language).
    """

    group = "Wire"

    delay: tuple[str, ...] = option((), "time that a frame travels", unit="time", kind=str)
    jitter: tuple[str, ...] = option(
        (), "longest random addition to the delay; frames stay in order", unit="time", kind=str
    )
    rate: tuple[str, ...] = option((), "bits a second, as 1mbit", unit="rate", kind=str)
    queue: int = option(
        1000, "frames that may wait for a slow wire in one direction; more are lost", kind=int
    )
    loss: tuple[str, ...] = option((), "share of frames that are lost", unit="share", kind=str)
    duplicate: tuple[str, ...] = option(
        (), "share of frames, or the frames, that arrive twice", unit="frames", kind=str
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
        (), "the frames that are replaced by a forged RST to both ends", unit="frames", kind=str
    )
    cut: tuple[str, ...] = option(
        (), "when the wire is unplugged, and plugged in again, as 3s or 1s-2s", unit="time",
        kind=str,
    )  # fmt: skip
    seed: int | None = option(
        None, "seed of the random faults: the same seed gives the same faults; random unless given",
        kind=int, zero=True, most=2**63 - 1)  # fmt: skip


class LabOptions(Options):
    """When a lab starts its client, and when it ends."""

    group = "Limits"

    ready_timeout: float = option(
        10.0,
        "longest wait for the server to listen; 0 starts the client at once",
        unit="seconds",
        zero=True,
    )
    until: str = option(
        "client", "when the lab ends: client or server (has ended), or after a time, as 5s",
        unit="end", kind=str,
    )  # fmt: skip
    settle: float = option(
        0.3, "silence on the wire that the lab waits for before it ends", unit="seconds", zero=True
    )


class DiagramOptions(Options):
    """The pictures that the lab and ``stretta trace`` draw."""

    group = "Output"

    json: str | None = option(
        None, "file for the timeline as JSON (docs/lab.md has the schema); - is standard output",
        unit="file", kind=str, variable="",
    )  # fmt: skip
    mermaid: str | None = option(
        None, "file for the picture as a Mermaid sequence diagram; - is standard output",
        unit="file", kind=str, variable="",
    )  # fmt: skip
    width: int | None = option(
        None, "width of the picture; the terminal's unless given", unit="columns", kind=int,
        least=60, most=400,
    )  # fmt: skip
    everything: bool = option(
        default=False, words="draw ARP, neighbour discovery, getsockopt() and similar calls too",
        flag="--all",
    )  # fmt: skip
    fold: bool = option(default=True, words="shorten long runs of similar calls and segments")


class RecordOptions(Options):
    """What a recording writes and prints as well as the picture."""

    group = "Output"

    pcapng: str | None = option(
        None, "file for the frames, for Wireshark; - is standard output", unit="file", kind=str,
        variable="",
    )  # fmt: skip
    quiet: bool = option(
        default=False, words="do not print the output of the programs", short="q", variable=""
    )


class TraceOutput(ColourOptions):
    """What ``stretta trace`` prints as well as the picture."""

    quiet: bool = option(
        default=False, words="print the picture and errors only", short="q", variable=""
    )
