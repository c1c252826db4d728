from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segments import ARP, tcp, udp
from stretta.errors import UsageError
from stretta.lab.faults import FaultInjector
from stretta.options import WireOptions
from stretta.see.packets import ACK, FIN, RST, SYN, checksum_is_good, decode

MS = 1_000_000
KINDS = [
    tcp(flags=SYN),
    tcp(flags=SYN | ACK, back=True),
    tcp(seq=1, ack=1),
    tcp(seq=1, ack=1, data=b"ciao"),
    tcp(seq=5, ack=1, flags=FIN | ACK),
    udp(b"ciao"),
    ARP,
]
FRAMES = st.lists(st.tuples(st.integers(0, 1), st.sampled_from(KINDS), st.integers(0, 5 * MS)))


def run(options, frames, seed=1):
    """Send frames through a wire; return what came out, and the marks."""
    faults = FaultInjector(options, seed, 0)
    now, out = 0, []
    for number, (direction, frame, pause) in enumerate(frames):
        now += pause
        out += faults.dequeue(now)
        faults.enqueue(direction, number, frame, now)
    while (due := faults.next_due()) is not None:
        assert due >= now - 1 or due <= now
        now = max(now, due)
        out += faults.dequeue(now)
    return out, faults.injected


@given(FRAMES)
@settings(deadline=None)
def test_a_wire_without_faults_carries_everything_in_order_and_at_once(frames):
    out, marks = run(WireOptions(), frames)
    assert not marks
    assert [d.number for d in out] == list(range(len(frames)))
    assert all(d.frame == frames[d.number][1] for d in out)


@given(FRAMES, st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_what_goes_in_comes_out_or_is_marked(frames, seed):
    options = WireOptions(
        delay=("3ms",), jitter=("2ms",), loss=("20%",), duplicate=("20%",), reorder=("20%",),
        corrupt=("20%",),
    )  # fmt: skip
    out, marks = run(options, frames, seed)
    came = Counter(d.number for d in out)
    lost = {m.number for m in marks if m.effect == "lost"}
    doubled = {m.number for m in marks if m.effect == "duplicated"}
    spoiled = {m.number for m in marks if m.effect == "corrupted"}
    for number, (_, frame, _) in enumerate(frames):
        assert came[number] == (0 if number in lost else 2 if number in doubled else 1)
        if number in lost or frame == ARP:
            assert number not in spoiled
    assert all(d.changed == (d.number in spoiled) for d in out)
    assert all((d.frame != frames[d.number][1]) == d.changed for d in out)


@given(FRAMES, st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_the_same_seed_gives_the_same_fates(frames, seed):
    options = WireOptions(loss=("30%",), duplicate=("30%",), corrupt=("30%",))
    assert run(options, frames, seed) == run(options, frames, seed)


def test_other_seeds_give_other_fates():
    frames = [(0, KINDS[3], MS)] * 40
    options = WireOptions(loss=("50%",))
    assert len({str(run(options, frames, seed)[1]) for seed in range(5)}) == 5


def test_fate_of_data_does_not_depend_on_acknowledgements():
    data, ack = (0, KINDS[3], MS), (0, KINDS[2], MS)
    options = WireOptions(loss=("40%",))
    alone = {m.number for m in run(options, [data] * 30)[1]}
    mixed = {m.number // 2 for m in run(options, [data, ack] * 30)[1] if m.number % 2 == 0}
    assert alone == mixed


def test_share_of_losses():
    _, marks = run(WireOptions(loss=("10%",)), [(0, KINDS[3], 0)] * 5000)
    assert 400 < len(marks) < 600
    assert {m.option for m in marks} == {"--loss 10%"}


def test_marks_name_the_option_as_it_was_given():
    options = WireOptions(
        loss=("server>client 0.5%", "client>server 100%"), rate=("8mbit",), queue=1
    )
    _, marks = run(options, [(0, KINDS[3], MS)])
    assert [m.option for m in marks] == ["--loss client>server 100%"]
    _, marks = run(WireOptions(rate=("8mbit",), queue=1), [(0, KINDS[3], 0)] * 2)
    assert [m.option for m in marks] == ["--rate 8mbit"]


def test_delay_and_direction():
    out, _ = run(WireOptions(delay=("server>client 50ms",)), [(0, KINDS[3], 0), (1, KINDS[3], 0)])
    assert [(d.path, d.due) for d in out] == [(0, 0), (1, 50 * MS)]


def test_rate_sends_one_frame_after_the_other():
    frame = tcp(data=bytes(946))  # 1000 bytes with its headers
    out, _ = run(WireOptions(rate=("8mbit",)), [(0, frame, 0)] * 3)
    assert [d.due for d in out] == [MS, 2 * MS, 3 * MS]


def test_queue_overflows():
    out, marks = run(WireOptions(rate=("8mbit",), queue=2), [(0, tcp(data=bytes(946)), 0)] * 5)
    assert len(out) == 2
    assert [m.effect for m in marks] == ["queue-full"] * 3


def test_jitter_never_reorders():
    out, _ = run(WireOptions(jitter=("20ms",)), [(0, KINDS[3], MS)] * 50)
    assert [d.number for d in out] == list(range(50))
    assert len({d.due - d.number * MS for d in out}) > 10


@pytest.mark.parametrize(
    ("spec", "lost"),
    [
        ("syn:1", [0]),
        ("syn-ack", [1]),
        ("data:1", [3]),
        ("client>server any:2-3", [2, 3]),
        ("fin:2-", []),
        ("udp:1", [5]),
        ("tcp:5-", [4]),
    ],
)
def test_named_frames_are_dropped(spec, lost):
    frames = [(int(n == 1), frame, MS) for n, frame in enumerate(KINDS)]
    out, marks = run(WireOptions(drop=(spec,)), frames)
    assert [m.number for m in marks] == lost
    assert all(m.option == f"--drop {spec}" for m in marks)
    assert sorted(d.number for d in out) == [n for n in range(len(KINDS)) if n not in lost]


def test_reordered_frame_follows_the_next():
    out, _ = run(WireOptions(reorder=("data:1",)), [(0, KINDS[3], MS), (0, KINDS[4], MS)])
    assert [d.number for d in out] == [1, 0]


def test_reordered_frame_does_not_wait_for_ever():
    out, _ = run(WireOptions(reorder=("data:1",)), [(0, KINDS[3], 0)])
    assert [(d.number, d.due) for d in out] == [(0, 100 * MS)]


def test_cut_and_plugged_in_again():
    out, marks = run(WireOptions(cut=("2ms-4ms",)), [(0, KINDS[3], MS)] * 5)
    assert [m.number for m in marks] == [1, 2]
    assert len(out) == 3


def test_reset_replaces_the_segment_and_reaches_both_ends():
    out, marks = run(WireOptions(rst=("data:1",)), [(0, tcp(seq=100, ack=200, data=b"a"), 0)])
    assert [m.effect for m in marks] == ["reset"]
    there, back = (decode(d.frame) for d in sorted(out, key=lambda d: d.path))
    assert (there.flags & RST, there.seq, there.target_port) == (RST, 100, 12000)
    assert (back.flags & RST, back.seq, back.target_port) == (RST, 200, 40000)
    assert all(checksum_is_good(d.frame) for d in out)


def test_reset_of_a_syn_answers_it():
    (delivery,), _ = run(WireOptions(rst=("syn:1",)), [(0, tcp(seq=100, flags=SYN), 0)])
    packet = decode(delivery.frame)
    assert (delivery.path, packet.flags, packet.ack) == (1, RST | ACK, 101)


def test_corruption_breaks_the_checksum():
    good = tcp(seq=1, ack=1, data=b"some bytes")
    (delivery,), _ = run(WireOptions(corrupt=("data:1",)), [(0, good, 0)])
    assert checksum_is_good(good)
    assert not checksum_is_good(delivery.frame)


def test_reset_is_for_tcp():
    with pytest.raises(UsageError, match="only TCP connections can be reset"):
        FaultInjector(WireOptions(rst=("udp:1",)), 0, 0)


def test_a_seed_means_the_same_in_every_version():
    options = WireOptions(
        loss=("30%",), duplicate=("20%",), corrupt=("20%",), reorder=("10%",), jitter=("5ms",)
    )
    frames = [(n % 2, tcp(seq=n, data=b"x") if n % 3 else udp(b"a"), MS) for n in range(24)]
    _, faults = run(options, frames, seed=5)
    found = {}
    for fault in faults:
        found.setdefault(fault.effect, []).append(fault.number)
    assert found == {
        "lost": [0, 2, 3, 14, 20, 23],
        "duplicated": [7, 8, 12, 15, 19],
        "corrupted": [9, 10, 15, 16, 18, 22],
        "reordered": [17, 18],
    }


def test_faults_of_different_kinds_and_directions_are_independent():
    frames = [(n % 2, KINDS[3], MS) for n in range(200)]
    _, faults = run(WireOptions(loss=("50%",), duplicate=("50%",)), frames)
    lost = {f.number for f in faults if f.effect == "lost"}
    doubled = {f.number for f in faults if f.effect == "duplicated"}
    assert 60 < len(lost) < 140
    assert 20 < len(doubled) < 80  # half of those that are left
    there, back = ({n // 2 for n in lost if n % 2 == way} for way in (0, 1))
    assert there != back
