"""This machine's addresses: those at which a server can be reached."""

from __future__ import annotations

import ipaddress

import ifaddr

from stretta.address import Endpoint

__all__ = ["is_local", "local_networks", "reachable"]


def is_local(host: str) -> bool:
    """Return whether a listening address can be reached from this machine only.

    >>> is_local("127.0.0.1"), is_local("localhost"), is_local("0.0.0.0")
    (True, True, False)
    """
    return host == "localhost" or Endpoint(host, 0).is_loopback


def reachable(host: str) -> list[str]:
    """Return the addresses at which a server on ``host`` can be reached.

    For ``0.0.0.0`` and ``::`` those are the addresses of all interfaces.

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
                # a link-local address needs a zone (RFC 4007), which browsers do not accept
                if not name.startswith("fe80") and not zone:
                    found.append(name)
    return list(dict.fromkeys(found))


def local_networks() -> list[str]:
    """Return the networks of this machine's interfaces, loopback included (``10.0.0.0/24``)."""
    found = ["127.0.0.0/8", "::1/128"]
    for adapter in ifaddr.get_adapters():
        for address in adapter.ips:
            ip = address.ip if isinstance(address.ip, str) else address.ip[0]
            network = ipaddress.ip_network(f"{ip}/{address.network_prefix}", strict=False)
            if network.prefixlen and not network.is_loopback:
                found.append(str(network))
    return list(dict.fromkeys(found))
