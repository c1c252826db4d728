"""Choosing the proxy for a URL, from an option or the usual environment variables. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from stretta.errors import UsageError
from stretta.http.message.url import Url, parse_url

__all__ = ["proxy_for"]


def proxy_for(url: Url, given: str | None, environ: Mapping[str, str]) -> Url | None:
    """Return the proxy for a URL: ``given``, else the environment's; None for no proxy.

    The variables are those of curl: ``http_proxy``, ``https_proxy``, ``all_proxy`` and
    ``no_proxy``, in lower or upper case. An empty ``given`` means no proxy. ``HTTP_PROXY`` is
    ignored if ``REQUEST_METHOD`` is set: a web server sets it from a request's header (CGI). Raises
    UsageError for a proxy that cannot be used.

    >>> url = parse_url("http://example.com/")
    >>> str(proxy_for(url, None, {"http_proxy": "proxy:3128"}))
    'http://proxy:3128/'
    >>> proxy_for(url, None, {"http_proxy": "proxy:3128", "no_proxy": ".com, 10.0.0.0/8"})
    """
    if given is None:
        if _is_exempt(url, environ.get("no_proxy") or environ.get("NO_PROXY") or ""):
            return None
        given = _from_environment(url.scheme, environ)
    if not given:
        return None
    try:
        return parse_url(given)
    except UsageError as error:
        raise UsageError(
            "cannot use the proxy",
            error.why,
            "A proxy looks like http://127.0.0.1:3128; it is set by --proxy, http_proxy,"
            " https_proxy or all_proxy. To use none: --proxy ''",
        ) from None


def _from_environment(scheme: str, environ: Mapping[str, str]) -> str | None:
    forged = scheme == "http" and "REQUEST_METHOD" in environ
    names = [f"{scheme}_proxy", "" if forged else f"{scheme.upper()}_PROXY", "all_proxy"]
    return next((value for name in [*names, "ALL_PROXY"] if (value := environ.get(name))), None)


def _is_exempt(url: Url, no_proxy: str) -> bool:
    return any(_matches(url, entry) for entry in no_proxy.replace(",", " ").split())


def _matches(url: Url, entry: str) -> bool:
    """Return whether an entry matches: ``*``, an address, a network, a domain name."""
    if entry == "*":
        return True
    import ipaddress  # noqa: PLC0415 - only no_proxy needs it

    try:
        return ipaddress.ip_address(url.host) in ipaddress.ip_network(
            entry.strip("[]"), strict=False
        )
    except ValueError:
        pass
    name, colon, port = entry.rpartition(":")
    if colon and port.isdecimal():
        if int(port) != url.port:
            return False
        entry = name
    entry = entry.strip("[]").lower().strip(".")
    return url.host == entry or url.host.endswith("." + entry)
