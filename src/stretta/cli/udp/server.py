"""``stretta udp server``."""

from __future__ import annotations

import click

from stretta.cli.command import Command
from stretta.cli.flags import flags
from stretta.cli.serving import run_server
from stretta.cli.ui.console import Console
from stretta.options import (
    ConsoleOptions,
    DatagramLimits,
    DatagramService,
    ServerEndpoint,
    WorkerOptions,
)
from stretta.services import load
from stretta.udp.server import serve

__all__ = ["command"]


@click.command(cls=Command, name="server")
@flags(
    endpoint=ServerEndpoint,
    service=DatagramService,
    limits=DatagramLimits,
    processes=WorkerOptions,
    output=ConsoleOptions,
)
def command(
    *,
    endpoint: ServerEndpoint,
    service: DatagramService,
    limits: DatagramLimits,
    processes: WorkerOptions,
    output: ConsoleOptions,
) -> None:
    """Answer each UDP datagram through a service, until Ctrl-C.

    \b
    Examples:
      stretta udp server
      stretta udp server -a :: -p 12001 --service echo
    """
    console = Console(quiet=output.quiet, as_json=output.json)
    server = serve(
        load(service.service), endpoint.address, endpoint.port, limits=limits, watch=console.watch
    )
    run_server(server, processes)
