"""``stretta udp server``."""

from __future__ import annotations

from typing import Any

import click

from stretta.cli.flags import (
    end_flags,
    flags_of,
    parse_end,
    service_flag,
    take,
    talk_flags,
    workers_flag,
)
from stretta.cli.main import Command
from stretta.cli.serving import run_server
from stretta.cli.ui.console import Console
from stretta.options import DatagramLimits
from stretta.services import load
from stretta.udp.server import serve

__all__ = ["command"]


@click.command(cls=Command, name="server")
@end_flags("0.0.0.0", 12000, "to listen on", "PORT")  # noqa: S104 - the lecture's default
@service_flag
@flags_of(DatagramLimits)
@workers_flag
@talk_flags
def command(
    address: str,
    port: str,
    service: str,
    *,
    workers: int,
    any_port: bool,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Answer each UDP datagram through a service, until Ctrl-C.

    \b
    Examples:
      stretta udp server
      stretta udp server -a :: -p 12001 --service echo
    """
    number = parse_end(port, any_port=any_port)
    limits = take(DatagramLimits, options)
    console = Console(quiet=quiet, as_json=as_json)
    server = serve(load(service), address, number, limits=limits, watch=console.watch)
    run_server(server, port, workers)
