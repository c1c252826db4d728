"""Modules give each other facts: words can be changed, and nothing but words changes."""

import random
from copy import deepcopy
from dataclasses import FrozenInstanceError, fields, is_dataclass, replace

import pytest

from conversation import FLOW, HANDSHAKE, HOSTS, build, call, segment
from recordings import RECORDINGS, load
from stretta.see import events as vocabulary
from stretta.see.events import Call, Cause, Event, Fault, Frame, State
from stretta.see.explain import RULES, explain, reason
from stretta.see.explain.catalogue import SENTENCES
from stretta.see.explain.reasons import REASONS
from stretta.see.json_document import to_document
from stretta.see.render.layout import lay_out
from stretta.see.render.mermaid import to_mermaid


def decisions(timeline):
    """Return everything but the words."""
    layout = lay_out(timeline)
    return {
        "links": timeline.links,
        "notes": [(note.rule, note.events, note.at) for note in timeline.notes],
        "states": [(e.at, e.host, e.before, e.state) for e in timeline.events
                   if isinstance(e, State)],
        "steps": [(s.at, s.kind, s.event.id, s.copy, s.states, s.notes, s.fold)
                  for s in layout.steps],
        "names": layout.names,
        "arrows": [line.partition(":")[0] for line in to_mermaid(timeline).splitlines()],
    }  # fmt: skip


def other_words(event, word):
    """Return an event whose texts for people are other ones."""
    if isinstance(event, Call):
        return replace(event, display=word(), program=word())
    if isinstance(event, Frame):
        packet = event.packet
        inner = packet.inner and replace(packet.inner, words=word())
        return replace(event, packet=replace(packet, words=word(), inner=inner))
    if isinstance(event, Fault):
        return replace(event, option=f"--{event.option} {word()}")
    return event


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_other_words_change_no_decision(path, monkeypatch):
    before = load(path.stem)
    chance = random.Random(path.stem)

    def word():
        letters = "abcdefghijklmnopqrstuvwxyz "
        return "".join(chance.choice(letters) for _ in range(chance.randrange(1, 30)))

    for sentences in (SENTENCES, REASONS):
        for key in sentences:
            monkeypatch.setitem(sentences, key, word())
    again = build([other_words(e, word) for e in before.events if not isinstance(e, State)],
                  before.hosts)  # fmt: skip
    after = replace(again, notes=explain(again))
    assert decisions(after) == decisions(before)
    to_document(after)  # reasons are made of the new words
    new = set(SENTENCES.values())
    assert {note.text for note in after.notes} <= new


def test_every_cause_has_a_reason_and_every_sentence_a_rule():
    assert set(REASONS) == set(Cause)
    timeline = build([*HANDSHAKE, call(5, 45, "connect")])
    assert reason(timeline, timeline.links[0]) == "connect() asks the kernel for a connection: SYN"
    shared = {"time", "call", "fate", "waited", "lost-first", "wait", "needless", "udp"}
    for key in SENTENCES:
        assert key.partition(".")[0] in {*RULES, *shared}, key


def test_a_timeline_is_made_of_new_values():
    lost = segment(100, [], 1, 5, ack=1)
    given = [
        *HANDSHAKE, replace(lost, id=7), call(5, 35, "connect", next_seen=90),
        call(95, 99, "send", "out", 5), segment(300, [310], 1, 5, ack=1),
        Fault(3, 100, "", frame=7), call(320, 330, "recv", "in", 5, host="server"),
    ]  # fmt: skip
    before = deepcopy(given)
    timeline = build(given)
    assert given == before
    assert [event.id for event in timeline.events] == list(range(len(timeline.events)))
    assert {event.id for event in given} == {-1, 3, 7}
    again = build(given)
    assert (again.events, again.links) == (timeline.events, timeline.links)


def test_values_cannot_be_changed():
    for name in vocabulary.__all__:
        kind = getattr(vocabulary, name)
        if is_dataclass(kind):
            assert kind.__dataclass_params__.frozen, name
            for field in fields(kind):
                assert not str(field.type).startswith(("list", "dict", "set")), (name, field.name)
    timeline = build(HANDSHAKE)
    with pytest.raises(FrozenInstanceError):
        timeline.events[0].at = 5
    with pytest.raises(FrozenInstanceError):
        timeline.notes = ()
    assert isinstance(timeline.events, tuple)
    assert all(isinstance(e, Event) for e in timeline.events)
    assert timeline.hosts == HOSTS
    assert FLOW in timeline.tcp
