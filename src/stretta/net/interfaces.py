"""This machine's own addresses: where a server that listens on all of them can be reached."""

from __future__ import annotations

import ifaddr

from stretta.address import Endpoint

__all__ = ["is_local", "reachable"]


def is_local(host: str) -> bool:
    """Return whether a listening address is reached from this machine only.

    >>> is_local("127.0.0.1"), is_local("localhost"), is_local("0.0.0.0")
    (True, True, False)
    """
    return host == "localhost" or Endpoint(host, 0).is_loopback


def reachable(host: str) -> list[str]:
    """Return the addresses behind a listening one: itself, or all if it means them all.

    >>> reachable("127.0.0.1")
    ['127.0.0.1']
    """
    if host not in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        return [host]
    found = ["127.0.0.1"] + (["::1"] if host == "::" else [])
    for adapter in ifaddr.get_adapters():
        for address in adapter.ips:
            if isinstance(address.ip, str):
                found.append(address.ip)
            elif host == "::":
                name, _, zone = address.ip
                # a link-local address means nothing without its interface (RFC 4007), and browsers
                # take no zone
                if not name.startswith("fe80") and not zone:
                    found.append(name)
    return list(dict.fromkeys(found))
