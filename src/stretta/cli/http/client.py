"""``stretta http client``."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import click

from stretta.cli.flags import flags_of, take, talk_flags
from stretta.cli.http.fetch import Fetcher, Interrupted, RequestOptions, check_har, save_har
from stretta.cli.http.show import Show
from stretta.cli.main import Command
from stretta.cli.ui.console import Console, write_stdout
from stretta.cli.ui.terminal import is_terminal
from stretta.errors import UsageError
from stretta.escape import escape
from stretta.http.client.blocking import Client, make_request
from stretta.http.client.request import HttpVersion, basic
from stretta.net.client.channel.interface import Channel
from stretta.options.http_client import HttpClientLimits, HttpPatience, HttpRoute

__all__ = ["command"]

PROMPT = "Type the object's URL: "

F = TypeVar("F", bound=Callable[..., Any])


def request_flags(function: F) -> F:
    """Add the flags for the request to a command."""
    for add in reversed(
        [
            click.option("-X", "--method", metavar="WORD", help="Method: GET, or POST with -d."),
            click.option(
                "-H", "--header", multiple=True, metavar="'NAME: VALUE'",
                help="Header field to add or replace; an empty value removes it.",
            ),
            click.option(
                "-d", "--data", metavar="TEXT|@FILE|-",
                help="Body to send: the text, a file's bytes, or standard input.",
            ),
            click.option(
                "--auth", metavar="USER:PASSWORD",
                help="User name and password; without a colon, prompts for the password.",
            ),
            click.option(
                "--http", "version", type=click.Choice(["1.0", "1.1"]), default="1.1",
                show_default=True, help="HTTP version; 1.0 sends the lecture's request.",
            ),
            click.option(
                "--compressed/--no-compressed", default=None,
                help="Request a compressed body; the default unless it is saved.",
            ),
            click.option(
                "--follow/--no-follow", default=False, show_default=True,
                help="Follow redirects.",
            ),
        ]
    ):  # fmt: skip
        add(function)
    return function


def output_flags(function: F) -> F:
    """Add the flags for the response to a command."""
    for add in reversed(
        [
            click.option(
                "-o", "--output", metavar="FILE",
                help="Save the body in a file once it is complete; - is standard output.",
            ),
            click.option(
                "-O", "--remote-name", is_flag=True,
                help="Save under the name from the server or the URL; never replaces a file.",
            ),
            click.option(
                "-c", "--continue", "resume", is_flag=True,
                help="Resume an earlier -o or -O.",
            ),
            click.option(
                "-v", "--verbose", count=True,
                help="Show times and directions; -vv shows each read and write too.",
            ),
            click.option("--har", metavar="FILE", help="Write the exchanges to a HAR file."),
            click.option(
                "--curl", "as_curl", is_flag=True,
                help="Print the equivalent curl command and send nothing.",
            ),
        ]
    ):  # fmt: skip
        add(function)
    return function


@click.command(cls=Command, name="client")
@click.argument("url", nargs=-1)
@request_flags
@output_flags
@click.option("-4", "only_ipv4", is_flag=True, help="Use IPv4 addresses only.")
@click.option("-6", "only_ipv6", is_flag=True, help="Use IPv6 addresses only.")
@flags_of(HttpPatience)
@flags_of(HttpClientLimits)
@flags_of(HttpRoute)
@talk_flags
def command(
    url: tuple[str, ...],
    *,
    version: HttpVersion,
    compressed: bool | None,
    follow: bool,
    verbose: int,
    har: str | None,
    as_curl: bool,
    only_ipv4: bool,
    only_ipv6: bool,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Fetch the object at each URL and show the exchange.

    Without a URL it prompts for URLs: * is http://127.0.0.1:8080/, an empty line quits. In a pipe,
    standard output holds the bytes of the body and nothing else.

    \b
    Examples:
      stretta http client
      stretta http client :8080/divina.txt > divina.txt
      stretta http client --http 1.0 http://localhost:8080/
      stretta http client -O -c https://example.com/large.iso
      stretta http client -d name=Beatrice :8080/form
    """
    patience, limits = take(HttpPatience, options), take(HttpClientLimits, options)
    route = take(HttpRoute, options)
    request_options = _request_options(url, options, records=as_json or har is not None)
    saves = request_options.remote_name or request_options.output not in {None, "-"}
    compressed = not saves if compressed is None else compressed
    family = "-4" if only_ipv4 and not only_ipv6 else "-6" if only_ipv6 and not only_ipv4 else ""
    if as_curl:
        from stretta.http.client.curl import curl_command  # noqa: PLC0415

        if not url:
            raise UsageError("--curl needs a URL", hint="As in: --curl :8080/file.txt")
        for one in url:
            fields = [*request_options.headers, *request_options.content_type()]
            request = make_request(
                request_options.method, one, fields, b"", version, compressed=compressed
            )
            line = curl_command(
                request, data=request_options.data, follow=follow, output=request_options.output,
                remote_name=request_options.remote_name, resume=request_options.resume,
                family=family, patience=patience, limits=limits, route=route,
            )  # fmt: skip
            write_stdout(f"{line}\n".encode(errors="surrogateescape"))
        return 0
    show = Show(Console(quiet=quiet, as_json=as_json), verbose=verbose)
    fetcher = Fetcher(request_options, show)
    with Client(
        version=version, compressed=compressed, follow=follow, patience=patience, limits=limits,
        route=route, family=_FAMILIES[family], watch=fetcher.watch,
        wrap=_wrapper(fetcher) if verbose > 1 else None,
    ) as fetcher.client:  # fmt: skip
        return _run(fetcher, url, har)


_FAMILIES = {"": socket.AF_UNSPEC, "-4": socket.AF_INET, "-6": socket.AF_INET6}


def _request_options(
    urls: tuple[str, ...], options: dict[str, Any], *, records: bool
) -> RequestOptions:
    """Return the options for all URLs. Raises UsageError when flags contradict each other."""
    data, output, remote_name = options["data"], options["output"], options["remote_name"]
    if data == "-" and len(urls) != 1:
        raise UsageError("standard input can be sent only once", "-d - needs one URL")
    if output is not None and (remote_name or len(urls) != 1):
        raise UsageError("-o names one file for one URL", hint="For several URLs use -O.")
    if options["resume"] and output in {None, "-"} and not remote_name:
        raise UsageError("-c needs a file to resume", hint="Name the file: -o FILE")
    if output == "":
        raise UsageError("-o needs a file name", "the name is empty", "As in: -o FILE")
    if (options["method"] or "").upper() == "HEAD" and (remote_name or output is not None):
        raise UsageError("nothing to save", "a response to HEAD has no body", "Leave out -X.")
    fields = [_field(line) for line in options["header"]]
    given = {name.lower() for name, _ in fields}
    if options["resume"] and "range" in given:
        raise UsageError("-c sends a Range of its own", hint="Leave out -H Range.")
    if options["auth"] is not None:
        if "authorization" in given:
            raise UsageError("the credentials are given twice", hint="Leave out --auth or -H.")
        fields.append(("Authorization", _credentials(options["auth"])))
    return RequestOptions(
        method=options["method"] or ("GET" if data is None else "POST"),
        headers=tuple(fields),
        data=data,
        output=output,
        remote_name=remote_name,
        resume=options["resume"],
        records=records,
    )


def _field(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon:
        raise UsageError(
            f"cannot send the header {escape(line)!r}", "it has no colon", "As in: -H 'Accept: */*'"
        )
    # text that is not ASCII is sent as UTF-8
    return name.strip(), value.strip().encode(errors="surrogateescape").decode("latin-1")


def _credentials(auth: str) -> str:
    from urllib.parse import quote  # noqa: PLC0415 - few requests have credentials

    user, colon, password = auth.partition(":")
    if not colon:
        from getpass import getpass  # noqa: PLC0415

        password = getpass(f"Password of {user}: ")
    return basic(quote(os.fsencode(user)), quote(os.fsencode(password)))


def _wrapper(fetcher: Fetcher) -> Callable[[Channel], Channel]:
    """Return a function that makes a channel report each read and write."""
    from stretta.net.client.channel.observed import ObservedChannel  # noqa: PLC0415 - with -vv only

    return lambda channel: ObservedChannel(channel, fetcher.watch)


def _typed() -> Iterator[str]:
    """Yield the URLs that the user types, until an empty line."""
    from stretta.cli.http.url_prompt import url_asker  # noqa: PLC0415 - without URL only

    ask = url_asker(PROMPT)
    while text := ask():
        yield text


def _run(fetcher: Fetcher, urls: tuple[str, ...], har: str | None) -> int:
    """Fetch the URLs, or those that are typed; return the first status other than 0."""
    statuses = []
    typed = not urls and is_terminal(sys.stdin)
    if har is not None:
        check_har(har)
    try:
        for text in urls or _typed():
            statuses.append(fetcher.fetch(text))
            if fetcher.show.console.as_json:
                from stretta.http.client.exchange_json import as_json  # noqa: PLC0415

                fetcher.show.console.write_json(as_json(fetcher.records[-1]))
            if statuses[-1] == Interrupted.status and not typed:
                return Interrupted.status
    finally:  # also after Ctrl-C, and when the reader of stdout has gone
        if har is not None:
            save_har(har, fetcher.records)
    if typed:  # the user has seen each failure
        return 0
    return next(filter(None, statuses), 0)
