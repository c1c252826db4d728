import json
import os
import re
import shutil
import subprocess
from dataclasses import replace

import pytest

from conversation import FLOW, HANDSHAKE, build, call, segment
from recordings import PICTURES, RECORDINGS, load, picture
from segments import tcp
from stretta.errors import UsageError
from stretta.see.events import Arrival, Frame
from stretta.see.json_document import VERSION, from_document, to_document
from stretta.see.packets import ACK, SYN, decode
from stretta.see.pcapng import to_pcapng
from stretta.see.render.mermaid import to_mermaid
from stretta.see.render.terminal import draw


@pytest.mark.parametrize("width", [60, 80, 140])
def test_every_recording_is_drawn_within_its_columns(width):
    for path in RECORDINGS:
        text = draw(load(path.stem), width=width)
        assert max(map(len, text.splitlines())) <= width, path.name
        assert "\x1b" not in text


def test_the_handshake_reads_as_what_it_is():
    lines = draw(load("handshake"), width=80).splitlines()

    def row(pattern):
        return next(n for n, line in enumerate(lines) if re.search(pattern, line))

    assert row(r"┌ connect\(\).*SYN_SENT│─SYN─") < row(r"╱──SYN ACK─│SYN_RECEIVED")
    assert row(r"SYN ACK─│") < row(r"└ connect = 0.*│◀─") < row(r"└ accept = ")
    assert row(r"TIME_WAIT") > row(r"FIN ACK")
    # while connect() waits, its bar goes on
    for line in lines[row("┌ connect") + 1 : row("└ connect")]:
        assert line[9] == "│"


def test_a_loss_is_a_cross_and_a_repetition_says_so():
    text = draw(load("lost-syn-ack"), width=80)
    assert re.search(r"lost ×─SYN ACK─│", text)
    assert "SYN ACK again" in text
    assert re.search(r"⋮ *\d", text)  # the long wait is not drawn row by row
    assert "lost" in draw(load("udp-lost"), width=80)


def test_explanations_are_at_the_margin_of_a_wide_picture_and_below_a_narrow_one():
    wide, narrow = draw(load("handshake"), width=140), draw(load("handshake"), width=80)
    assert re.search(r"┌ connect.*\[\d\] ", wide) or "[2]" in wide
    assert narrow.rstrip().splitlines()[-1].startswith("    ")
    assert re.search(r"connect\(\) +SYN_SENT.*\[\d\]$", narrow, re.MULTILINE)


def test_colour_changes_nothing_but_colour():
    timeline = load("lost-syn-ack")
    coloured = draw(timeline, width=80, colour=True)
    assert "\x1b[31m" in coloured
    assert re.sub(r"\x1b\[\d*m", "", coloured) == draw(timeline, width=80)


def test_ascii_has_the_same_shape():
    timeline = load("handshake")
    plain = draw(timeline, width=80, ascii_only=True)
    drawn = plain.split("\n\n")[0]
    assert drawn.isascii()
    assert len(plain.splitlines()) == len(draw(timeline, width=80).splitlines())


def test_ten_thousand_events_are_folded_except_losses_and_retransmissions():
    frames = [
        segment(1000 + n * 10, [1005 + n * 10], 1 + n * 100, 100, ack=1) for n in range(10_000)
    ]
    frames[5000] = replace(frames[5000], arrivals=())
    frames.append(segment(200_000, [200_005], 1 + 5000 * 100, 100, ack=1))
    timeline = build([*HANDSHAKE, call(900, 950, "send", "out", 1_000_000), *frames])
    text = draw(timeline, width=80)
    assert len(text.splitlines()) < 80
    assert re.search(r"… 4,\d{3} × data →", text)
    assert "× lost" in text
    assert "again" in text
    assert len(draw(timeline, width=80, fold=False).splitlines()) > 10_000


def test_calls_that_returned_are_drawn_so_without_a_single_segment():
    listening = call(1000, 2000, "listen", host="server")
    accepted = call(3000, 5_000_000, "accept", host="server", result=3)
    text = draw(build([listening, accepted]), width=80)
    assert "accept() = 3" in text


def second(flow, events):
    """Return events of another conversation."""
    ends = {FLOW.initiator.port: flow.initiator.port}
    changed = []
    for event in events:
        if isinstance(event, Frame):
            packet = event.packet
            packet = replace(
                packet,
                source_port=ends.get(packet.source_port, packet.source_port),
                target_port=ends.get(packet.target_port, packet.target_port),
            )
            changed.append(replace(event, packet=packet))
        else:
            changed.append(replace(event, flow=flow))
    return changed


def test_a_pause_divides_the_runs_of_several_conversations():
    other = replace(FLOW, initiator=replace(FLOW.initiator, port=40001))
    ms = 1_000_000
    trip = [
        call(0, 10, "send", "out", 2), segment(5, [20], 1, 2, ack=1),
        call(25, 30, "recv", "in", 2, host="server"),
        call(40, 45, "send", "out", 2, host="server"), segment(42, [60], 1, 2, back=True, ack=3),
        call(61, 70, "recv", "in", 2),
    ]  # fmt: skip

    def later(events, by):
        return [
            replace(e, at=e.at + by, arrivals=tuple(Arrival(a.at + by) for a in e.arrivals))
            if isinstance(e, Frame) else replace(e, at=e.at + by, end=e.end + by)
            for e in events
        ]  # fmt: skip

    one = [*HANDSHAKE, *later(trip, 300 * ms)]
    two = second(other, [*later(HANDSHAKE, 100 * ms), *later(trip, 200 * ms)])
    text = draw(build([*one, *two]), width=80)
    assert text.count("send()") == 4
    assert "…" not in text


@pytest.mark.parametrize("width", [80, 120])
def test_a_fold_is_never_cut_off(width):
    events = []
    for n in range(40):
        events.append(segment(1000 + n * 20, [1005 + n * 20], 1 + n * 1000, 1000, ack=1 + n * 10))
        back = segment(1010 + n * 20, [1015 + n * 20], 1 + n * 10, 10, ack=1001 + n, back=True)
        events += [back, segment(1016 + n * 20, [1017 + n * 20], 1001 + n * 1000, ack=11 + n * 10)]
        events.append(call(1018 + n * 20, 1019 + n * 20, "recv", "in", 10))
    (fold,) = [line for line in draw(build([*HANDSHAKE, *events]), width=width).splitlines()
               if "…" in line]  # fmt: skip
    assert re.search(r"… 3\d × data → \(.*\).* ms …", fold)


def test_a_damaged_document_says_which_event():
    document = to_document(load(RECORDINGS[0].stem))
    place = next(n for n, e in enumerate(document["events"]) if e["kind"] == "frame")
    del document["events"][place]["host"]
    with pytest.raises(UsageError, match=rf"events\[{place}\] has no host"):
        from_document(document)
    document["events"][place] = "frame"
    with pytest.raises(UsageError, match=rf"events\[{place}\] is not an object"):
        from_document(document)


def test_bytes_of_a_peer_cannot_move_the_cursor():
    frame = segment(1000, [1005], 1, 30, ack=1, payload=b"GET /\x1b[2J HTTP/1.1\r\n\r\n")
    timeline = build([*HANDSHAKE, frame])
    assert "\x1b" not in draw(timeline, width=140)
    assert "\x1b" not in to_mermaid(timeline)


def test_documents_come_back_as_they_were():
    for path in RECORDINGS:
        timeline = load(path.stem)
        again = from_document(json.loads(json.dumps(to_document(timeline))))
        assert again.events == timeline.events, path.name
        assert again.links == timeline.links
        assert again.notes == timeline.notes


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ([], "not a recorded timeline"),
        ({"version": VERSION + 1, "events": []}, "cannot read this timeline"),
        ({"version": VERSION, "events": [{"kind": "nothing"}]}, "damaged"),
        ({"version": VERSION, "events": [{"kind": "call"}]}, "damaged"),
        ({"version": VERSION, "events": 7}, "damaged"),
    ],
)
def test_other_values_than_documents_are_refused(document, says):
    with pytest.raises(UsageError, match=says):
        from_document(document)


def test_mermaid_has_every_segment_and_no_sign_that_would_end_a_line():
    text = to_mermaid(load("lost-syn-ack"))
    assert text.startswith("sequenceDiagram\n")
    assert "sk-xck: SYN ACK (lost)" in text
    assert "cp->>ck: connect(" in text
    for line in text.splitlines()[1:]:
        assert re.fullmatch(r"    (participant|Note over|\w\w-(->>|>>|x)\w\w).*", line), line
        assert ";" not in re.sub(r"#\w+;", "", line)


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_wireshark_reads_the_frames_and_agrees_on_retransmissions(tmp_path):
    def sent(at, arrivals, *args, back=False, **kw):
        body = tcp(*args, back=back, **kw)
        host = "server" if back else "client"
        arrived = tuple(Arrival(a) for a in arrivals)
        return body, Frame(at, at, host, packet=decode(body), arrivals=arrived)

    ms = 1_000_000
    pairs = [
        sent(1 * ms, [2 * ms], 100, 0, SYN),
        sent(3 * ms, [4 * ms], 500, 101, SYN | ACK, back=True),
        sent(5 * ms, [6 * ms], 101, 501),
        sent(7 * ms, [], 101, 501, data=b"lost"),
        sent(300 * ms, [301 * ms], 101, 501, data=b"lost"),
        sent(302 * ms, [303 * ms], 501, 105, back=True),
    ]
    timeline = build([call(6 * ms, 8 * ms, "send", "out", 4), *(f for _, f in pairs)], start=10**18)
    bodies = {timeline.frame_ids[frame.id]: body for body, frame in pairs}
    file = tmp_path / "lab.pcapng"
    file.write_bytes(to_pcapng(timeline, bodies))

    def tshark(*words):
        done = subprocess.run(
            ["tshark", "-r", file, "-T", "fields", *words],
            capture_output=True, text=True, check=True,
            env={**os.environ, "HOME": str(tmp_path)},
        )  # fmt: skip
        return done.stdout.splitlines()

    assert tshark("-Y", "_ws.malformed", "-e", "frame.number") == []
    assert tshark("-e", "frame.interface_name").count("client") == 6
    assert tshark("-e", "frame.interface_name").count("server") == 5  # one was lost
    comments = tshark("-Y", "tcp.len == 4", "-e", "frame.comment")
    assert "send()" in comments[0]
    assert "retransmission" in comments[1]
    assert FLOW in timeline.tcp
    one = tmp_path / "client.pcapng"
    subprocess.run(
        ["tshark", "-r", file, "-Y", "frame.interface_name == client", "-w", one],
        check=True, capture_output=True, env={**os.environ, "HOME": str(tmp_path)},
    )  # fmt: skip
    file = one
    assert len(tshark("-Y", "tcp.analysis.retransmission", "-e", "frame.number")) == 1


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_every_recording_is_drawn_explained_and_linked_as_it_was(path):
    """When a change is meant: python tests/see/record.py --pictures."""
    expected = (PICTURES / f"{path.stem}.txt").read_text(encoding="utf-8")
    assert picture(load(path.stem)) == expected
