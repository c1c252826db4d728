import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stretta.errors import UsageError
from stretta.services import SERVICES, is_async, load, upper, whole_characters


@given(st.text())
def test_upper_is_what_python_makes_of_the_text(text):
    assert (
        upper(text.encode("utf-8", "ignore"))
        == text.encode("utf-8", "ignore").decode().upper().encode()
    )


@given(st.text(), st.text())
def test_bytes_that_are_no_utf8_stay_as_they_are(before, after):
    before, after = (t.encode("utf-8", "ignore") for t in (before, after))
    assert upper(before + b"\xff\xfe" + after) == upper(before) + b"\xff\xfe" + upper(after)


@given(st.binary() | st.text().map(lambda t: t.encode("utf-8", "ignore")), st.integers(0, 200))
@example("ß€😀".encode(), 3)
@example(b"\xed\xa0\x80", 2)
def test_a_cut_leaves_at_most_three_bytes_and_changes_nothing(data, size):
    head = data[:size]
    end = whole_characters(head)
    assert 0 <= len(head) - end <= 3
    assert upper(head[:end]) + upper(data[end:]) == upper(data)


@pytest.mark.parametrize("text", ["perché", "ß", "ΐ", "ŉ", "ﬃ", "ὖ"])
def test_characters_that_grow_are_exact(text):
    assert upper(text.encode()).decode() == text.upper()


def test_services_are_found_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "def answer(data): return data\nasync def later(data): return data\nnumber = 1\n"
    )
    (tmp_path / "broken.py").write_text("1/0\n")
    assert load("echo") is SERVICES["echo"]
    assert load("mine:answer")(b"x") == b"x"
    assert is_async(load("mine:later")) and not is_async(load("mine:answer"))
    for name, why in {
        "uppr": "Services: upper",
        "mine:": "Services: upper",
        "mine:nothing": "no function nothing",
        "mine:number": "no function number",
        "absent_module:x": "absent_module",
        "broken:x": "ZeroDivisionError",
    }.items():
        with pytest.raises(UsageError, match=why):
            load(name)


def test_an_object_with_an_async_call_is_async():
    class Service:
        async def __call__(self, data):
            return data

    assert is_async(Service())
