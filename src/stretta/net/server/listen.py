"""Binding: sockets that wait for others, and who is there already when the port is taken."""

from __future__ import annotations

import errno
import os
import socket

from stretta.address import Endpoint
from stretta.errors import CannotServe
from stretta.net.resolve import resolve
from stretta.net.server.port_owner import holder

__all__ = ["bind"]


def bind(
    host: str, port: int, kind: int, *, command: str = "", shared: bool = False
) -> list[socket.socket]:
    """Return non-blocking sockets bound to every address of ``host``; ``::`` takes IPv4 too.

    ``kind`` is SOCK_STREAM or SOCK_DGRAM; ``command`` is what the user typed, for the hint. With
    port 0 the kernel chooses one, the same for every address. ``shared`` sockets may be bound to
    the same port again, and the kernel spreads over them who comes (socket(7), SO_REUSEPORT).
    Raises CannotServe when one of the addresses cannot be bound, NetworkError when the name has
    none.
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
            # a restarted server need not wait for the last one's TIME_WAIT (RFC 9293 3.4.1); for
            # UDP the same option would let two servers share a port, each missing half
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # connections inherit it; the event loops leave it alone: the end of a reply that takes
            # two writes would wait for the client's delayed acknowledgement (RFC 9293 3.7.4)
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
        who = holder(port, kind)
        why = f"the port is in use by {who}" if who else "the port is in use by another program"
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
    """Return the first free port after this one, within reach, else any."""
    for candidate in [*range(port + 1, min(port + 20, 65536)), 0]:
        try:
            family, sockaddr = resolve(host, candidate, kind, passive=True)[0]
            with _bind_one(family, sockaddr, kind) as sock:
                return Endpoint.from_sockaddr(sock.getsockname()).port
        except OSError:
            continue
    return 0
