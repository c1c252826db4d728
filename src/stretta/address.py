"""Addresses and ports as people write them and as Stretta prints them; no look-ups. Pure."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from stretta.errors import UsageError

__all__ = [
    "ANY_PORT",
    "USER_PORTS",
    "Endpoint",
    "PortError",
    "check_port",
    "parse_host",
    "parse_port",
    "source_of",
]

USER_PORTS = range(1024, 65536)
"""The ports that any user may listen on: the only ones that -p accepts without --any-port."""

ANY_PORT = range(65536)
"""Every port; for a server 0 means any free one."""


class Endpoint(NamedTuple):
    """One end of a conversation: a numeric address and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"({self.host}, {self.port})"

    @classmethod
    def from_sockaddr(cls, sockaddr: Any) -> Endpoint:
        """Return the endpoint for a socket address of IPv4 or IPv6, as ``getpeername`` returns it.

        An IPv4-mapped address (``::ffff:10.0.0.1``, RFC 4291 section 2.5.5.2) becomes IPv4.
        """
        if not sockaddr:  # the connection ended before getpeername() was called
            return cls("?", 0)
        host = sockaddr[0]
        return cls(host[7:] if host.startswith("::ffff:") and "." in host else host, sockaddr[1])

    @property
    def is_loopback(self) -> bool:
        """Whether the address is this machine's loopback."""
        return self.host.startswith("127.") or self.host == "::1"

    @property
    def is_multicast(self) -> bool:
        """Whether the address stands for a group (RFC 1112 section 4, RFC 4291 section 2.7)."""
        if ":" in self.host:
            return self.host[:2].lower() == "ff"
        first = self.host.partition(".")[0]
        return first.isdecimal() and 224 <= int(first) < 240

    @property
    def authority(self) -> str:
        """The form for a URL: an IPv6 address in brackets (RFC 3986 section 3.2.2)."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def source_of(address: str, prefix: int = 64) -> str:
    """Return the source that a per-source limit counts: an IPv4 address, or an IPv6 network.

    One IPv6 host often owns a whole /64 (RFC 6177), so ``prefix`` leading bits make one source. An
    IPv4-mapped address counts as its IPv4 address; text that is no address is returned unchanged.

    >>> source_of("192.0.2.1"), source_of("::ffff:192.0.2.1"), source_of("2001:db8::1:2:3:4")
    ('192.0.2.1', '192.0.2.1', '2001:db8::/64')
    """
    return _network_of(address, prefix) if ":" in address else address


@lru_cache(maxsize=4096)
def _network_of(address: str, prefix: int) -> str:
    import ipaddress  # noqa: PLC0415 - IPv4 needs no parsing, and a client starts without it

    host, percent, zone = address.partition("%")
    try:
        parsed = ipaddress.IPv6Address(host)
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    shift = 128 - prefix
    return f"{ipaddress.IPv6Address(int(parsed) >> shift << shift)}/{prefix}{percent}{zone}"


def parse_host(text: str) -> str:
    """Return the IPv4 address, IPv6 address (without brackets) or name in ``text``.

    Raises UsageError for anything else, also for a URL or an address with a port.
    """
    host = text
    if text.startswith("[") and text.endswith("]"):
        host = text[1:-1]
        if ":" not in host:
            raise _bad_host(text, "brackets belong around an IPv6 address")
    if not host:
        raise _bad_host(text, "it is empty")
    if "://" in host or "/" in host:
        raise _bad_host(text, "it looks like a URL")
    if ":" in host:
        return _parse_ipv6(text, host)
    if not host.isprintable() or any(c.isspace() for c in host):
        raise _bad_host(text, "it contains a space or a control character")
    if len(host) > 253:  # RFC 1035 section 2.3.4, without the final dot
        raise _bad_host(text, "a name has at most 253 characters")
    return host


def _parse_ipv6(text: str, host: str) -> str:
    import ipaddress  # noqa: PLC0415 - most addresses are IPv4, and a client starts without it

    address, _, zone = host.partition("%")
    try:
        ipaddress.IPv6Address(address)
    except ValueError:
        name, _, port = host.strip("[").rpartition(":")
        if port.isdecimal() and (name.endswith("]") or ":" not in name):
            raise _bad_host(text, f"it ends in a port; give it as -p {port}") from None
        raise _bad_host(text, "it is not a valid IPv6 address") from None
    if "%" in host and not zone:
        raise _bad_host(text, "the zone after % is empty")
    return host


def _bad_host(text: str, why: str) -> UsageError:
    return UsageError(
        f"cannot use the address {text!r}",
        why,
        "Give an IPv4 address (127.0.0.1), an IPv6 address (::1, fe80::1%eth0) or a name"
        " (localhost).",
    )


def parse_port(text: str, allowed: range = USER_PORTS) -> int:
    """Return the port number in ``text``, which must be decimal digits.

    Raises PortError, with the lecture's message, when the port is not in ``allowed``.
    """
    # isdecimal() alone accepts the digits of other scripts
    if text.isascii() and text.isdecimal() and len(text) <= 5 and int(text) in allowed:
        return int(text)
    raise PortError(
        f"-p option must be an integer in {allowed.start}..{allowed.stop - 1}",
        hint="--any-port accepts 0..65535; a server takes any free port for 0."
        if allowed == USER_PORTS
        else "",
    )


def check_port(port: object) -> None:
    """Raise UsageError unless a port is an integer in 0..65535, as a library's argument must be."""
    if not isinstance(port, int) or isinstance(port, bool) or port not in ANY_PORT:
        raise UsageError(f"port cannot be {port!r}", "it must be an integer in 0..65535")


class PortError(UsageError):
    """A port that is not allowed, with the lecture's message."""
