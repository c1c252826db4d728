"""The curl command that asks for the same. Pure."""

from __future__ import annotations

import shlex

from stretta.http.client_request import ClientRequest
from stretta.options.http_client import HttpClientLimits, HttpPatience, HttpRoute

__all__ = ["curl_command"]


def curl_command(
    request: ClientRequest,
    *,
    data: str | None = None,
    follow: bool = False,
    output: str | None = None,
    family: str = "",
    patience: HttpPatience,
    limits: HttpClientLimits,
    route: HttpRoute,
) -> str:
    """Return the command line, quoted for a shell.

    ``data`` is what ``-d`` was given, ``output`` the file to write, ``family`` "-4", "-6" or "".

    >>> from stretta.http.client import make_request
    >>> usual = {"patience": HttpPatience(), "limits": HttpClientLimits(), "route": HttpRoute()}
    >>> print(curl_command(make_request("HEAD", ":8080/a b", {"A": "it's"}), **usual))
    curl --http1.1 --compressed -I -H 'A: it'"'"'s' http://127.0.0.1:8080/a%20b
    """
    words = ["curl", f"--http{request.version}"]
    if request.compressed and request.version == "1.1":
        words.append("--compressed")
    if request.method == "HEAD":
        words.append("-I")
    elif request.method != ("GET" if data is None else "POST"):
        words += ["-X", request.method]
    for name, value in request.headers:
        words += ["-H", f"{name}: {value}" if value else f"{name}:"]
    if request.url.username:
        words += ["-u", f"{request.url.username}:{request.url.password}"]
    if data is not None:
        words += ["--data-binary", "@-" if data == "-" else data]
    if follow:
        words += ["-L", "--max-redirs", str(limits.max_redirects)]
    words += [family] if family else []
    words += ["--connect-timeout", f"{patience.connect_timeout:g}"] * (
        patience.connect_timeout != HttpPatience().connect_timeout
    )
    if patience.timeout is not None:
        words += ["--max-time", f"{patience.timeout:g}"]
    if limits.max_size is not None:
        words += ["--max-filesize", str(limits.max_size)]
    words += ["-x", route.proxy] if route.proxy is not None else []
    words += ["--cacert", route.tls_ca] if route.tls_ca is not None else []
    words += ["-k"] if route.insecure else []
    for entry in route.resolve:
        words += ["--resolve", entry]
    words += ["-o", output] if output is not None else []
    return " ".join(map(shlex.quote, [*words, str(request.url)]))
