"""Linux calls that the lab needs and Python 3.11 lacks; each raises OSError on failure."""

from __future__ import annotations

import array
import ctypes
import fcntl
import os
import socket
import struct

__all__ = [
    "bind_mount",
    "die_with_parent",
    "drop_capabilities",
    "is_running",
    "keep_network_capabilities",
    "mount",
    "offloads_off",
    "setns",
    "unmount",
    "unshare",
]

CLONE_NEWNS = 0x0002_0000
CLONE_NEWUTS = 0x0400_0000
CLONE_NEWUSER = 0x1000_0000
CLONE_NEWPID = 0x2000_0000
CLONE_NEWNET = 0x4000_0000

MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2

PR_SET_PDEATHSIG = 1
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE, PR_CAP_AMBIENT_CLEAR_ALL = 2, 4
CAP_NET_ADMIN, CAP_SYS_ADMIN = 12, 21
CAPABILITY_VERSION = 0x2008_0522  # _LINUX_CAPABILITY_VERSION_3, capget(2)

IFF_RUNNING = 0x40
SIOCGIFFLAGS = 0x8913
SIOCETHTOOL = 0x8946
# ethtool.h: receive and transmit checksums, scatter-gather, TSO, GSO, GRO
ETHTOOL_SET = (0x15, 0x17, 0x19, 0x1F, 0x24, 0x2C)

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, call: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), call)


def unshare(flags: int) -> None:
    """Move this process to new namespaces (unshare(2))."""
    _check(_libc.unshare(flags), "unshare")


def setns(descriptor: int, kind: int = CLONE_NEWNET) -> None:
    """Move this process to the namespace that a descriptor names (setns(2))."""
    _check(_libc.setns(descriptor, kind), "setns")


def mount(source: str, target: str, kind: str, flags: int = 0) -> None:
    """Mount a file system (mount(2))."""
    _check(_libc.mount(source.encode(), target.encode(), kind.encode(), flags, None), "mount")


def bind_mount(source: str, target: str) -> None:
    """Mount a file over another, in this mount namespace only (mount(2), MS_BIND)."""
    mount(source, target, "none", MS_BIND)


def unmount(target: str) -> None:
    """Detach a file system; bind mounts of its files stay (umount2(2), MNT_DETACH)."""
    _check(_libc.umount2(target.encode(), MNT_DETACH), "umount2")


def die_with_parent(signal_number: int) -> None:
    """Have the kernel send a signal when the parent ends (prctl(2), PR_SET_PDEATHSIG)."""
    _check(_libc.prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0), "prctl")


def keep_network_capabilities() -> None:
    """Give child programs CAP_NET_ADMIN and CAP_SYS_ADMIN in the namespace (capabilities(7)).

    An ordinary user keeps its number in the namespace, so execve() would clear its capabilities;
    ambient capabilities survive it.
    """
    header = struct.pack("Ii", CAPABILITY_VERSION, 0)
    data = ctypes.create_string_buffer(24)
    _check(_libc.capget(header, data), "capget")
    sets = list(struct.unpack("6I", data.raw))  # effective, permitted, inheritable; low, high
    wanted = 1 << CAP_NET_ADMIN | 1 << CAP_SYS_ADMIN
    sets[2] |= wanted & sets[1]
    _check(_libc.capset(header, struct.pack("6I", *sets)), "capset")
    for capability in (CAP_NET_ADMIN, CAP_SYS_ADMIN):
        _check(_libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0), "prctl")


def drop_capabilities() -> None:
    """Clear the ambient capabilities, so that child programs have only their user's rights."""
    _check(_libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "prctl")


def offloads_off(interface: str) -> None:
    """Turn off the offloads of an interface: each frame is one that an Ethernet would carry.

    With offloads on, checksums are left for hardware to fill in, and one frame can hold many
    segments.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for command in ETHTOOL_SET:
            value = array.array("B", struct.pack("II", command, 0))
            address, _ = value.buffer_info()
            request = struct.pack("16sP16x", interface.encode(), address)
            fcntl.ioctl(sock, SIOCETHTOOL, request)


def is_running(sock: socket.socket, interface: str) -> bool:
    """Return whether an interface is up, in the network namespace of a socket (netdevice(7))."""
    answer = fcntl.ioctl(sock, SIOCGIFFLAGS, struct.pack("16s24x", interface.encode()))
    return bool(struct.unpack_from("H", answer, 16)[0] & IFF_RUNNING)
