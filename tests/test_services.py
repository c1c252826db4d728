import array
import mmap
from dataclasses import dataclass

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stretta.errors import UsageError
from stretta.services import (
    SERVICES,
    ServiceFailed,
    call,
    cut_of,
    failure_reason,
    fast_path_of,
    is_async,
    load,
    reply_bytes,
    upper,
    whole_characters,
)


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
    (tmp_path / "leaving.py").write_text("raise SystemExit(3)\n")
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
        "leaving:x": "SystemExit",
    }.items():
        with pytest.raises(UsageError, match=why):
            load(name)


def test_an_object_with_an_async_call_is_async():
    class Service:
        async def __call__(self, data):
            return data

    assert is_async(Service())


class Lying(bytes):
    """Bytes whose methods lie."""

    def __len__(self):
        raise RuntimeError

    def __eq__(self, other):
        raise RuntimeError

    __hash__ = bytes.__hash__


@pytest.mark.parametrize(
    ("result", "sent"),
    [
        (None, None),
        (b"", b""),
        (b"ciao", b"ciao"),
        (bytearray(b"ciao"), b"ciao"),
        (memoryview(b"ciao"), b"ciao"),
        (memoryview(b"ciao")[::2], b"ca"),
        (memoryview(b"ciao").cast("B", (2, 2)), b"ciao"),
        (array.array("B", b"ciao"), b"ciao"),
    ],
)
def test_every_bytes_like_reply_can_be_sent(result, sent):
    reply = reply_bytes(result)
    assert reply == sent
    assert type(reply) in (bytes, type(None))


def test_a_reply_of_a_subclass_of_bytes_is_sent_as_bytes():
    assert type(reply_bytes(Lying(b"ciao"))) is bytes


def test_a_reply_is_a_copy_unless_it_is_bytes():
    shared = bytearray(b"ciao")
    reply = reply_bytes(shared)
    shared[:] = b"oaic"
    assert reply == b"ciao"
    with mmap.mmap(-1, 4) as memory:
        assert reply_bytes(memory) == bytes(4)


class Hidden(type):
    """A class that hides its name."""

    @property
    def __name__(cls):
        raise RuntimeError


class Nameless(metaclass=Hidden):
    pass


async def coroutine():
    return b""


def released():
    view = memoryview(b"ciao")
    view.release()
    return view


@pytest.mark.parametrize(
    ("result", "kind"),
    [
        ("ciao", "str"),
        (1, "int"),
        (True, "bool"),
        ([b"ciao"], "list"),
        (object(), "object"),
        (released(), "memoryview"),
        (Nameless(), "Nameless"),
    ],
)
def test_any_other_reply_is_a_failure_that_names_its_type(result, kind):
    with pytest.raises(ServiceFailed) as caught:
        reply_bytes(result)
    assert str(caught.value) == f"the reply is {kind}, not bytes"


def test_a_coroutine_as_a_reply_is_closed():
    with pytest.raises(ServiceFailed, match="the reply is coroutine, not bytes"):
        reply_bytes(coroutine())  # with a warning that it was never awaited, the test would fail


class Mute(Exception):
    def __str__(self):
        raise SystemExit


class Long(str):
    def __getitem__(self, item):
        raise RuntimeError


class Loud(Exception):
    def __str__(self):
        return Long("x" * 10**6)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("no"), "the service failed with ValueError: no"),
        (ValueError(), "the service failed with ValueError"),
        (Mute(), "the service failed with Mute"),
        (Loud(), "the service failed with Loud: " + "x" * 200),
        (ServiceFailed("the reply is str, not bytes"), "the reply is str, not bytes"),
    ],
)
def test_the_reason_of_a_failure_is_short_and_never_fails(error, reason):
    assert failure_reason(error) == reason


@pytest.mark.parametrize(
    "error", [ValueError("no"), SystemExit(), KeyboardInterrupt(), GeneratorExit(), MemoryError()]
)
def test_a_call_raises_service_failed_and_nothing_else(error):
    def service(data):
        raise error

    with pytest.raises(ServiceFailed, match=f"failed with {type(error).__name__}"):
        call(service, b"x")


def test_a_call_that_recurses_without_end_fails():
    def service(data):
        return service(data)

    with pytest.raises(ServiceFailed, match="failed with RecursionError"):
        call(service, b"x")


def test_a_service_need_not_be_hashable():
    @dataclass
    class Shout:
        end: bytes

        def __call__(self, data):
            return data.upper() + self.end

    assert cut_of(Shout(b"!")) is None
    assert fast_path_of(Shout(b"!")) is None
    assert cut_of(upper) is whole_characters
