"""A client, a proxy and a server: a third host needs no other types in any module of see."""

import json
import os
import re
import shutil
import subprocess
from dataclasses import replace

import pytest

from segments import tcp
from stretta.see.events import Arrival, Call, Direction, Endpoint, Flow, Frame
from stretta.see.explain import explained
from stretta.see.hosts import Host, Interface, Role
from stretta.see.json_document import from_json, to_document
from stretta.see.packets import ACK, FIN, SYN, Packet, decode
from stretta.see.pcapng import to_pcapng
from stretta.see.render.mermaid import to_mermaid
from stretta.see.render.terminal import draw
from stretta.see.timeline import build

MS = 1_000_000
HOSTS = (
    Host("client", Role.CLIENT, (Interface("eth0", ("10.0.0.1",)),)),
    Host("proxy", Role.PROXY,
         (Interface("eth0", ("10.0.0.2",)), Interface("eth1", ("10.0.1.1",)))),
    Host("server", Role.SERVER, (Interface("eth0", ("10.0.1.2",)),)),
)  # fmt: skip
NEAR = Flow("tcp", Endpoint("client", "10.0.0.1", 40000), Endpoint("proxy", "10.0.0.2", 3128))
FAR = Flow("tcp", Endpoint("proxy", "10.0.1.1", 50000), Endpoint("server", "10.0.1.2", 80))


def sent(flow, at, seq=0, ack=0, flags=ACK, *, back=False, data=b"", lost=False):
    here, there = flow.initiator, flow.responder
    if back:
        here, there = there, here
    packet = Packet(
        "tcp", 54 + len(data), here.address, there.address, here.port, there.port, data, len(data),
        flags=flags, seq=seq, ack=ack, window=65535,
    )  # fmt: skip
    arrivals = () if lost else (Arrival((at + 4) * MS),)
    return Frame(at, at * MS, here.host, packet=packet, arrivals=arrivals)


def did(flow, host, at, took, name, direction=Direction.NONE, size=0):
    return Call(
        -1, at * MS, host, end=(at + took) * MS, name=name, flow=flow, protocol="tcp",
        direction=direction, transferred=size, result=size, requested=size or None, process=1,
        duration=took * MS, display=f"{name}(3)",
    )  # fmt: skip


def conversation(flow, at, data=b"GET / HTTP/1.1\r\n\r\n"):
    """Return a handshake, a request of the initiator, and its FIN."""
    one, two = flow.initiator.host, flow.responder.host
    end = len(data) + 1
    return [
        did(flow, one, at, 10, "connect"),
        sent(flow, at + 1, 0, 0, SYN),
        sent(flow, at + 6, 0, 1, SYN | ACK, back=True),
        sent(flow, at + 11, 1, 1),
        did(flow, one, at + 12, 1, "send", Direction.OUT, len(data)),
        sent(flow, at + 13, 1, 1, data=data),
        did(flow, two, at + 9, 9, "recv", Direction.IN, len(data)),
        did(flow, one, at + 19, 1, "close"),
        sent(flow, at + 20, end, 1, FIN | ACK),
    ]


EVENTS = [*conversation(NEAR, 0), *conversation(FAR, 30)]


@pytest.fixture
def timeline():
    return explained(build(EVENTS, HOSTS))


def test_each_conversation_has_its_ends_and_its_explanations(timeline):
    assert list(timeline.tcp) == [NEAR, FAR]
    assert {(f.host, f.to) for f in timeline.events if isinstance(f, Frame)} == {
        ("client", "proxy"), ("proxy", "client"), ("proxy", "server"), ("server", "proxy"),
    }  # fmt: skip
    texts = [note.text for note in timeline.notes]
    assert any(text.startswith("recv() of the proxy") for text in texts), texts
    assert any(text.startswith("recv() of the server") for text in texts), texts
    kinds = {link.kind for link in timeline.links}
    assert kinds >= {"sent", "carried", "delivered", "answered", "returned"}
    assert not timeline.tcp[FAR].initiator.resets


def test_the_initiator_is_found_by_the_first_syn_not_by_a_name():
    swapped = [
        did(FAR, "server", 0, 3, "accept"),
        *(sent(NEAR, at, 0, int(flags != SYN), flags, back=back)
          for at, flags, back in ((1, SYN, True), (6, SYN | ACK, False))),
    ]  # fmt: skip
    (flow,) = (f for f in build(swapped, HOSTS).tcp if f.responder.host == "client")
    assert flow == Flow("tcp", NEAR.responder, NEAR.initiator)


@pytest.mark.parametrize("width", [80, 100, 140, 200])
def test_the_terminal_has_a_lane_for_each_host(timeline, width):
    text = draw(timeline, width=width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    for host in ("client", "proxy", "server"):
        assert host in lines[0]
    assert lines[0].count("wire") == 2
    borders = [n for n, sign in enumerate(lines[1]) if sign == "│"]
    assert len(borders) >= 3
    rows = "\n".join(lines)
    assert re.search(r"A (SYN|…)", rows)
    assert re.search(r"B (SYN|…)", rows)
    assert f"A: {NEAR}" in rows
    assert "ESTABLI" in rows


def test_a_lost_frame_and_one_to_a_host_two_lanes_away_are_drawn():
    direct = Flow("tcp", NEAR.initiator, FAR.responder)
    events = [sent(direct, 1, 0, 0, SYN, lost=True), sent(direct, 1002, 0, 0, SYN)]
    text = draw(build(events, HOSTS), width=140)
    assert re.search(r"─SYN─× lost", text)
    assert re.search(r"│─SYN again─+│─+╲ +│ +│\n.*│ +│ +─+│─+▶│", text)


def test_mermaid_has_a_pair_of_participants_for_each_host(timeline):
    text = to_mermaid(timeline)
    named = re.findall(r"participant (\w+) as (\w+ \w+)", text)
    assert named == [
        ("cp", "client program"), ("ck", "client kernel"), ("pk", "proxy kernel"),
        ("pp", "proxy program"), ("sk", "server kernel"), ("sp", "server program"),
    ]  # fmt: skip
    assert "ck->>pk: A SYN" in text
    assert "pk->>sk: B SYN" in text
    assert "sk->>pk: B SYN ACK" in text
    assert "pp->>pk: send(3)" in text


def test_hosts_whose_names_begin_alike_have_names_of_their_own():
    hosts = (HOSTS[0], Host("cache", Role.PROXY, HOSTS[1].interfaces), HOSTS[2])
    near = Flow("tcp", NEAR.initiator, Endpoint("cache", "10.0.0.2", 3128))
    text = to_mermaid(build(conversation(near, 0), hosts))
    assert "participant h0p as client program" in text
    assert "h0k->>h1k: SYN" in text


def test_the_document_has_the_hosts_and_comes_back_as_it_was(timeline):
    document = to_document(timeline)
    assert [host["name"] for host in document["hosts"]] == ["client", "proxy", "server"]
    assert document["hosts"][1]["role"] == "proxy"
    again = from_json(json.dumps(document))
    assert (again.events, again.links, again.notes) == (
        timeline.events, timeline.links, timeline.notes,
    )  # fmt: skip
    assert again.hosts == HOSTS


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_wireshark_sees_the_interfaces_of_all_hosts(tmp_path):
    frames = [
        Frame(
            n, n * MS, flow.initiator.host, arrivals=(Arrival(n * MS + 5),),
            packet=replace(
                decode(tcp(seq=1, flags=SYN)),
                source=flow.initiator.address, target=flow.responder.address,
            ),
        )
        for n, flow in enumerate((NEAR, FAR))
    ]  # fmt: skip
    timeline = build(frames, HOSTS)
    bodies = {number: tcp(seq=1, flags=SYN) for number in timeline.frame_ids.values()}
    file = tmp_path / "three.pcapng"
    file.write_bytes(to_pcapng(timeline, bodies))
    done = subprocess.run(
        ["tshark", "-r", file, "-T", "fields", "-e", "frame.interface_name"],
        capture_output=True, text=True, check=True, env={**os.environ, "HOME": str(tmp_path)},
    )  # fmt: skip
    assert set(done.stdout.split()) == {
        "client", "proxy.eth0", "proxy.eth1", "server",
    }  # fmt: skip
