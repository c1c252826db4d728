"""The syntax of a host, as in a Host header or a URL. Pure."""

from __future__ import annotations

import re
from ipaddress import IPv6Address

__all__ = ["is_host"]

HOST = re.compile(
    r"(?:(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*"
    r"|\[([0-9A-Fa-f:.]+)\]"
    r"|\[v[0-9A-Fa-f]+\.[A-Za-z0-9._~!$&'()*+,;=:-]+\])(?::\d*)?"
)
"""uri-host [ ":" port ] (RFC 9110 section 7.2, RFC 3986 section 3.2.2)."""


def is_host(text: str) -> bool:
    """Return whether the text is a host with or without a port.

    >>> is_host("a.example:80"), is_host("[::1]"), is_host("[1::2::3]"), is_host("a%zz")
    (True, True, False, False)
    """
    found = HOST.fullmatch(text)
    if found is None:
        return False
    if found[1] is not None:
        try:
            IPv6Address(found[1])
        except ValueError:
            return False
    return True
