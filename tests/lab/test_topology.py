import pytest

from stretta.lab.topology import TWO_HOSTS, Endpoint, Topology, in_a_row, on_one_link
from stretta.see.hosts import Host, Interface, Role

CLIENT, SERVER, PROXY = Role.CLIENT, Role.SERVER, Role.PROXY


def test_the_default_is_a_client_and_a_server():
    assert [(host.name, host.addresses) for host in TWO_HOSTS.hosts] == [
        ("client", ("10.0.0.1", "fd00::1")),
        ("server", ("10.0.0.2", "fd00::2")),
    ]
    assert TWO_HOSTS.directions == (("client", "server"), ("server", "client"))
    assert [host.name for host in TWO_HOSTS.start_order] == ["server", "client"]


def test_hosts_on_one_link_reach_each_other():
    topology = on_one_link(("one", CLIENT), ("two", CLIENT), ("there", SERVER))
    assert topology.paths == ((0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1))
    assert topology.directions[1] == ("one", "there")
    assert [host.name for host in topology.start_order] == ["there", "one", "two"]


def test_hosts_in_a_row_reach_their_neighbours_only():
    topology = in_a_row(("client", CLIENT), ("proxy", PROXY), ("server", SERVER))
    assert topology.host("proxy").addresses == ("10.0.0.2", "fd00::2", "10.0.1.1", "fd00:1::1")
    assert topology.host("server").addresses == ("10.0.1.2", "fd00:1::2")
    assert topology.directions == (
        ("client", "proxy"), ("proxy", "client"), ("proxy", "server"), ("server", "proxy"),
    )  # fmt: skip
    assert [host.name for host in topology.start_order] == ["server", "proxy", "client"]
    hardware = [topology.interface(end).hardware for end in topology.endpoints]
    assert len(set(hardware)) == len(hardware) == 4


@pytest.mark.parametrize(
    ("hosts", "links", "says"),
    [
        (["a", "a"], [], "same name"),
        (["a", "b"], [[("a", "eth0"), ("c", "eth0")]], "does not exist"),
        (["a", "b"], [[("a", "eth0"), ("b", "eth1")]], "does not exist"),
        (["a", "b"], [[("a", "eth0"), ("a", "eth0")]], "used twice"),
        (["a", "b"], [[("a", "eth0")]], "two endpoints"),
    ],
)
def test_a_topology_that_makes_no_sense_is_refused(hosts, links, says):
    made = tuple(Host(name, CLIENT, (Interface("eth0", ()),)) for name in hosts)
    ends = tuple(tuple(Endpoint(*end) for end in link) for link in links)
    with pytest.raises(ValueError, match=says):
        Topology(made, ends)
