import pytest
from hypothesis import given
from hypothesis import strategies as st

from stretta.http.server.request import Refused
from stretta.http.server.request_target import Target, parse_target


@pytest.mark.parametrize(
    ("raw", "names", "is_folder"),
    [
        (b"/", (), True),
        (b"/a/b", (b"a", b"b"), False),
        (b"/a//./b/", (b"a", b"b"), True),
        (b"//evil/", (b"evil",), True),
        (b"/a%20b?c%20d", (b"a b",), False),
        (b"/%252e%252e", (b"%2e%2e",), False),
        (b"/..%5cx", (b"..\\x",), False),
        (b"/%c0%ae%c0%ae/x", (b"\xc0\xae\xc0\xae", b"x"), False),
        (b"http://a:80/x", (b"x",), False),
        (b"HTTP://a", (), True),
        (b"https://a?q", (), True),
        (b"http://[::1]:80/x", (b"x",), False),
        (b"http://a:/x", (b"x",), False),
    ],
)
def test_a_target_is_parsed_into_segments(raw, names, is_folder):
    assert parse_target(raw)[:2] == (names, is_folder)


@pytest.mark.parametrize(
    "raw",
    [
        b"http://[::1/a", b"http://x:ab/", b"http://x:80:80/", b"http://:80/", b"http://:/",
        b"http://a b/", b"http://?q", b"*", b"a:80", b"ftp://a/", b"http://u:p@a/", b"http:///",
        b"/..", b"/../x", b"/a/../b",
        b"/%2e%2e/x", b"/.%2e", b"/..%2fx", b"/a%00b", b"/%", b"/%zz", b"/%2", b"/a#b",
    ],
)  # fmt: skip
def test_an_invalid_target_is_refused(raw):
    with pytest.raises(Refused) as refused:
        parse_target(raw)
    assert refused.value.status == 400


def test_a_path_is_encoded_so_that_it_parses_again():
    raw = b"//evil%0d%0aX:%20y//"
    assert parse_target(raw).path == "/evil%0D%0AX%3A%20y/"


@given(
    st.lists(
        st.binary(min_size=1).filter(lambda n: not {0, 47} & set(n) and n not in (b".", b".."))
    ),
    st.booleans(),
)
def test_every_name_survives_encoding_and_parsing(names, is_folder):
    target = Target(tuple(names), is_folder or not names, "")
    assert parse_target(target.path.encode()) == target
