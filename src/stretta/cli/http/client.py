"""``stretta http client``."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator

import click

from stretta.cli.command import Command
from stretta.cli.flags import flags
from stretta.cli.http.fetch import Fetcher, Interrupted, RequestOptions, check_har, save_har
from stretta.cli.http.show import Show
from stretta.cli.ui.console import Console, write_stdout
from stretta.cli.ui.gate import gate
from stretta.cli.ui.terminal import is_terminal
from stretta.errors import UsageError
from stretta.escape import escape
from stretta.http.client.blocking import Client, make_request
from stretta.http.client.request import basic
from stretta.net.client.channel.interface import Channel
from stretta.options.console import ConsoleOptions
from stretta.options.http_client import (
    HttpClientLimits,
    HttpPatience,
    HttpRequestOptions,
    HttpResponseOptions,
    HttpRoute,
)

__all__ = ["command"]

PROMPT = "Type the object's URL: "


@click.command(cls=Command, name="client")
@click.argument("url", nargs=-1)
@flags(
    ask=HttpRequestOptions,
    save=HttpResponseOptions,
    route=HttpRoute,
    patience=HttpPatience,
    limits=HttpClientLimits,
    output=ConsoleOptions,
)
def command(
    url: tuple[str, ...],
    *,
    ask: HttpRequestOptions,
    save: HttpResponseOptions,
    route: HttpRoute,
    patience: HttpPatience,
    limits: HttpClientLimits,
    output: ConsoleOptions,
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
    request_options = _request_options(url, ask, save, records=output.json or save.har is not None)
    saves = request_options.remote_name or request_options.output not in {None, "-"}
    compressed = not saves if ask.compressed is None else ask.compressed
    family = ""
    if ask.only_ipv4 != ask.only_ipv6:
        family = "-4" if ask.only_ipv4 else "-6"
    if save.curl:
        from stretta.http.client.curl import curl_command  # noqa: PLC0415

        if not url:
            raise UsageError("--curl needs a URL", hint="As in: --curl :8080/file.txt")
        for one in url:
            fields = [*request_options.headers, *request_options.content_type()]
            request = make_request(
                request_options.method, one, fields, b"", ask.http, compressed=compressed
            )
            line = curl_command(
                request, data=request_options.data, follow=ask.follow,
                output=request_options.output, remote_name=request_options.remote_name,
                resume=request_options.resume, family=family,
                patience=patience, limits=limits, route=route,
            )  # fmt: skip
            write_stdout(f"{line}\n".encode(errors="surrogateescape"))
        return 0
    show = Show(
        Console(quiet=output.quiet, as_json=output.json),
        verbose=save.verbose,
        show_secrets=save.show_secrets,
    )
    fetcher = Fetcher(request_options, show)
    with Client(
        version=ask.http, compressed=compressed, follow=ask.follow, patience=patience,
        limits=limits, route=route, family=_FAMILIES[family], watch=fetcher.watch,
        wrap=_wrapper(fetcher) if save.verbose > 1 else None,
    ) as fetcher.client:  # fmt: skip
        return _run(fetcher, url, save.har)


_FAMILIES = {"": socket.AF_UNSPEC, "-4": socket.AF_INET, "-6": socket.AF_INET6}


def _request_options(
    urls: tuple[str, ...], ask: HttpRequestOptions, save: HttpResponseOptions, *, records: bool
) -> RequestOptions:
    """Return the options for all URLs. Raises UsageError when flags contradict each other."""
    saves = save.remote_name or save.output is not None
    if ask.data == "-" and len(urls) != 1:
        raise UsageError("standard input can be sent only once", "-d - needs one URL")
    if save.output is not None and (save.remote_name or len(urls) != 1):
        raise UsageError("-o names one file for one URL", hint="For several URLs use -O.")
    if save.resume and save.output in {None, "-"} and not save.remote_name:
        raise UsageError("-c needs a file to resume", hint="Name the file: -o FILE")
    if save.output == "":
        raise UsageError("-o needs a file name", "the name is empty", "As in: -o FILE")
    if (ask.method or "").upper() == "HEAD" and saves:
        raise UsageError("nothing to save", "a response to HEAD has no body", "Leave out -X.")
    fields = [_field(line) for line in ask.header]
    given = {name.lower() for name, _ in fields}
    if save.resume and "range" in given:
        raise UsageError("-c sends a Range of its own", hint="Leave out -H Range.")
    if ask.auth is not None:
        if "authorization" in given:
            raise UsageError("the credentials are given twice", hint="Leave out --auth or -H.")
        fields.append(("Authorization", _credentials(ask.auth)))
    return RequestOptions(
        method=ask.method or ("GET" if ask.data is None else "POST"),
        headers=tuple(fields),
        data=ask.data,
        output=save.output,
        remote_name=save.remote_name,
        resume=save.resume,
        records=records,
    )


def _field(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon:
        first = line.split(maxsplit=1)[0] if line.strip() else ""  # the rest may be a secret
        raise UsageError(
            f"cannot send the header {escape(first)!r}",
            "it has no colon",
            "As in: -H 'Accept: */*'",
        )
    # text that is not ASCII is sent as UTF-8
    return name.strip(), value.strip().encode(errors="surrogateescape").decode("latin-1")


def _credentials(auth: str) -> str:
    from urllib.parse import quote  # noqa: PLC0415 - few requests have credentials

    user, colon, password = auth.partition(":")
    if not colon:
        from getpass import getpass  # noqa: PLC0415

        password = getpass(gate(f"Password of {user}: "))
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

                record = fetcher.records[-1] if har is not None else fetcher.records.pop()
                document = as_json(record, show_secrets=fetcher.show.show_secrets)
                fetcher.show.console.write_json(document)
            if statuses[-1] == Interrupted.status and not typed:
                return Interrupted.status
    finally:  # also after Ctrl-C, and when the reader of stdout has gone
        if har is not None:
            save_har(har, fetcher.records)
    if typed:  # the user has seen each failure
        return 0
    return next(filter(None, statuses), 0)
