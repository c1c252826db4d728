"""``stretta lab run``."""

from __future__ import annotations

import secrets
import sys
from typing import Any

import click

from stretta.cli.command import Command
from stretta.cli.flags import flags
from stretta.cli.lab.diagram_output import check_files, show_diagram
from stretta.cli.ui.console import Console
from stretta.cli.ui.terminal import paint
from stretta.errors import UsageError
from stretta.escape import TerminalText
from stretta.lab.controller import MOST_OUTPUT
from stretta.lab.faults import FaultInjector
from stretta.lab.messages import Printed
from stretta.lab.recording import Recording, record
from stretta.lab.scenarios import SCENARIOS
from stretta.lab.topology import TWO_HOSTS
from stretta.options.console import ColourOptions
from stretta.options.lab import (
    DiagramOptions,
    LabOptions,
    ProgramOptions,
    RecordOptions,
    WireOptions,
)

__all__ = ["command"]

COLOURS = ("blue", "yellow", "cyan", "green")
"""The colours of the hosts' names, in the order of the hosts."""


LONGEST_LINE = 64 * 1024
"""Characters of output that wait for the end of their line."""


class Run(Command):
    """A command whose ``--rst`` may stand without a value: the first segment with data."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments, with the value that a lone ``--rst`` leaves out."""
        options = args[: args.index("--")] if "--" in args else args
        following = [*options[1:], "-"]
        given = [
            "--rst=data:1" if arg == "--rst" and after.startswith("-") else arg
            for arg, after in zip(options, following, strict=False)
        ]
        return super().parse_args(ctx, given + args[len(options) :])


@click.command(cls=Run, name="run")
@click.argument("name", required=False)
@flags(
    programs=ProgramOptions,
    wire=WireOptions,
    lab=LabOptions,
    diagram=DiagramOptions,
    files=RecordOptions,
    output=ColourOptions,
)
def command(
    name: str | None,
    *,
    programs: ProgramOptions,
    wire: WireOptions,
    lab: LabOptions,
    diagram: DiagramOptions,
    files: RecordOptions,
    output: ColourOptions,  # noqa: ARG001 - it is obeyed already
) -> int:
    """Run two programs on two hosts of their own, and draw every call and every segment.

    Give the NAME of a scenario (stretta lab list), or --server and --client. The hosts are client
    (10.0.0.1, fd00::1) and server (10.0.0.2, fd00::2); this machine's own network is not touched.
    The exit status is the client's.

    \b
    Examples:
      stretta lab run handshake
      stretta lab run --server 'nc -l -p 12000' --client 'nc -N server 12000 < text'
      stretta lab run lost-syn-ack --delay 100ms --pcapng lost.pcapng
      stretta lab run --server 'python3 mine.py' --client - --loss 10% --seed 7
    """
    server, client = programs.server, programs.client
    commands: tuple[Any, Any] = (server, client)
    question = ""
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
        wire = _override(scenario.wire, wire)
        commands = scenario.server, scenario.client
        question = scenario.question
    elif server is None and client is None:
        raise UsageError(
            "there is nothing to run",
            "neither a scenario nor a program was given",
            "To begin: stretta lab run handshake",
        )
    seed = wire.seed if wire.seed is not None else secrets.randbelow(10**9)
    # made here too, so that mistakes are found before anything starts
    uses_chance = FaultInjector(wire, seed, 0).uses_chance
    check_files(diagram, files)
    console = Console(quiet=files.quiet, as_json=False)
    printers = {
        host.name: OutputPrinter(host.name, COLOURS[place % len(COLOURS)], console)
        for place, host in enumerate(TWO_HOSTS.hosts)
    }

    def show(output: Printed) -> None:
        printers[output.host].feed(output.data)

    recording = record(
        *commands, wire=wire, lab=lab, seed=seed, calls=programs.calls, show=show,
    )  # fmt: skip
    for printer in printers.values():
        printer.finish()
    for line in _notices(recording, seed if uses_chance else None):
        console.print_message(line)
    show_diagram(recording.timeline, diagram, {files.pcapng: recording.to_pcapng})
    if question:
        console.print_message(f"\nLook: {question}")
    if recording.capture.interrupted:
        return 128 + recording.capture.interrupted
    status = recording.status
    if status is None:
        return 0
    return status if status >= 0 else 128 - status


def _override(base: WireOptions, given: WireOptions) -> WireOptions:
    """Return a scenario's options, replaced by those that were given."""
    values = {name: getattr(given, name) for name in WireOptions.__dataclass_fields__}
    for key, value in values.items():
        if value in ((), None, WireOptions().queue):
            values[key] = getattr(base, key)
    return WireOptions(**values)


class OutputPrinter:
    """Prints a program's output line by line, each line after its host's name."""

    def __init__(self, host: str, colour: str, console: Console) -> None:
        self._console = console
        self._prefix = paint(f"{host} │", colour, sys.stderr)
        self._text = TerminalText()
        self._rest = ""

    def feed(self, data: bytes) -> None:
        """Print the lines that these bytes complete."""
        *lines, self._rest = (self._rest + self._text.feed(data)).split("\n")
        if len(self._rest) > LONGEST_LINE:
            lines, self._rest = [*lines, self._rest], ""
        for line in lines:
            self._console.print_message(f"{self._prefix} {line}")

    def finish(self) -> None:
        """Print the last line, if no end of line completed it."""
        rest = self._rest + self._text.finish()
        if rest:
            self._console.print_message(f"{self._prefix} {rest}")


def _notices(recording: Recording, seed: int | None) -> list[str]:
    """Return what the user should know about the recording."""
    lines = []
    status = recording.status
    if status:
        how = f"exit status {status}" if status > 0 else f"signal {-status}"
        lines.append(f"The {recording.failed_host} ended with {how}.")
    if seed is not None:
        lines.append(f"To repeat these faults: --seed {seed}")
    lines += [
        f"Only the first {MOST_OUTPUT // 2**20} MiB of the {host}'s output are in the recording."
        for host, size in recording.capture.printed.items()
        if size > MOST_OUTPUT
    ]
    if recording.lost:
        lines.append(
            f"Warning: the lab itself lost {recording.lost} frames (this machine was too busy):"
            " some losses in the picture are not the wire's."
        )
    blind = recording.timeline.about.get("blind")
    if isinstance(blind, list):
        lines += [
            f"Warning: the {host}'s program uses io_uring, whose calls strace cannot see."
            for host in blind
        ]
    return lines
