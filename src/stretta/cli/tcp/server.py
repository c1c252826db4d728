"""``stretta tcp server``."""

from __future__ import annotations

import click

from stretta.cli.command import Command
from stretta.cli.flags import flags
from stretta.cli.serving import run_server
from stretta.cli.ui.console import Console
from stretta.options import (
    ConsoleOptions,
    ServerEndpoint,
    ServerTls,
    StreamLimits,
    StreamService,
    WorkerOptions,
)
from stretta.services import load
from stretta.tcp.server import serve

__all__ = ["command"]


@click.command(cls=Command, name="server")
@flags(
    endpoint=ServerEndpoint,
    service=StreamService,
    tls=ServerTls,
    limits=StreamLimits,
    processes=WorkerOptions,
    output=ConsoleOptions,
)
def command(
    *,
    endpoint: ServerEndpoint,
    service: StreamService,
    tls: ServerTls,
    limits: StreamLimits,
    processes: WorkerOptions,
    output: ConsoleOptions,
) -> None:
    """Answer every TCP connection through a service, until Ctrl-C.

    \b
    Examples:
      stretta tcp server
      stretta tcp server -a :: --service echo
      stretta tcp server --service mine:answer --framing line
      stretta tcp server --tls
    """
    console = Console(quiet=output.quiet, as_json=output.json)
    server = serve(
        load(service.service), endpoint.address, endpoint.port,
        framing=service.framing, limits=limits, tls=tls, watch=console.watch,
    )  # fmt: skip
    run_server(server, processes)
