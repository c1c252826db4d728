"""The errors of a server that cannot be reached: what happened, why, and what to type next."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

from stretta.address import USER_PORTS
from stretta.errors import NetworkError, StrettaError, TimedOut

__all__ = ["cannot_reach", "start_hint"]

REASONS = {
    errno.ECONNREFUSED: "connection refused. Nothing is listening there",
    errno.ECONNRESET: "the connection was reset during the handshake",
    errno.ENETUNREACH: "network unreachable. This machine has no route to that network",
    errno.EHOSTUNREACH: "host unreachable. No machine with that address answers",
    errno.EACCES: "permission denied. A firewall forbids it, or it is a broadcast address",
    errno.EADDRNOTAVAIL: "this machine has no address from which to reach it",
    errno.EINVAL: "a link-local address needs its interface, as in fe80::1%eth0",
    errno.EAFNOSUPPORT: "this machine does not support that kind of address",
}


def cannot_reach(
    host: str, port: int, failed: Sequence[OSError], *, timeout: float, server: str
) -> StrettaError:
    """Return the error for a server that no attempt has reached, from the error of each attempt.

    The most informative error counts: refused, then no answer, then no route.
    """
    what = f"cannot reach {host} port {port}"
    codes = [error.errno or 0 for error in failed]
    if errno.ECONNREFUSED in codes:
        return NetworkError(what, REASONS[errno.ECONNREFUSED], start_hint(server, host, port))
    if errno.ETIMEDOUT in codes:
        return TimedOut(
            what,
            f"no answer in {timeout:g} s. The machine is off, or a firewall drops the packets",
            "Check the address. To wait longer: --connect-timeout SECONDS",
        )
    code = codes[0] if codes else 0
    why = REASONS.get(code) or os.strerror(code).lower()
    return NetworkError(what, why, "Check the address with: ip route get " + host)


def start_hint(server: str, host: str, port: int) -> str:
    """Return a hint with the command that starts a server at this address and port.

    >>> start_hint("stretta udp server", "::1", 53)
    'To start a server: stretta udp server -a :: -p 53 --any-port'
    """
    if not server:
        return ""
    if not port:
        return "No server can listen on port 0. Give the server's port: -p PORT"
    address = " -a ::" if ":" in host else ""
    flag = "" if port in USER_PORTS else " --any-port"
    return f"To start a server: {server}{address} -p {port}{flag}"
