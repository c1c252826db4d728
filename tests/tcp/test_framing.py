import pytest
from hypothesis import given
from hypothesis import strategies as st

from stretta.services import upper, whole_characters
from stretta.tcp.framing import LineFraming, LineTooLong, StreamFraming


def cut(data, places):
    places = sorted({min(place, len(data)) for place in places})
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


def answers(framing, pieces, service):
    reply = b""
    for piece in pieces:
        reply += b"".join(service(request) + end for request, end in framing.feed(piece))
    return reply + b"".join(service(request) + end for request, end in framing.finish())


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


def test_line_ends_come_back_as_they_came():
    assert answers(LineFraming(10), [b"a\r\nb\n\nc"], bytes.upper) == b"A\r\nB\n\nC"


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_line_beyond_the_limit_ends_it_after_the_lines_before(end):
    framing = LineFraming(5)
    given_lines = []
    with pytest.raises(LineTooLong, match="5 bytes"):
        given_lines.extend(framing.feed(b"12345\nab"))
        given_lines.extend(framing.feed(b"cdef" + end))
    assert given_lines == [(b"12345", b"\n")]
