"""Builds the network of a lab from inside: namespaces, interfaces, addresses, names."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterable

from stretta.lab import kernel
from stretta.lab.topology import Endpoint, Topology
from stretta.see.hosts import Host

__all__ = [
    "build_network",
    "find_ip",
    "interface_socket",
    "namespace",
    "port_name",
    "prepare_files",
    "shown_files",
]

SETTINGS = {
    "ipv6/conf/all/accept_dad": "0",
    "ipv6/conf/default/accept_dad": "0",
    "ipv6/conf/all/accept_ra": "0",
    "ipv6/conf/default/accept_ra": "0",
    "ipv6/conf/default/addr_gen_mode": "1",  # no link-local address, so less to announce
    "ipv4/ip_unprivileged_port_start": "0",
    # windows small enough that a burst fits the kernel's queue before an interface (1000 frames),
    # which a lab must not overflow by itself
    "ipv4/tcp_rmem": "4096 131072 1048576",
    "ipv4/tcp_wmem": "4096 16384 1048576",
    "ipv4/tcp_congestion_control": "cubic",  # the default of most Linux machines
}


def port_name(port: int) -> str:
    """Return the name of the wire's own interface for a port."""
    return f"port{port}"


def shown_files(hosts: Iterable[Host]) -> dict[str, str]:
    """Return the files that the hosts see in place of this machine's, and their texts."""
    names = "".join(f"{a}\t{host.name}\n" for host in hosts for a in host.addresses)
    return {
        "/etc/hosts": f"127.0.0.1\tlocalhost\n::1\tlocalhost\n{names}",
        "/etc/resolv.conf": "",  # the lab has no name server
        "/etc/gai.conf": "precedence ::ffff:0:0/96 100\n",  # names give IPv4 first
    }


def prepare_files(topology: Topology, made: Iterable[tuple[str, str]]) -> None:
    """Give this mount namespace its own /proc, and the hosts' names.

    ``made`` lists files that were made outside: what each replaces, and where it is. If it is
    empty, they are made here, on a file system that ends with this process.
    """
    kernel.mount("none", "/", "none", kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.mount("proc", "/proc", "proc")
    made = list(made)
    for target, source in made:
        if os.path.exists(target):
            kernel.bind_mount(source, target)
    if made:
        return
    kernel.mount("tmpfs", "/proc", "tmpfs")  # for a moment: bind mounts of its files stay
    for number, (target, text) in enumerate(shown_files(topology.hosts).items()):
        if os.path.exists(target):
            source = f"/proc/{number}"
            with open(source, "w", encoding="ascii") as file:
                file.write(text)
            kernel.bind_mount(source, target)
    kernel.unmount("/proc")


def build_network(topology: Topology) -> dict[str, int]:
    """Make the hosts and the wire's ports; return descriptors of the hosts' network namespaces."""
    wire = namespace()
    write_setting("ipv6/conf/all/disable_ipv6", "1")
    write_setting("ipv6/conf/default/disable_ipv6", "1")
    spaces = {}
    for host in topology.hosts:
        kernel.unshare(kernel.CLONE_NEWNET)
        spaces[host.name] = namespace()
        for path, value in SETTINGS.items():
            write_setting(path, value)
        write_setting("ipv4/ping_group_range", f"{os.getgid()} {os.getgid()}")
    kernel.setns(wire)
    lines = [
        f"link add {port_name(port)} mtu 1500 numtxqueues 1 numrxqueues 1 type veth"
        f" peer name {end.interface} address {topology.interface(end).hardware} mtu 1500"
        f" numtxqueues 1 numrxqueues 1 netns /proc/self/fd/{spaces[end.host]}\n"
        f"link set {port_name(port)} arp off up\n"
        for port, end in enumerate(topology.endpoints)
    ]
    configure("".join(lines), list(spaces.values()))
    for name, space in spaces.items():
        kernel.setns(space)
        commands = ["link set lo up\n"]
        for link in topology.links:
            for end in link:
                if end.host == name:
                    kernel.offloads_off(end.interface)
                    commands += _interface_commands(topology, link, end)
        configure("".join(commands))
    kernel.setns(wire)
    return spaces


def _interface_commands(topology: Topology, link: tuple[Endpoint, ...], end: Endpoint) -> list[str]:
    """Return the ip(8) commands that set up one interface."""
    device = f"dev {end.interface}"
    own = topology.interface(end).addresses
    lines = [
        f"address add {address}/64 {device} nodad\n"
        if ":" in address
        else f"address add {address}/24 {device}\n"
        for address in own
    ]
    lines.append(f"link set {end.interface} up\n")
    # static neighbour entries, so that no ARP exchange delays the first segment
    lines += [
        f"neighbour add {address} lladdr {topology.interface(other).hardware} {device}"
        " nud reachable\n"
        for other in link
        if other != end
        for address in topology.interface(other).addresses
    ]
    return lines


def namespace() -> int:
    """Open and return the network namespace of this process."""
    return os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def find_ip() -> str | None:
    """Return the path of ip(8); users' paths often lack the administrator's folders."""
    return shutil.which("ip", path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")


def configure(batch: str, descriptors: list[int] | None = None) -> None:
    """Run ip(8) commands. Raises CalledProcessError with its error message."""
    subprocess.run(  # noqa: S603 - ip(8) itself
        [find_ip() or "ip", "-batch", "-"],
        input=batch.encode(), pass_fds=descriptors or [], capture_output=True, check=True,
    )  # fmt: skip


def interface_socket() -> socket.socket:
    """Return a socket of this network namespace, to query its interfaces."""
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def write_setting(path: str, value: str) -> None:
    """Set a kernel parameter of this network namespace, if the kernel has it."""
    with contextlib.suppress(OSError), open(f"/proc/sys/net/{path}", "w", encoding="ascii") as file:
        file.write(value)
