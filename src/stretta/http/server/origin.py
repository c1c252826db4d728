"""Protect a private server from pages of other sites in its users' browsers. Pure.

DNS rebinding: a page of evil.example may let that name resolve to 127.0.0.1 and then read this
server as its own origin. The Host header still carries evil.example. So a server that only private
networks can reach answers for names of its own machine, for IP addresses, for names without a dot
(which nobody can register), and for the names it is told (``--allow-host``).

Cross-site requests: any page may send a POST to any server. Browsers say where it comes from
(Fetch Metadata; Origin, RFC 6454 section 7), programs say nothing and are let through.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_network

__all__ = ["HostPolicy", "is_cross_site", "is_private"]

SHARED = ip_network("100.64.0.0/10")
"""Addresses behind the NAT of a provider (RFC 6598)."""


def is_private(address: str) -> bool:
    """Return whether the address is of this machine or of a private network.

    >>> is_private("127.0.0.1"), is_private("192.168.1.2"), is_private("fe80::1%eth0")
    (True, True, True)
    >>> is_private("8.8.8.8"), is_private("2606:4700::1111")
    (False, False)
    """
    found = ip_address(address.partition("%")[0])
    mapped = getattr(found, "ipv4_mapped", None)
    found = mapped or found
    return found.is_private or found.is_link_local or (found.version == 4 and found in SHARED)


class HostPolicy:
    """The names for which a server answers; ``*`` allows all, ``*.NAME`` all below a name.

    >>> policy = HostPolicy(["box.example", "*.lan.example"])
    >>> [policy.allows(host) for host in ("box.example:80", "a.lan.example", "evil.example")]
    [True, True, False]
    >>> [policy.allows(host) for host in ("localhost", "127.0.0.1:8080", "[::1]", "nas")]
    [True, True, True, True]
    """

    def __init__(self, names: Iterable[str]) -> None:
        names = [_plain(name) for name in names]
        self._any = "*" in names
        self._names = frozenset(names)
        below = [name[1:] for name in names if name.startswith("*.")]
        self._below = (".localhost", *below)

    def allows(self, host: str) -> bool:
        """Return whether to answer a request with this Host header, whose syntax is valid."""
        name = _plain(host)
        if self._any or "." not in name or name in self._names or name.startswith("["):
            return True
        return name.endswith(self._below) or _is_ipv4(name)


def is_cross_site(headers: Mapping[str, str]) -> bool:
    """Return whether a browser sends the request for a page of another origin.

    >>> is_cross_site({"sec-fetch-site": "cross-site"}), is_cross_site({"host": "a"})
    (True, False)
    >>> is_cross_site({"host": "a:80", "origin": "http://a:80"}), is_cross_site({"origin": "null"})
    (False, True)
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    if origin is None:
        return False
    scheme, _, authority = origin.lower().partition("://")
    return scheme not in ("http", "https") or authority != headers.get("host", "").lower()


def _plain(host: str) -> str:
    """Return the name in lower case, without its port and the dot of the root."""
    name = host.lower()
    if not name.startswith("["):
        name = name.partition(":")[0]
    return name.rstrip(".")


def _is_ipv4(name: str) -> bool:
    try:
        return ip_address(name).version == 4
    except ValueError:
        return False
