"""The hosts of a recording, as values: names, roles and interfaces. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Host", "HostTable", "Interface", "Role"]


class Role(StrEnum):
    """What a host does in an experiment; labels only, no code decides by it how packets flow."""

    CLIENT = "client"
    SERVER = "server"
    PROXY = "proxy"
    ROUTER = "router"
    LOCAL = "local"
    """The machine on which a program is traced."""
    OUTSIDE = "outside"
    """The far end of a trace: a machine on which no call is seen."""


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface of a host; ``hardware`` is its MAC address, or empty if unknown."""

    name: str
    addresses: tuple[str, ...]
    hardware: str = ""


@dataclass(frozen=True, slots=True)
class Host:
    """A host that takes part; events name it by ``name``, which is unique in a recording."""

    name: str
    role: Role
    interfaces: tuple[Interface, ...] = ()

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses of all its interfaces."""
        return tuple(address for each in self.interfaces for address in each.addresses)


class HostTable:
    """The hosts of a recording by their addresses, as seen from one of them."""

    def __init__(self, hosts: Iterable[Host]) -> None:
        self.hosts = tuple(hosts)
        self._owners: dict[str, list[str]] = {}
        for host in self.hosts:
            for address in host.addresses:
                self._owners.setdefault(address, []).append(host.name)
        outside = [host.name for host in self.hosts if host.role is Role.OUTSIDE]
        self._outside = outside[0] if outside else ""

    def source(self, sender: str, address: str) -> str:
        """Return the host that a packet with a source address comes from; ``sender`` sent it on.

        They differ where the sender is a router. The outside may have any address.
        """
        owners = self._owners.get(address, ())
        return sender if sender in owners or sender == self._outside or not owners else owners[0]

    def reached(self, sender: str, address: str) -> str:
        """Return the host that a sender reaches at an address, or "" where that is unknown.

        A host that is alone with the sender has all addresses that the sender's are not; so has
        the outside. A loopback address never means the sender itself: its conversations with
        itself are not seen.
        """
        others = [name for name in self._owners.get(address, ()) if name != sender]
        if others:
            return others[0]
        if self._outside and self._outside != sender:
            return self._outside
        rest = [host.name for host in self.hosts if host.name != sender]
        return rest[0] if len(rest) == 1 else ""
