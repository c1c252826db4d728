import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stretta.escape import TerminalText, escape, escape_json, escape_line, one_line


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


def test_hidden_tags_are_spelled_out_also_in_json():
    assert escape("a\U000e0041") == "a\\U000e0041"
    assert json.loads(escape_json('"a\U000e0041"')) == "a\U000e0041"
    assert escape_json('"\U000e0041"') == '"\\udb40\\udc41"'


@given(st.text(st.characters()))
def test_json_keeps_its_value_and_holds_no_control_character(text):
    document = escape_json(json.dumps({"text": text}, ensure_ascii=False))
    assert json.loads(document.encode()) == {"text": text}
    assert escape(document) == document


BIDIRECTIONAL = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
MARKS = "\u061c\u200e\u200f"


def is_unsafe(character):
    return (
        unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
        or unicodedata.bidirectional(character) in BIDIRECTIONAL
        or character in MARKS
    )


def test_every_unsafe_character_is_spelled_out():
    for code in range(0x110000):
        character = chr(code)
        if is_unsafe(character) and character not in "\t\n":
            shown = escape(character)
            assert shown.isascii() and shown.isprintable(), hex(code)
            assert shown.encode().decode("unicode_escape") == character


def test_letters_marks_numbers_and_signs_stay():
    for code in range(0x110000):
        if unicodedata.category(chr(code))[0] in "LMNPS":
            assert escape(chr(code)) == chr(code)


@given(st.text(st.characters()))
def test_escaped_text_is_safe_and_escaping_it_again_changes_nothing(text):
    shown = escape(text)
    assert not any(is_unsafe(character) for character in shown if character not in "\t\n")
    assert escape(shown) == shown
    assert "\n" not in one_line(text) and "\t" not in one_line(text)


@pytest.mark.parametrize("charset", ["utf-8", "latin-1", "utf-16", "ascii"])
@given(data=st.binary())
def test_nothing_unsafe_gets_through_in_any_charset(charset, data):
    text = TerminalText(charset)
    shown = text.feed(data) + text.finish()
    assert not any(is_unsafe(character) for character in shown if character not in "\t\n")
