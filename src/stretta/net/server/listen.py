"""Bind listening sockets; when the port is in use, say by which process."""

from __future__ import annotations

import errno
import os
import socket

from stretta.address import Endpoint
from stretta.errors import CannotServe
from stretta.net.resolve import resolve
from stretta.net.server.port_owner import port_owner

__all__ = ["bind"]


def bind(
    host: str, port: int, kind: int, *, command: str = "", shared: bool = False
) -> list[socket.socket]:
    """Return non-blocking sockets bound to every address of ``host``; ``::`` includes IPv4.

    ``kind`` is SOCK_STREAM or SOCK_DGRAM; ``command`` is the command that the user typed, for the
    hint. With port 0 the kernel chooses one port for all addresses. ``shared`` sockets may be
    bound to the same port again; the kernel spreads the peers over them (socket(7),
    SO_REUSEPORT). Raises CannotServe when an address cannot be bound, NetworkError when the name
    has no address.
    """
    bound: list[socket.socket] = []
    try:
        for family, sockaddr in resolve(host, port, kind, passive=True):
            chosen = bound[0].getsockname()[1] if bound else port
            bound.append(_bind_one(family, (sockaddr[0], chosen, *sockaddr[2:]), kind, shared))
    except OSError as error:
        for sock in bound:
            sock.close()
        raise _cannot_serve(host, port, kind, command, error) from error
    return bound


def _bind_one(
    family: int,
    sockaddr: tuple[object, ...],
    kind: int,
    shared: bool = False,  # noqa: FBT001, FBT002
) -> socket.socket:
    sock = socket.socket(family, kind)
    try:
        sock.setblocking(False)
        if kind == socket.SOCK_STREAM:
            # a restarted server need not wait for the old one's TIME_WAIT (RFC 9293 3.4.1); on
            # UDP the same option would let two servers share a port, and each miss half
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # connections inherit it; without it, the second write of a reply would wait for the
            # client's delayed acknowledgement (RFC 9293 3.7.4)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, sockaddr[0] != "::")
        sock.bind(sockaddr)
    except OSError:
        sock.close()
        raise
    return sock


def _cannot_serve(host: str, port: int, kind: int, command: str, error: OSError) -> CannotServe:
    what = f"cannot listen on {host} port {port}"
    if error.errno == errno.EADDRINUSE:
        owner = port_owner(port, kind)
        why = f"the port is in use by {owner}" if owner else "the port is in use by another program"
        free = _free_port(host, port, kind)
        return CannotServe(what, why, f"Port {free} is free: {command} -p {free}".strip())
    if error.errno == errno.EADDRNOTAVAIL:
        return CannotServe(
            what, "this machine does not have that address", "To see its addresses: ip address"
        )
    if error.errno == errno.EACCES:
        return CannotServe(
            what, "ports below 1024 are for the administrator", f"Try: {command} -p 12000".strip()
        )
    return CannotServe(what, os.strerror(error.errno or 0).lower(), "To see more: --debug")


def _free_port(host: str, port: int, kind: int) -> int:
    """Return a free port: one of the next twenty, else any."""
    for candidate in [*range(port + 1, min(port + 20, 65536)), 0]:
        try:
            family, sockaddr = resolve(host, candidate, kind, passive=True)[0]
            with _bind_one(family, sockaddr, kind) as sock:
                return Endpoint.from_sockaddr(sock.getsockname()).port
        except OSError:
            continue
    return 0
