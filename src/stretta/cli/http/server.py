"""``stretta http server``."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Literal

import click
from click.core import ParameterSource

from stretta.cli.command import Command
from stretta.cli.flags import flags
from stretta.cli.serving import run_server
from stretta.cli.ui.console import Console
from stretta.errors import UsageError
from stretta.http.server.access_log import AccessLog, LogFormat
from stretta.http.server.server import serve
from stretta.options import (
    ConsoleOptions,
    HttpLimits,
    ServerTls,
    SiteOptions,
    WebEndpoint,
    WebOptions,
    WorkerOptions,
)
from stretta.reports import Report, Serving
from stretta.services import load

__all__ = ["command"]


@click.command(cls=Command, name="server")
@click.argument("port_argument", metavar="[PORT]", required=False)
@flags(
    web=WebOptions,
    endpoint=WebEndpoint,
    site=SiteOptions,
    tls=ServerTls,
    limits=HttpLimits,
    processes=WorkerOptions,
    output=ConsoleOptions,
)
@click.pass_context
def command(
    ctx: click.Context,
    port_argument: str | None,
    *,
    web: WebOptions,
    endpoint: WebEndpoint,
    site: SiteOptions,
    tls: ServerTls,
    limits: HttpLimits,
    processes: WorkerOptions,
    output: ConsoleOptions,
) -> None:
    """Serve the files of this folder, or of DIR, over HTTP until Ctrl-C.

    \b
    Examples:
      stretta http server
      stretta http server 8000 -d public
      stretta http server --tls --auth anna:secret
      stretta http server -a 127.0.0.1 --service upper
    """
    if port_argument:
        given = ctx.get_parameter_source("port") is ParameterSource.COMMANDLINE
        if given and port_argument != str(endpoint.port):
            raise UsageError(
                f"there are two ports, {port_argument} and {endpoint.port}", hint="Leave one out."
            )
        endpoint = replace(endpoint, port=port_argument)  # type: ignore[arg-type]
    if not os.path.isdir(web.directory):
        found = os.path.exists(web.directory)
        why = "it is not a folder" if found else "there is no such folder"
        raise UsageError(f"cannot serve {web.directory}", why, "Give another folder: -d DIR")
    console = Console(quiet=output.quiet, as_json=output.json)
    server = serve(
        web.directory, endpoint.address, endpoint.port,
        service=load(web.service) if web.service else None,
        options=site, tls=tls, limits=limits,
        watch=Announcer(console) if web.qr else console.watch,
        access=access_log(console, web.log),
    )  # fmt: skip
    run_server(server, processes)


def access_log(console: Console, form: LogFormat | Literal["off"]) -> AccessLog | None:
    """Return the access log: on stderr, or with ``--json`` on stdout; None without one."""
    if console.as_json:
        return AccessLog(lambda lines: console.write_log(lines + "\n"), "json")
    if console.quiet or form == "off":
        return None
    return AccessLog(console.print_message, form)


class Announcer:
    """Prints the reports of a server, and its URL as a QR code."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __call__(self, report: Report) -> None:
        """Print a report; after the first, the code."""
        self._console(report)
        if isinstance(report, Serving):
            import io  # noqa: PLC0415

            import segno  # noqa: PLC0415 - only here

            # a phone does not reach a loopback address
            away = [url for url in report.urls if "//127." not in url and "//[::1]" not in url]
            drawing = io.StringIO()
            url = (away or report.urls)[0]
            segno.make(url, micro=False).terminal(drawing, compact=True, border=2)
            self._console.print_message(f"{drawing.getvalue()}\n  {url}")
