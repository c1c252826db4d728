"""``stretta http server``."""

from __future__ import annotations

import os
from typing import Any

import click

from stretta.cli.flags import end_flags, flags_of, parse_end, take, talk_flags
from stretta.cli.main import Command
from stretta.cli.talk import Talk
from stretta.errors import UsageError
from stretta.http.server import serve
from stretta.options import HttpLimits, SiteOptions
from stretta.services import load

__all__ = ["command"]


@click.command(cls=Command, name="server")
@click.argument("port_argument", metavar="[PORT]", required=False)
@click.option(
    "-d", "--directory", default=".", metavar="DIR", show_default=True, help="Folder to serve."
)
@end_flags("0.0.0.0", 8080, "to listen on", "PORT")  # noqa: S104 - the lecture's default
@click.option(
    "--service",
    metavar="NAME",
    help="What answers a POST: upper, upper-ascii, echo, discard, or your own module:function.",
)
@flags_of(SiteOptions)
@flags_of(HttpLimits)
@talk_flags
def command(
    port_argument: str | None,
    directory: str,
    address: str,
    port: str,
    service: str | None,
    *,
    any_port: bool,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Serve the files of this folder, or of DIR, over HTTP, until Ctrl-C.

    \b
    Examples:
      stretta http server
      stretta http server 8000 -d public
      stretta http server -a 127.0.0.1 --service upper
    """
    number = parse_end(port_argument or port, any_port=any_port)
    if not os.path.isdir(directory):
        raise UsageError(f"cannot serve {directory}", "there is no such folder")
    serve(
        directory, address, number,
        service=load(service) if service else None,
        options=take(SiteOptions, options),
        limits=take(HttpLimits, options),
        watch=None if quiet else Talk(quiet=quiet, as_json=as_json),
    ).run()  # fmt: skip
