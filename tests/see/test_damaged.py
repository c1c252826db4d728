"""A damaged document or strace line is refused with its place, never with a traceback."""

import copy
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conversation import HOSTS
from recordings import RECORDINGS, document
from stretta.errors import UsageError
from stretta.see.json_document import VERSION, from_document, from_json, to_json
from stretta.see.pcapng import to_pcapng
from stretta.see.render.mermaid import to_mermaid
from stretta.see.render.terminal import draw
from stretta.see.strace_events import read_strace

NAMES = [path.stem for path in RECORDINGS]
WRONG = [
    None, True, False, 0, -1, 1, 7, 2**31, 2**63, -(2**63), 10**400, 0.5, 1e300, "", "x", "\x1b[2J",
    "\ud800", "client", "tcp", "syn", [], [1], [[]], {}, {"a": 1}, ["a", "b", "c"],
]  # fmt: skip


def places(value, path=()):
    """Return the paths of all values in a document."""
    yield path
    if isinstance(value, dict):
        for key, each in value.items():
            yield from places(each, (*path, key))
    elif isinstance(value, list):
        for key, each in enumerate(value):
            yield from places(each, (*path, key))


def holder(value, path):
    for key in path[:-1]:
        value = value[key]
    return value


def damage(value, chance):
    """Change a document at a random place, in one of several ways; an empty one stays empty."""
    paths = [p for p in places(value) if p]
    if not paths:
        return value
    path = chance.choice(paths)
    inside, key = holder(value, path), path[-1]
    way = chance.randrange(6)
    if way == 0:
        del inside[key]
    elif way == 1:
        inside[key] = copy.deepcopy(chance.choice(WRONG))
    elif way == 2 and isinstance(inside, dict):
        inside[chance.choice(["id", "kind", "at", "flow", "what", "end"])] = inside[key]
    elif way == 3 and isinstance(inside, list):
        inside.insert(key, copy.deepcopy(inside[chance.randrange(len(inside))]))
    elif way == 4 and isinstance(inside[key], int):
        inside[key] += chance.choice([1, -1, 2**16, 2**32, -(2**40)])
    else:
        inside[key] = [inside[key]] * chance.randrange(3)
    return value


def use(made):
    """Load a document and draw it in every way; None when it is refused."""
    try:
        timeline = from_document(made)
    except UsageError:
        return None
    for text in (draw(timeline, width=80), draw(timeline, width=140), to_mermaid(timeline)):
        text.encode()
    to_pcapng(timeline, {e.id: b"" for e in timeline.events if hasattr(e, "packet")})
    written = json.loads(to_json(timeline))
    assert json.loads(to_json(from_document(written))) == written
    return timeline


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_recording_is_refused_or_drawn(name):
    whole = document(name)
    chance = random.Random(name)
    for _ in range(40):
        made = copy.deepcopy(whole)
        for _ in range(chance.choice([1, 1, 2, 4])):
            made = damage(made, chance)
        use(made)


@given(st.sampled_from(NAMES), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_damage_of_any_kind_is_refused_or_drawn(name, chance):
    made = document(name)
    for _ in range(chance.randrange(1, 6)):
        made = damage(made, chance)
    use(made)


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("events", 9, "packet", "seq"), "five", "events[9].packet.seq is not an integer"),
        (("events", 9, "packet", "seq"), True, "events[9].packet.seq is not an integer"),
        (("events", 9, "packet", "seq"), 1.5, "events[9].packet.seq is not an integer"),
        (("events", 9, "packet", "scale"), 256, "events[9].packet.scale is not from 0 to 255"),
        (("events", 9, "at"), 10**30, "events[9].at is not from"),
        (("events", 9, "packet", "payload"), "%%", "events[9].packet.payload is not base64"),
        (("events", 9, "packet", "sacks"), [[1]], "events[9].packet.sacks[0] is not a list of 2"),
        (("events", 9, "packet", "colour"), 1, "events[9].packet has no field 'colour'"),
        (("events", 9, "host"), "nobody", "events[9].host is not one of the hosts"),
        (("events", 9, "to"), "nobody", "events[9].to is not one of the hosts"),
        (("events", 9, "id"), 0, "events[9].id is the id of an event before it"),
        (("events", 9, "kind"), "song", "events[9].kind is not one of call, frame"),
        (("events", 9, "kind"), [], "events[9].kind is not one of call, frame"),
        (("events", 9, "arrivals"), 7, "events[9].arrivals is not a list"),
        (
            ("events", 9, "flow", "initiator", "port"),
            70000,
            "port is not from 0 to 65535",
        ),
        (("events", 9, "flow", "initiator", "host"), "x", "names a host that is not one of"),
        (("events", 1, "direction"), "up", "events[1].direction is not one of '', 'out', 'in'"),
        (("events", 1, "display"), "\ud800", "events[1].display holds half a surrogate pair"),
        (("events", 1, "shared"), 1, "events[1].shared is not true or false"),
        (("events", 1, "local"), ["a"], "events[1].local is not a list of 2"),
        (("events",), {}, "events is not a list"),
        (("hosts",), [], "hosts has 0 hosts"),
        (("hosts", 1, "name"), "client", "hosts[1].name is not unique"),
        (("hosts", 1, "role"), "king", "hosts[1].role is not one of 'client'"),
        (("about",), 7, "about is not an object"),
        (("start",), "now", "start is not an integer"),
    ],
)
def test_the_place_of_the_damage_is_named(path, value, says):
    made = document("handshake")
    holder(made, path)[path[-1]] = value
    with pytest.raises(UsageError) as caught:
        from_document(made)
    assert says in str(caught.value)


def test_a_fault_must_be_of_a_frame():
    made = document("udp-lost")
    place = next(n for n, e in enumerate(made["events"]) if e["kind"] == "fault")
    made["events"][place]["frame"] = 0
    with pytest.raises(UsageError, match=rf"events\[{place}\].frame is not the id of a frame"):
        from_document(made)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b'{"version": 2, "events": ' + b'[{"a":' * 50_000, "nested too deeply"),
        (b"\xff\xfe", "not JSON"),
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b'{"version": NaN, "events": []}', "NaN is not a JSON number"),
        (b'{"version": Infinity}', "Infinity is not a JSON number"),
        (b'{"version": ' + b"9" * 5000 + b"}", "not JSON"),
        (b'{"version": 1, "events": []}', "its version is 1, and this program reads 2"),
        (b'{"version": true, "events": []}', "its version is True"),
        (b"7", "not a recorded timeline"),
    ],
)  # fmt: skip
def test_a_text_that_is_no_document(text, says):
    with pytest.raises(UsageError) as caught:
        from_json(text, "the file")
    assert says.lower() in str(caught.value).lower()


def test_packets_are_nested_as_deep_as_packets_are_and_no_deeper():
    packet = {"protocol": "icmp", "size": 1}
    for _ in range(300):
        packet = {"protocol": "icmp", "size": 1, "inner": packet}
    made = {
        "version": VERSION, "hosts": document("udp")["hosts"],
        "events": [{"id": 0, "kind": "frame", "at": 1, "host": "client", "packet": packet}],
    }  # fmt: skip
    with pytest.raises(UsageError, match="nested too deeply"):
        from_document(made)


LINES = """\
7 1.000000000 execve("/usr/bin/python3", ["python3", "a.py"], 0x7ffe /* 9 vars */) = 0 <0.000100000>
7 1.100000000 socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_IP) = 3<TCP:[99]> <0.000010000>
7 1.200000000 connect(3<TCP:[99]>, {sa_family=AF_INET, sin_port=htons(12000), sin_addr=inet_addr("10.0.0.2")}, 16) = 0 <0.020000000>
7 1.300000000 sendto(3<TCP:[10.0.0.1:40000->10.0.0.2:12000]>, "ab\\303\\251", 4, 0, NULL, 0) = 4 <0.000040000>
7 1.400000000 poll([{fd=3<TCP:[10.0.0.1:40000->10.0.0.2:12000]>, events=POLLIN}], 1, -1) = 1 ([{fd=3, revents=POLLIN}]) <0.100000000>
7 1.500000000 recvmsg(3<TCP:[10.0.0.1:40000->10.0.0.2:12000]>, {msg_name=NULL, msg_iov=[{iov_base="x", iov_len=9}], msg_iovlen=1, msg_controllen=0, msg_flags=MSG_TRUNC}, 0) = 1 <0.000040000>
7 1.600000000 recvmmsg(5<UDP:[0.0.0.0:12000]>, [{msg_hdr={msg_name={sa_family=AF_INET, sin_port=htons(4), sin_addr=inet_addr("10.0.0.2")}, msg_iov=[{iov_base="ab", iov_len=9}]}, msg_len=2}], 64, 0, NULL) = 1 <0.000010000>
7 1.700000000 sendfile(3<TCP:[10.0.0.1:40000->10.0.0.2:12000]>, 6</srv/file>, [0] => [5], 100) = 5 <0.000010000>
7 1.750000000 splice(6<pipe:[1]>, NULL, 3<TCP:[10.0.0.1:40000->10.0.0.2:12000]>, NULL, 5, 0) = 5 <0.000010000>
7 1.800000000 epoll_ctl(9<anon_inode:[eventpoll]>, EPOLL_CTL_ADD, 3<TCP:[10.0.0.1:40000->10.0.0.2:12000]>, {events=EPOLLIN, data={u32=77, u64=77}}) = 0 <0.000010000>
7 1.900000000 epoll_wait(9<anon_inode:[eventpoll]>, [{events=EPOLLIN, data={u32=77, u64=77}}], 64, -1) = 1 <0.500000000>
7 2.000000000 clone3({flags=CLONE_VM|CLONE_FILES|CLONE_THREAD}, 88) = 8 <0.000010000>
7 2.100000000 fcntl(3<TCP:[10.0.0.1:40000->10.0.0.2:12000]>, F_DUPFD, 10) = 10<TCP:[10.0.0.1:40000->10.0.0.2:12000]> <0.000010000>
7 2.200000000 accept4(4<TCP:[0.0.0.0:12001]>,  <unfinished ...>
8 2.300000000 close_range(3, 4294967295, 0) = 0 <0.000010000>
7 2.400000000 <... accept4 resumed>{sa_family=AF_INET, sin_port=htons(5), sin_addr=inet_addr("10.0.0.2")}, [16], 0) = 11<TCP:[10.0.0.1:12001->10.0.0.2:5]> <0.1>
7 2.500000000 setsockopt(3<TCP:[10.0.0.1:40000->10.0.0.2:12000]>, SOL_TCP, TCP_NODELAY, [1], 4) = 0 <0.000010000>
7 2.600000000 shutdown(3<TCP:[10.0.0.1:40000->10.0.0.2:12000]>, SHUT_WR) = -1 ENOTCONN (Transport endpoint) <0.000010000>
7 2.700000000 bind(5<UDP:[12]>, {sa_family=AF_INET, sin_port=htons(0), sin_addr=inet_addr("0.0.0.0")}, 16) = 0 <0.000010000>
7 2.800000000 listen(4<TCP:[0.0.0.0:12001]>, 5) = 0 <0.000010000>
7 2.900000000 close(3<TCP:[10.0.0.1:40000->10.0.0.2:12000]>) = 0 <0.000010000>
7 3.000000000 +++ killed by SIGTERM +++
8 3.100000000 +++ exited with 5 +++
"""
SCRAPS = [
    "(", ")", "<", ">", '"', "\\", "{", "}", "[", "]", ",", "=", "?", "-1", "99999999999999999999",
    "0x", "\0", "\x1b", "\n", "é", "\udcff", "<unfinished ...>", "resumed>", "htons(99999)", "fd=",
    "u64=", "msg_len=", "\\x", "\\9", "NULL", " = ", "²", "٣", "TCP:[", "iov_len=",
]  # fmt: skip


@given(st.randoms(use_true_random=False), st.integers(1, 12))
@settings(max_examples=300, deadline=None)
def test_damaged_lines_of_strace_are_refused_or_left_out(chance, times):
    text = LINES
    for _ in range(times):
        at = chance.randrange(len(text))
        size = chance.choice([0, 1, 1, 3, 20, 200])
        text = text[:at] + chance.choice([*SCRAPS, ""]) + text[at + size :]
    try:
        read_strace(text, HOSTS[0], HOSTS)
    except UsageError as error:
        assert "line" in str(error)


@given(st.text(max_size=200))
@settings(deadline=None)
def test_a_text_that_is_no_output_of_strace_has_no_calls(text):
    assert not read_strace(text, HOSTS[0], HOSTS).calls


def test_whole_lines_are_read():
    seen = read_strace(LINES, HOSTS[0], HOSTS)
    assert len(seen.calls) == 16
    assert [p.status for p in seen.processes] == [None, -15]
