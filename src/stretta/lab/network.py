"""The two hosts and the cables to us: namespaces, interfaces, names; made from inside."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess

from stretta.lab import kernel

__all__ = [
    "HOSTS",
    "build_network",
    "find_ip",
    "interface_socket",
    "namespace",
    "prepare_files",
    "shown_files",
]

HOSTS = {"client": ("10.0.0.1", "fd00::1"), "server": ("10.0.0.2", "fd00::2")}
CARDS = {"client": "02:00:00:00:00:01", "server": "02:00:00:00:00:02"}
"""The MAC addresses, locally administered ones."""

SETTINGS = {
    "ipv6/conf/all/accept_dad": "0",
    "ipv6/conf/default/accept_dad": "0",
    "ipv6/conf/all/accept_ra": "0",
    "ipv6/conf/default/accept_ra": "0",
    "ipv6/conf/default/addr_gen_mode": "1",  # no link-local address, so less to announce
    "ipv4/ip_unprivileged_port_start": "0",
    # windows small enough that a burst fits the kernel's queue behind an interface (1000 frames),
    # which a lab must not overflow by itself
    "ipv4/tcp_rmem": "4096 131072 1048576",
    "ipv4/tcp_wmem": "4096 16384 1048576",
    "ipv4/tcp_congestion_control": "cubic",  # what most Linux machines use
}


def shown_files() -> dict[str, str]:
    """Return the texts that the hosts see in the place of this machine's files."""
    names = "".join(f"{a}\t{name}\n" for name, pair in HOSTS.items() for a in pair)
    return {
        "/etc/hosts": f"127.0.0.1\tlocalhost\n::1\tlocalhost\n{names}",
        "/etc/resolv.conf": "",  # nobody to ask
        "/etc/gai.conf": "precedence ::ffff:0:0/96 100\n",  # names give IPv4 first
    }


def prepare_files(made: dict[str, str]) -> None:
    """Give this mount namespace its own /proc, and names to the hosts.

    ``made`` are the files to show where they were made outside, by what they replace; where there
    are none they are made here, on a file system that is gone with us.
    """
    kernel.mount("none", "/", "none", kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.mount("proc", "/proc", "proc")
    for target, source in made.items():
        if os.path.exists(target):
            kernel.bind_mount(source, target)
    if made:
        return
    kernel.mount("tmpfs", "/proc", "tmpfs")  # anywhere, for a moment: what is bound stays
    for number, (target, text) in enumerate(shown_files().items()):
        if os.path.exists(target):
            source = f"/proc/{number}"
            with open(source, "w", encoding="ascii") as file:
                file.write(text)
            kernel.bind_mount(source, target)
    kernel.unmount("/proc")


def build_network() -> dict[str, int]:
    """Make the two hosts and the cables to us; return their network namespaces' descriptors."""
    wire = namespace()
    write_setting("ipv6/conf/all/disable_ipv6", "1")
    write_setting("ipv6/conf/default/disable_ipv6", "1")
    spaces = {}
    for name in HOSTS:
        kernel.unshare(kernel.CLONE_NEWNET)
        spaces[name] = namespace()
        for path, value in SETTINGS.items():
            write_setting(path, value)
        write_setting("ipv4/ping_group_range", f"{os.getgid()} {os.getgid()}")
    kernel.setns(wire)
    lines = [
        f"link add to-{name} mtu 1500 numtxqueues 1 numrxqueues 1 type veth"
        f" peer name eth0 address {CARDS[name]} mtu 1500 numtxqueues 1 numrxqueues 1"
        f" netns /proc/self/fd/{space}\n"
        f"link set to-{name} arp off up\n"
        for name, space in spaces.items()
    ]
    configure("".join(lines), list(spaces.values()))
    for name, space in spaces.items():
        kernel.setns(space)
        kernel.offloads_off("eth0")
        v4, v6 = HOSTS[name]
        peer = "server" if name == "client" else "client"
        # the two have met before: else what a first segment waits for would be ARP
        met = "".join(
            f"neighbour add {address} lladdr {CARDS[peer]} dev eth0 nud reachable\n"
            for address in HOSTS[peer]
        )
        configure(
            "link set lo up\n"
            f"address add {v4}/24 dev eth0\n"
            f"address add {v6}/64 dev eth0 nodad\n"
            "link set eth0 up\n" + met
        )
    kernel.setns(wire)
    return spaces


def namespace() -> int:
    """Open and return the network namespace that this process is in."""
    return os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def find_ip() -> str | None:
    """Return where ip(8) is; users' paths often leave the administrator's folders out."""
    return shutil.which("ip", path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")


def configure(batch: str, descriptors: list[int] | None = None) -> None:
    """Set interfaces up by ip(8). Raises CalledProcessError with what it said."""
    subprocess.run(  # noqa: S603 - ip(8) itself
        [find_ip() or "ip", "-batch", "-"],
        input=batch.encode(), pass_fds=descriptors or [], capture_output=True, check=True,
    )  # fmt: skip


def interface_socket() -> socket.socket:
    """Return a socket that belongs to this network namespace, to ask about its interfaces."""
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def write_setting(path: str, value: str) -> None:
    """Set a kernel parameter of this network namespace, where the kernel has it."""
    with contextlib.suppress(OSError), open(f"/proc/sys/net/{path}", "w", encoding="ascii") as file:
        file.write(value)
