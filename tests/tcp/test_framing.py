import pytest
from hypothesis import given
from hypothesis import strategies as st

from stretta.services import upper, whole_characters
from stretta.tcp.framing import LineFraming, LineTooLong, StreamFraming


def cut(data, places):
    places = sorted({min(place, len(data)) for place in places})
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


def requests(framing):
    while (request := framing.next_request()) is not None:
        yield request


def answers(framing, pieces, service):
    reply = b""
    for piece in pieces:
        framing.receive_data(piece)
        reply += b"".join(service(request) + end for request, end in requests(framing))
    framing.receive_eof()
    reply += b"".join(service(request) + end for request, end in requests(framing))
    assert framing.is_empty
    return reply


TEXT = st.text().map(lambda text: text.encode("utf-8", "ignore"))
CUTS = st.lists(st.integers(0, 300), max_size=20)


@given(TEXT | st.binary(), CUTS)
def test_a_stream_is_answered_alike_however_it_was_cut(data, places):
    assert answers(StreamFraming(whole_characters), cut(data, places), upper) == upper(data)


@given(st.lists(st.text(alphabet="ab\r é").map(str.encode)), CUTS)
def test_lines_are_answered_alike_however_they_were_cut(lines, places):
    data = b"\n".join(lines)
    reply = answers(LineFraming(1000), cut(data, places), lambda line: b"<" + line + b">")
    whole = answers(LineFraming(1000), [data], lambda line: b"<" + line + b">")
    assert reply == whole
    assert reply.count(b"<") == data.count(b"\n") + bool(data.rpartition(b"\n")[2])


@given(st.lists(st.binary().filter(lambda line: b"\n" not in line and line[-1:] != b"\r")), CUTS)
def test_lines_are_what_lies_between_the_line_ends(lines, places):
    for end in (b"\n", b"\r\n"):
        framing = LineFraming(1000)
        got = []
        for piece in cut(end.join([*lines, b""]), places):
            framing.receive_data(piece)
            got += requests(framing)
        assert got == [(line, end) for line in lines]


def test_line_ends_come_back_as_they_came():
    assert answers(LineFraming(10), [b"a\r\nb\n\nc\n\r\n\r"], bytes.upper) == b"A\r\nB\n\nC\n\r\n\r"


@pytest.mark.parametrize("size", [1, 100], ids=["byte by byte", "at once"])
@pytest.mark.parametrize(
    ("data", "lines", "too_long"),
    [
        (b"12345\n", [b"12345"], False),
        (b"12345\r\n", [b"12345"], False),
        (b"12345", [b"12345"], False),
        (b"1234\r", [b"1234\r"], False),
        (b"12345\r", [], True),
        (b"12345\r\r\n", [], True),
        (b"123456", [], True),
        (b"123456\n", [], True),
        (b"123456\r\n", [], True),
        (b"12345\nab\r\n1234567\nx\n", [b"12345", b"ab"], True),
    ],
)
def test_the_limit_of_a_line_holds_at_its_edge(data, lines, too_long, size):
    framing = LineFraming(5)
    got = []

    def feed():
        for at in range(0, len(data), size):
            framing.receive_data(data[at : at + size])
            got.extend(line for line, _ in requests(framing))
        framing.receive_eof()
        got.extend(line for line, _ in requests(framing))

    if too_long:
        with pytest.raises(LineTooLong, match="a line is longer than 5 bytes"):
            feed()
    else:
        feed()
    assert got == lines


def test_a_line_without_an_end_is_too_long_as_soon_as_the_limit_is_passed():
    framing = LineFraming(5)
    framing.receive_data(b"12345")
    assert framing.next_request() is None
    framing.receive_data(b"6")
    with pytest.raises(LineTooLong):
        framing.next_request()


class Counted(bytearray):
    """Bytes that count how many of them are searched."""

    searched = 0

    def find(self, sought, start=0):
        end = super().find(sought, start)
        Counted.searched += (len(self) if end < 0 else end + 1) - start
        return end


def test_each_byte_of_a_line_is_searched_once():
    framing = LineFraming(100_000)
    framing._data = Counted()
    for _ in range(50_000):
        framing.receive_data(b"x")
        assert framing.next_request() is None
    framing.receive_data(b"\n")
    assert framing.next_request() == (b"x" * 50_000, b"\n")
    assert Counted.searched == 50_001
