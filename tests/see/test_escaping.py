"""What a peer, a program or a file puts into a timeline cannot act on a terminal or a page."""

import json
import re
import struct

import pytest

from conversation import HANDSHAKE, HOSTS, build, call, segment
from recordings import document
from stretta.errors import UsageError
from stretta.see.events import Direction, Frame, Process
from stretta.see.explain import explained
from stretta.see.json_document import from_document, to_json
from stretta.see.packets import ACK, Packet
from stretta.see.pcapng import to_pcapng
from stretta.see.render.mermaid import to_mermaid
from stretta.see.render.terminal import draw
from stretta.see.strace_events import read_strace

EVIL = "a\x1b[2J\x9b31m\r\n\t\x07\x7f\u202eb\u2066\u200f\u2028\x00;#<c>"
UNSAFE = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
NAMES = ["handshake", "lost-syn-ack", "udp-refused", "udp-fragment-lost", "http", "linger", "gone"]


def pictures(timeline):
    return [
        draw(timeline, width=width, everything=everything, fold=not everything)
        for width in (60, 80, 200) for everything in (False, True)
    ] + [to_mermaid(timeline, everything=True)]  # fmt: skip


def assert_safe(timeline):
    for text in pictures(timeline):
        assert not UNSAFE.search(text), UNSAFE.search(text)
    for line in to_mermaid(timeline, everything=True).splitlines()[1:]:
        assert re.fullmatch(r"    (participant|Note over|\w+(->>|-->>|-x)\w+).*", line), line
        assert not re.search(r";|#|<|>", re.sub(r"#\w+;|->>|-->>", "", line)), line


def strings(value, path=()):
    """Return the paths of all strings of a document, and of the fields that it could have."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from strings(each, (*path, key))
    elif isinstance(value, list):
        for key, each in enumerate(value):
            yield from strings(each, (*path, key))
    elif isinstance(value, str):
        yield path


@pytest.mark.parametrize("name", NAMES)
def test_every_string_of_a_document(name):
    accepted = 0
    for path in strings(document(name)):
        made = document(name)
        inside = made
        for key in path[:-1]:
            inside = inside[key]
        inside[path[-1]] = EVIL
        try:
            timeline = from_document(made)
        except UsageError:
            continue  # an enumeration, base64 or the name of a host
        accepted += 1
        assert_safe(timeline)
        json.loads(to_json(timeline))
    assert accepted > 50


def test_the_names_of_hosts():
    made = json.dumps(document("lost-syn-ack")).replace('"client"', json.dumps(EVIL))
    document_ = json.loads(made)
    document_["hosts"][0]["role"] = "client"
    timeline = from_document(document_)
    assert timeline.hosts[0].name == EVIL
    assert_safe(timeline)


def test_every_text_of_every_event():
    data = EVIL.encode() * 9
    events = [
        *HANDSHAKE,
        call(70, 5_000_000, EVIL, Direction.OUT, 99, data=data, display=EVIL, error=EVIL, result=-1,
             program=EVIL, option=EVIL, flags=EVIL, requested=len(data)),
        call(80, 90, "send", Direction.OUT, 20, data=data, display=EVIL * 9, requested=len(data)),
        segment(100, [110], 1, 20, ack=1, payload=b"GET /" + data + b" HTTP/1.1\r\n\r\n"),
        segment(120, [130], 1, 20, back=True, ack=21, payload=b"HTTP/1.1 200 " + EVIL.encode()),
        Process(-1, 6_000_000, "client", process=1, program=EVIL, status=3),
    ]  # fmt: skip
    timeline = explained(build(events))
    assert_safe(timeline)
    ports = {"source_port": 40000, "target_port": 12000, "flags": ACK, "seq": 9, "window": 9}
    for protocol in ("tcp", "udp", "icmp", "arp", EVIL):
        packet = Packet(protocol, 60, "10.0.0.1", EVIL, words=EVIL, **ports)
        assert_safe(explained(build([Frame(-1, 1, "client", packet=packet)])))


def test_the_name_and_the_bytes_of_a_program_that_was_traced():
    text = (
        '7 1.000000000 execve("/tmp/\\33[2J\\n\\342\\200\\256", [], 0) = 0 <0.000100000>\n'
        '7 1.100000000 sendto(3<TCP:[10.0.0.1:40000->10.0.0.2:12000]>, "\\33[2J\\r\\n", 6, 0, NULL,'
        " 0) = 6 <0.000040000>\n"
        "7 1.200000000 ioctl(3<TCP:[10.0.0.1:40000->10.0.0.2:12000]>, \x1b[31m, 0) = 0 <0.0001>\n"
        "7 3.000000000 +++ exited with 5 +++\n"
    )
    seen = read_strace(text, HOSTS[0], HOSTS)
    assert seen.processes[0].program == "\x1b[2J\n\u202e"
    timeline = build([*seen.calls, *seen.processes])
    assert "\\x1b[2J" in draw(timeline, width=140)
    assert_safe(timeline)


def test_comments_of_pcapng_are_utf_8_and_fit():
    for display in (EVIL, "\udc80" * 9, "é" * 70_000):
        events = [call(0, 99, "send", Direction.OUT, 20, display=display),
                  segment(50, [60], 1, 20, ack=1)]  # fmt: skip
        timeline = build([*HANDSHAKE, *events])
        file = to_pcapng(timeline, dict.fromkeys(timeline.frame_ids.values(), b"x" * 60))
        assert len(file) % 4 == 0
        at, comments = 0, []
        while at < len(file):
            kind, size = struct.unpack_from("<II", file, at)
            assert struct.unpack_from("<I", file, at + size - 4)[0] == size
            if kind == 6:
                option, length = struct.unpack_from("<HH", file, at + 28 + 60)
                assert option == 1
                comments.append(file[at + 92 + 0 : at + 92 + length].decode())
            at += size
        assert comments
