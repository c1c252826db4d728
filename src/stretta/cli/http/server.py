"""``stretta http server``."""

from __future__ import annotations

import os
from typing import Any, cast

import click

from stretta.cli.flags import end_flags, flags_of, parse_end, take, talk_flags, workers_flag
from stretta.cli.main import Command
from stretta.cli.serving import run_server
from stretta.cli.ui.console import Console
from stretta.errors import UsageError
from stretta.http.server.access_log import AccessLog, LogFormat
from stretta.http.server.server import serve
from stretta.options import HttpLimits, ServerTls, SiteOptions
from stretta.reports import Report, Serving
from stretta.services import load

__all__ = ["command"]

DEFAULT_PORT = "8080"


@click.command(cls=Command, name="server")
@click.argument("port_argument", metavar="[PORT]", required=False)
@click.option(
    "-d", "--directory", default=".", metavar="DIR", show_default=True, help="Folder to serve."
)
@end_flags("0.0.0.0", int(DEFAULT_PORT), "to listen on", "PORT")  # noqa: S104 - the lecture's default
@click.option(
    "--service",
    metavar="NAME",
    help="What answers a POST: upper, upper-ascii, echo, discard, or your own module:function.",
)
@click.option(
    "--log",
    "log_format",
    type=click.Choice(["common", "combined", "json", "off"]),
    default="common",
    show_default=True,
    help="Access log, one line a request.",
)
@click.option("--qr", is_flag=True, help="Show a code that a phone's camera opens the page with.")
@flags_of(SiteOptions)
@flags_of(ServerTls)
@flags_of(HttpLimits)
@workers_flag
@talk_flags
def command(
    port_argument: str | None,
    directory: str,
    address: str,
    port: str,
    service: str | None,
    log_format: str,
    *,
    workers: int,
    qr: bool,
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
      stretta http server --tls --auth anna:secret
      stretta http server -a 127.0.0.1 --service upper
    """
    if port_argument and port not in (DEFAULT_PORT, port_argument):
        raise UsageError(f"there are two ports, {port_argument} and {port}", hint="Leave one out.")
    port = port_argument or port
    number = parse_end(port, any_port=any_port)
    if not os.path.isdir(directory):
        found = os.path.exists(directory)
        why = "it is no folder" if found else "there is no such folder"
        raise UsageError(f"cannot serve {directory}", why)
    console = Console(quiet=quiet, as_json=as_json)
    server = serve(
        directory, address, number,
        service=load(service) if service else None,
        options=take(SiteOptions, options),
        tls=take(ServerTls, options),
        limits=take(HttpLimits, options),
        watch=Announcer(console) if qr else console.watch,
        access=access_log(console, log_format),
    )  # fmt: skip
    run_server(server, port, workers)


def access_log(console: Console, form: str) -> AccessLog | None:
    """Return the log that was asked for: on stderr, or on stdout where all that is said is JSON."""
    if console.as_json:
        return AccessLog(lambda lines: console.write_log(lines + "\n"), "json")
    if console.quiet or form == "off":
        return None
    return AccessLog(console.print_message, cast("LogFormat", form))


class Announcer:
    """Says what a server reports, and shows the way to it as a QR code."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __call__(self, report: Report) -> None:
        """Say a report; after the first, show the code."""
        self._console(report)
        if isinstance(report, Serving):
            import io  # noqa: PLC0415

            import segno  # noqa: PLC0415 - only here

            # a phone does not reach this machine's own address
            away = [url for url in report.urls if "//127." not in url and "//[::1]" not in url]
            drawing = io.StringIO()
            url = (away or report.urls)[0]
            segno.make(url, micro=False).terminal(drawing, compact=True, border=2)
            self._console.print_message(f"{drawing.getvalue()}\n  {url}")
