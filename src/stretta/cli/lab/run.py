"""``stretta lab run``."""

from __future__ import annotations

import secrets
import sys
from typing import Any

import click

from stretta.cli.flags import flags_of, look_flags, take
from stretta.cli.lab.pictures import FILE, check_files, picture_flags, show_pictures
from stretta.cli.main import Command
from stretta.cli.ui.console import Console
from stretta.cli.ui.terminal import paint
from stretta.errors import UsageError
from stretta.escape import TerminalText
from stretta.lab.controller import Output
from stretta.lab.faults import Faults
from stretta.lab.recording import Recording, record
from stretta.lab.scenarios import SCENARIOS
from stretta.options import LabOptions, WireOptions

__all__ = ["command"]


class Run(Command):
    """A command whose ``--rst`` may stand alone: then it is for the first segment with data."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments, having given ``--rst`` what it may leave out."""
        following = [*args[1:], "-"]
        args = [
            "--rst=data:1" if arg == "--rst" and after.startswith("-") else arg
            for arg, after in zip(args, following, strict=False)
        ]
        return super().parse_args(ctx, args)


@click.command(cls=Run, name="run")
@click.argument("name", required=False)
@click.option("--server", metavar="CMD", help="The program on the server host.")
@click.option(
    "--client", metavar="CMD", help="The program on the client host; - is a shell for you."
)
@click.option("--no-calls", is_flag=True, help="See segments only; needs no strace.")
@flags_of(WireOptions)
@flags_of(LabOptions)
@click.option(
    "--pcapng", "pcapng_file", type=FILE, metavar="FILE", help="Write the frames for Wireshark."
)
@picture_flags
@click.option("-q", "--quiet", is_flag=True, help="Do not show what the programs print.")
@look_flags
def command(
    name: str | None,
    server: str | None,
    client: str | None,
    *,
    no_calls: bool,
    quiet: bool,
    **options: Any,
) -> int:
    """Run two programs on two hosts of their own, and draw every call and every segment.

    Give the NAME of a scenario (stretta lab list), or --server and --client. The hosts are client
    (10.0.0.1, fd00::1) and server (10.0.0.2, fd00::2); nothing of this machine's network is
    touched. The exit status is the client's.

    \b
    Examples:
      stretta lab run handshake
      stretta lab run --server 'nc -l -p 12000' --client 'nc -N server 12000 < text'
      stretta lab run lost-syn-ack --delay 100ms --pcapng lost.pcapng
      stretta lab run --server 'python3 mine.py' --client - --loss 10% --seed 7
    """
    wire, lab = take(WireOptions, options), take(LabOptions, options)
    programs: tuple[Any, Any] = (server, client)
    look = ""
    if name is not None:
        if server or client:
            raise UsageError(
                "a scenario has its own programs",
                "NAME and --server or --client were given",
                f"Leave one out: stretta lab run {name}",
            )
        if name not in SCENARIOS:
            raise UsageError(
                f"there is no scenario {name!r}", hint=f"There are: {', '.join(SCENARIOS)}."
            )
        scenario = SCENARIOS[name]
        wire = _over(scenario.wire, wire)
        programs = scenario.server, scenario.client
        look = scenario.look
    elif server is None and client is None:
        raise UsageError(
            "there is nothing to run",
            "neither a scenario nor a program was given",
            "To begin: stretta lab run handshake",
        )
    seed = wire.seed if wire.seed is not None else secrets.randbelow(10**9)
    chance = Faults(wire, seed, 0).uses_chance  # which also finds mistakes, before anything starts
    check_files(options)
    console = Console(quiet=quiet, as_json=False)
    voices = {host: Voice(host, console) for host in ("server", "client")}

    def show(output: Output) -> None:
        voices[output.host].hear(output.data)

    recording = record(
        *programs, wire=wire, lab=lab, seed=seed, calls=not no_calls, show=show,
    )  # fmt: skip
    for voice in voices.values():
        voice.end()
    for line in _remarks(recording, seed if chance else None):
        console.print_message(line)
    show_pictures(recording.timeline, {**options, "pcapng": recording.to_pcapng})
    if look:
        console.print_message(f"\nLook: {look}")
    if recording.capture.interrupted:
        return 128 + recording.capture.interrupted
    status = recording.status
    if status is None:
        return 0
    return status if status >= 0 else 128 - status


def _over(base: WireOptions, given: WireOptions) -> WireOptions:
    """Return a scenario's wire with what was given in the place of its own."""
    values = {name: getattr(given, name) for name in WireOptions.__slots__}
    for key, value in values.items():
        if value in ((), None, WireOptions().queue):
            values[key] = getattr(base, key)
    return WireOptions(**values)


class Voice:
    """What a program prints, line by line with its host's name before it."""

    def __init__(self, host: str, console: Console) -> None:
        self._console = console
        self._mark = paint(f"{host} │", "blue" if host == "client" else "yellow", sys.stderr)
        self._text = TerminalText()
        self._rest = ""

    def hear(self, data: bytes) -> None:
        """Say the lines that are complete."""
        *lines, self._rest = (self._rest + self._text.feed(data)).split("\n")
        for line in lines:
            self._console.print_message(f"{self._mark} {line}")

    def end(self) -> None:
        """Say what was left without an end of line."""
        rest = self._rest + self._text.finish()
        if rest:
            self._console.print_message(f"{self._mark} {rest}")


def _remarks(recording: Recording, seed: int | None) -> list[str]:
    """Return what a person should know about how the picture was made."""
    lines = []
    status = recording.status
    if status:
        how = f"exit status {status}" if status > 0 else f"signal {-status}"
        lines.append(f"The client ended with {how}.")
    if seed is not None:
        lines.append(f"The same fates again: --seed {seed}")
    if recording.lost:
        lines.append(
            f"Warning: the lab itself lost {recording.lost} frames (this machine was too busy):"
            " not every loss in the picture is the wire's."
        )
    blind = recording.timeline.about.get("blind")
    if isinstance(blind, list):
        lines += [
            f"Warning: the {host}'s program uses io_uring, whose calls strace cannot see."
            for host in blind
        ]
    return lines
