"""Joining a multicast group (ip(7), ipv6(7), RFC 1112, RFC 4291 section 2.7)."""

from __future__ import annotations

import ipaddress
import os
import socket
import struct

from stretta.errors import CannotServe

__all__ = ["join_group"]


def join_group(sock: socket.socket) -> None:
    """Join the group that a socket is bound to, if it is bound to one.

    An IPv6 group is joined on the interface of its zone, an IPv4 group on the one that the routing
    table gives. Raises CannotServe when the system refuses.
    """
    host, *rest = sock.getsockname()
    group = ipaddress.ip_address(host.partition("%")[0])
    if not group.is_multicast:
        return
    try:
        if sock.family == socket.AF_INET:
            request = group.packed + socket.inet_aton("0.0.0.0")  # noqa: S104 - any interface
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
        else:
            request = group.packed + struct.pack("@I", rest[2])
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
    except OSError as error:
        zone = " with an interface, as in ff02::1%eth0" if group.version == 6 else ""
        raise CannotServe(
            f"cannot join the multicast group {host}",
            os.strerror(error.errno or 0).lower(),
            f"Give a group{zone} that this machine has a route to. To see them: ip route",
        ) from None
