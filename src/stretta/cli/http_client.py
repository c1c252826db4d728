"""``stretta http client``."""

from __future__ import annotations

import sys
from typing import Any

import click

from stretta.cli.flags import flags_of, take, talk_flags
from stretta.cli.http_show import Show
from stretta.cli.main import Command
from stretta.cli.prompt import ask_line
from stretta.cli.talk import Talk, complain
from stretta.cli.terminal import is_terminal
from stretta.errors import HttpStatus, StrettaError
from stretta.http.client import Client
from stretta.http.client_request import HttpVersion
from stretta.http.response import status_error
from stretta.options.http_client import HttpClientLimits, HttpPatience

__all__ = ["command"]

PROMPT = "Type the object's URL: "


@click.command(cls=Command, name="client")
@click.argument("url", nargs=-1)
@click.option(
    "--http",
    "version",
    type=click.Choice(["1.0", "1.1"]),
    default="1.1",
    show_default=True,
    help="Version of HTTP to speak; 1.0 asks as the lecture does.",
)
@flags_of(HttpPatience)
@flags_of(HttpClientLimits)
@talk_flags
def command(
    url: tuple[str, ...],
    version: HttpVersion,
    *,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Fetch the object at each URL and show the exchange.

    Without URL, asks for one again and again; * is http://127.0.0.1:8080/ and an empty line ends.
    In a pipe, standard output holds the body's bytes and nothing else.

    \b
    Examples:
      stretta http client
      stretta http client :8080/divina.txt > divina.txt
      stretta http client --http 1.0 http://localhost:8080/
    """
    talk = Talk(quiet=quiet, as_json=as_json)
    show = Show(talk)
    with Client(
        version=version,
        patience=take(HttpPatience, options),
        limits=take(HttpClientLimits, options),
        watch=show,
    ) as client:
        if url:
            statuses = [fetch(client, show, one) for one in url]
        else:
            statuses = []
            while text := ask_line(PROMPT):
                statuses.append(fetch(client, show, text))
            if is_terminal(sys.stdin):  # a person has seen what failed, and gone on
                return 0
    return next(filter(None, statuses), 0)


def fetch(client: Client, show: Show, url: str) -> int:
    """Fetch one URL and show the exchange; return the exit status that it deserves."""
    try:
        with client.stream("GET", url) as stream:
            show.body(stream)
            error = status_error(stream.head, str(stream.exchange.request.url))
    except StrettaError as failure:
        show.broken_off()
        complain(failure)
        return failure.status
    if error is not None:
        complain(error)
    return error.status if isinstance(error, HttpStatus) else 0
