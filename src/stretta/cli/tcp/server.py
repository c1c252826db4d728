"""``stretta tcp server``."""

from __future__ import annotations

from typing import Any, Literal

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
from stretta.options import ServerTls, StreamLimits
from stretta.services import load
from stretta.tcp.server import serve

__all__ = ["command"]


@click.command(cls=Command, name="server")
@end_flags("0.0.0.0", 12000, "to listen on", "PORT")  # noqa: S104 - the lecture's default
@service_flag
@click.option(
    "--framing",
    type=click.Choice(["stream", "line"]),
    default="stream",
    show_default=True,
    help="What a request is: whatever arrives, or a line.",
)
@flags_of(ServerTls)
@flags_of(StreamLimits)
@workers_flag
@talk_flags
def command(
    address: str,
    port: str,
    service: str,
    framing: Literal["stream", "line"],
    *,
    workers: int,
    any_port: bool,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Answer every TCP connection through a service, until Ctrl-C.

    \b
    Examples:
      stretta tcp server
      stretta tcp server -a :: --service echo
      stretta tcp server --service mine:answer --framing line
      stretta tcp server --tls
    """
    number = parse_end(port, any_port=any_port)
    limits = take(StreamLimits, options)
    console = Console(quiet=quiet, as_json=as_json)
    tls = take(ServerTls, options)
    server = serve(
        load(service), address, number,
        framing=framing, limits=limits, tls=tls, watch=console.watch,
    )  # fmt: skip
    run_server(server, port, workers)
