"""Labs with more than two hosts: real namespaces, real programs, real frames."""

import shutil
import sys

import pytest

from stretta.lab.controller import run_lab
from stretta.lab.recording import record_hosts
from stretta.lab.topology import in_a_row, on_one_link
from stretta.lab.wire_log import read_wire_log
from stretta.options import LabOptions, WireOptions
from stretta.see.hosts import Role
from stretta.see.render.terminal import draw

SERVER = """
import socket
listener = socket.create_server(("", 12000))
while True:
    connection, peer = listener.accept()
    with connection:
        connection.sendall(connection.recv(99).upper() + b" " + peer[0].encode())
"""
BOTH_FAMILIES = '("", 12000), family=socket.AF_INET6, dualstack_ipv6=True'
CLIENT = """
import socket, sys
with socket.create_connection((sys.argv[1], 12000)) as connection:
    connection.sendall(sys.argv[2].encode())
    print(connection.recv(99).decode())
"""
PROXY = """
import socket
listener = socket.create_server(("", 12000))
while True:
    connection, _ = listener.accept()
    with connection, socket.create_connection(("server", 12000)) as onward:
        onward.sendall(connection.recv(99))
        connection.sendall(onward.recv(99))
"""


needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


def python(text, *arguments):
    return [sys.executable, "-c", text, *arguments]


def printed(seen):
    """Return what each host's program printed."""
    hosts = dict.fromkeys(output.host for output in seen.output)
    return {
        host: b"".join(o.data for o in seen.output if o.host == host).decode().strip()
        for host in hosts
    }


@needs_strace
def test_two_clients_and_a_server_on_one_link(lab):
    topology = on_one_link(("one", Role.CLIENT), ("two", Role.CLIENT), ("server", Role.SERVER))
    commands = {
        "one": python(CLIENT, "server", "ciao"),
        "two": python(CLIENT, "fd00::3", "hello"),
        "server": python(SERVER.replace('("", 12000)', BOTH_FAMILIES)),
    }
    recording = record_hosts(commands, topology, wire=WireOptions(drop=("two>server data:1",)))
    seen = recording.capture
    assert printed(seen) == {"one": "CIAO ::ffff:10.0.0.1", "two": "HELLO fd00::2"}
    assert seen.lost == 0
    log = read_wire_log(seen.wire, seen.start, topology)
    assert {frame.host for frame in log.frames} == {"one", "two", "server"}
    (fault,) = log.faults
    (lost,) = [frame for frame in log.frames if frame.id == fault.frame]
    assert (fault.effect, lost.host) == ("lost", "two")
    flows = {(f.initiator.host, f.responder.host) for f in recording.timeline.tcp}
    assert flows == {("one", "server"), ("two", "server")}
    picture = draw(recording.timeline, width=140)
    assert all(host in picture for host in ("one", "two", "server"))
    # a switch: nothing that one client sends reaches the other
    assert all(len(frame.arrivals) <= 1 for frame in log.frames if frame.packet.protocol == "tcp")


@needs_strace
def test_a_proxy_between_a_client_and_a_server(lab):
    topology = in_a_row(("client", Role.CLIENT), ("proxy", Role.PROXY), ("server", Role.SERVER))
    commands = {
        "client": python(CLIENT, "proxy", "ciao"),
        "proxy": python(PROXY),
        "server": python(SERVER),
    }
    recording = record_hosts(commands, topology)
    seen = recording.capture
    flows = {(f.initiator.host, f.responder.host) for f in recording.timeline.tcp}
    assert flows == {("client", "proxy"), ("proxy", "server")}
    assert recording.timeline.notes
    assert printed(seen) == {"client": "CIAO 10.0.1.1"}  # the server sees the proxy
    assert {host: status for host, (_, status) in seen.ended.items()}["client"] == 0
    log = read_wire_log(seen.wire, seen.start, topology)
    ends = {
        (frame.host, frame.packet.source, frame.packet.target)
        for frame in log.frames
        if frame.packet.protocol == "tcp"
    }
    assert ends == {
        ("client", "10.0.0.1", "10.0.0.2"),
        ("proxy", "10.0.0.2", "10.0.0.1"),
        ("proxy", "10.0.1.1", "10.0.1.2"),
        ("server", "10.0.1.2", "10.0.1.1"),
    }


def test_the_lab_waits_for_all_clients_and_a_host_may_have_no_program(lab):
    topology = on_one_link(("one", Role.CLIENT), ("two", Role.CLIENT), ("idle", Role.ROUTER))
    seen = run_lab(
        {"one": "exit 0", "two": "read line; exit 4"}, topology, calls=False,
        lab=LabOptions(settle=0),
    )  # fmt: skip
    assert {host: status for host, (_, status) in seen.ended.items()} == {"one": 0, "two": 4}
