import json

from hypothesis import given
from hypothesis import strategies as st

from stretta.escape import TerminalText, escape, escape_json, escape_line


def shown(pieces):
    text = TerminalText()
    return "".join(text.feed(piece) for piece in pieces) + text.finish()


@given(st.binary(), st.lists(st.integers(0, 100)))
def test_any_cut_shows_the_same(data, cuts):
    places = sorted({min(cut, len(data)) for cut in cuts})
    pieces = [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]
    assert shown(pieces) == shown([data])


@given(st.binary())
def test_no_control_character_gets_through(data):
    for character in shown([data]):
        assert character in "\n\t" or character.isprintable() or not character.isascii()
        assert not 0x80 <= ord(character) < 0xA0


def test_text_stays_text_and_the_rest_is_spelled_out():
    assert escape("perché\t¡\n") == "perché\t¡\n"
    assert shown([b"a\r\nb\rc\x1b]0;x\x07\x00\xff", "\u202e".encode()]) == (
        "a\nb\\x0dc\\x1b]0;x\\x07\\x00\\xff\\u202e"
    )


@given(st.text())
def test_a_line_stays_one(text):
    assert len(escape_line(text).splitlines()) <= 1


@given(st.text(st.characters()))
def test_json_keeps_its_value_and_holds_no_control_character(text):
    document = escape_json(json.dumps({"text": text}, ensure_ascii=False))
    assert json.loads(document.encode()) == {"text": text}
    assert escape(document) == document
