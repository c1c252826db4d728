"""The hosts of a lab and the links between their interfaces, as values. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from stretta.lab.fault_syntax import Direction
from stretta.see.hosts import Host, Interface, Role

__all__ = ["TWO_HOSTS", "Endpoint", "Topology", "in_a_row", "on_one_link"]

LISTENING = frozenset({Role.SERVER, Role.PROXY})
"""The roles whose programs listen for others: they start first, and stop last."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One end of a link: an interface of a host, both by name."""

    host: str
    interface: str


@dataclass(frozen=True, slots=True)
class Topology:
    """Hosts, and links; each link connects two or more endpoints, as a switch does.

    Raises ValueError when names repeat, or when an endpoint does not exist or is used twice.
    """

    hosts: tuple[Host, ...]
    links: tuple[tuple[Endpoint, ...], ...]

    def __post_init__(self) -> None:
        names = [host.name for host in self.hosts]
        known = {Endpoint(host.name, each.name) for host in self.hosts for each in host.interfaces}
        used = self.endpoints
        if len(set(names)) != len(names):
            raise ValueError("two hosts have the same name")
        if len(set(used)) != len(used) or not known.issuperset(used):
            raise ValueError("a link's endpoint does not exist, or is used twice")
        if any(len(link) < 2 for link in self.links):
            raise ValueError("a link needs two endpoints")

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """The endpoints of all links; the wire numbers its ports by their places here."""
        return tuple(endpoint for link in self.links for endpoint in link)

    @property
    def paths(self) -> tuple[tuple[int, int], ...]:
        """Every ordered pair of ports on the same link: the ways that a frame can take."""
        found: list[tuple[int, int]] = []
        first = 0
        for link in self.links:
            ports = range(first, first + len(link))
            found += [(a, b) for a in ports for b in ports if a != b]
            first += len(link)
        return tuple(found)

    @property
    def directions(self) -> tuple[Direction, ...]:
        """The sending and the receiving host of each of ``paths``."""
        ends = self.endpoints
        return tuple((ends[a].host, ends[b].host) for a, b in self.paths)

    @property
    def start_order(self) -> tuple[Host, ...]:
        """The hosts in the order in which their programs start: servers, proxies, then others."""
        order = (Role.SERVER, Role.PROXY)
        return tuple(
            sorted(
                self.hosts,
                key=lambda host: order.index(host.role) if host.role in order else len(order),
            )
        )

    def host(self, name: str) -> Host:
        """Return the host of this name. Raises KeyError."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise KeyError(name)

    def interface(self, endpoint: Endpoint) -> Interface:
        """Return the interface at an endpoint. Raises KeyError."""
        for interface in self.host(endpoint.host).interfaces:
            if interface.name == endpoint.interface:
                return interface
        raise KeyError(endpoint)


def _interface(name: str, link: int, place: int, number: int) -> Interface:
    """Return an interface with the addresses of its place on a link, and a local MAC address."""
    return Interface(
        name,
        (f"10.0.{link}.{place}", f"fd00::{place}" if link == 0 else f"fd00:{link:x}::{place}"),
        f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}",
    )


def on_one_link(*hosts: tuple[str, Role]) -> Topology:
    """Return hosts (names and roles) on one link: 10.0.0.1, fd00::1, and so on, in their order."""
    made = tuple(
        Host(name, role, (_interface("eth0", 0, place, place),))
        for place, (name, role) in enumerate(hosts, 1)
    )
    return Topology(made, (tuple(Endpoint(host.name, "eth0") for host in made),))


def in_a_row(*hosts: tuple[str, Role]) -> Topology:
    """Return hosts with a link between each and the next: 10.0.0.0/24, 10.0.1.0/24, and so on."""
    made: list[Host] = []
    links: list[tuple[Endpoint, ...]] = []
    number = 0
    for place, (name, role) in enumerate(hosts):
        interfaces: list[Interface] = []
        for link, end in ((place - 1, 2), (place, 1)):
            if 0 <= link < len(hosts) - 1:
                number += 1
                interfaces.append(_interface(f"eth{len(interfaces)}", link, end, number))
        made.append(Host(name, role, tuple(interfaces)))
        if place:
            before = made[place - 1].interfaces[-1].name
            links.append((Endpoint(made[place - 1].name, before), Endpoint(name, "eth0")))
    return Topology(tuple(made), tuple(links))


TWO_HOSTS = on_one_link(("client", Role.CLIENT), ("server", Role.SERVER))
"""The default: a client (10.0.0.1, fd00::1) and a server (10.0.0.2, fd00::2)."""
