"""The curl command for a request."""

from __future__ import annotations

import os
import shlex
from math import ceil
from urllib.parse import unquote

from stretta.errors import UsageError
from stretta.http.client.request import ClientRequest
from stretta.http.message.url import parse_url
from stretta.options.http_client import HttpClientLimits, HttpPatience, HttpRoute

__all__ = ["curl_command"]


def curl_command(
    request: ClientRequest,
    *,
    data: str | None = None,
    follow: bool = False,
    output: str | None = None,
    remote_name: bool = False,
    resume: bool = False,
    family: str = "",
    patience: HttpPatience,
    limits: HttpClientLimits,
    route: HttpRoute,
) -> str:
    """Return the curl command line that sends the request, quoted for a shell.

    ``data`` is the argument of ``-d``, ``output`` that of ``-o``; ``remote_name`` is ``-O``,
    ``resume`` is ``-c``, and ``family`` is "-4", "-6" or "". Raises UsageError for requests that
    curl cannot send.

    >>> from stretta.http.client.blocking import make_request
    >>> defaults = {"patience": HttpPatience(), "limits": HttpClientLimits(), "route": HttpRoute()}
    >>> print(curl_command(make_request("HEAD", ":8080/a b", {"A": "it's"}), **defaults))
    curl --http1.1 --compressed -I -H 'A: it'"'"'s' http://127.0.0.1:8080/a%20b
    """
    if request.method == "HEAD" and data is not None:
        raise UsageError(
            "curl cannot send this request", "it sends no body with HEAD", "Leave out -d or -X."
        )
    url = str(request.url)
    words = ["curl", f"--http{request.version}"]
    if request.compressed and request.version == "1.1":
        words.append("--compressed")
    words += ["-g"] if set(url) & set("[]{}") else []  # curl would expand them as patterns
    words += _request_words(request, data)
    words += ["-L", "--max-redirs", str(limits.max_redirects)] if follow else []
    words += [family] if family else []
    words += [*_limit_words(patience, limits), *_route_words(route)]
    words += ["-o", output] if output is not None else []
    words += ["-O"] if remote_name else []
    words += ["-J"] if remote_name and not resume else []  # curl cannot do both
    words += ["-C", "-"] if resume else []
    return " ".join(map(shlex.quote, [*words, url]))


def _request_words(request: ClientRequest, data: str | None) -> list[str]:
    """Return the words for the method, the header fields and the body."""
    words = []
    if request.method == "HEAD":
        words.append("-I")
    elif request.method != ("GET" if data is None else "POST"):
        words += ["-X", request.method]
    for name, value in request.headers:
        words += ["-H", f"{name}: {_typed(value)}" if value else f"{name}:"]
    if request.version == "1.0":
        known = {name.lower() for name, _ in [*request.fields(), *request.headers]}
        for name in ("Host", "User-Agent", "Accept"):  # curl sends them by default
            words += ["-H", f"{name}:"] if name.lower() not in known else []
    if request.url.username:
        pair = (request.url.username, request.url.password)
        words += ["-u", ":".join(unquote(part, errors="surrogateescape") for part in pair)]
    if data is not None:
        words += ["--data-binary", "@-" if data == "-" else data]
    return words


def _limit_words(patience: HttpPatience, limits: HttpClientLimits) -> list[str]:
    """Return the words for the limits that differ from the defaults."""
    words, defaults = [], HttpPatience()
    if patience.connect_timeout != defaults.connect_timeout:
        words += ["--connect-timeout", f"{patience.connect_timeout:g}"]
    if patience.timeout is not None:
        words += ["--max-time", f"{patience.timeout:g}"]
    if patience.idle_timeout != defaults.idle_timeout:
        words += ["--speed-limit", "1", "--speed-time", str(max(1, ceil(patience.idle_timeout)))]
    if limits.max_size is not None:
        words += ["--max-filesize", str(limits.max_size)]
    return words


def _route_words(route: HttpRoute) -> list[str]:
    """Return the words for proxy, trust and addresses."""
    words = []
    if route.proxy is not None:
        words += ["-x", _proxy(route.proxy)]
    if route.tls_ca is not None:
        words += ["--capath" if os.path.isdir(route.tls_ca) else "--cacert", route.tls_ca]
    words += ["-k"] if route.insecure else []
    for entry in route.resolve:
        words += ["--resolve", entry]
    return words


def _typed(value: str) -> str:
    """Return a field value as the user typed it; its bytes are UTF-8."""
    return value.encode("latin-1").decode("utf-8", "surrogateescape")


def _proxy(text: str) -> str:
    """Return a proxy's URL with its port: curl's default is 1080."""
    if not text:
        return text
    url = parse_url(text)
    host = f"[{url.host}]" if ":" in url.host else url.host
    user = f"{url.username}:{url.password}@" if url.username else ""
    return f"{url.scheme}://{user}{host}:{url.port}"
