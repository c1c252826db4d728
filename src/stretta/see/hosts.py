"""The hosts of a recording, as values: names, roles and interfaces. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Host", "Interface", "Role"]


class Role(StrEnum):
    """What a host does in an experiment; labels only, no code decides by it how packets flow."""

    CLIENT = "client"
    SERVER = "server"
    PROXY = "proxy"
    ROUTER = "router"
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
