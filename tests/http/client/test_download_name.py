"""Names of saved files, and telling whether an object can be continued."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stretta.errors import InvalidReply
from stretta.http.client.part_file import download_name
from stretta.http.client.response_parser import Head
from stretta.http.client.resume import PartMetadata, partial_content, range_fields
from stretta.http.message.headers import Headers
from stretta.http.message.url import parse_url

URL = parse_url("http://a.example/dir/file.txt?x=y")


def named(disposition, url=URL):
    return download_name(Headers([("Content-Disposition", disposition)]), url)


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('attachment; filename="a b.txt"', "a b.txt"),
        ("attachment; filename=plain", "plain"),
        ("attachment; filename*=UTF-8''perch%C3%A9.txt", "perché.txt"),
        ('attachment; filename="../../etc/passwd"', "passwd"),
        (r'attachment; filename="..\\..\\boot.ini"', "boot.ini"),
        ('attachment; filename="/etc/shadow"', "shadow"),
        ('attachment; filename=".bashrc"', "bashrc"),
        ('attachment; filename=".."', "file.txt"),
        ('attachment; filename=""', "file.txt"),
        ('attachment; filename="perch\u00c3\u00a9.txt"', "perché.txt"),
        ('attachment; filename="perch\u00e9.txt"', "perché.txt"),
        ("inline", "file.txt"),
        ("attachment; filename*=nonsense''%ff", "file.txt"),
        ('attachment; filename="a\x1b[31m\x9b\u202eb"', "a[31mb"),
    ],
)
def test_content_disposition_names_a_file_and_no_way_out(disposition, name):
    assert named(disposition) == name


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://a.example/", "index.html"),
        ("http://a.example/x/", "index.html"),
        ("http://a.example/%2e%2e%2fetc%2fpasswd", "passwd"),
        ("http://a.example/a%00b%0a", "ab"),
        ("http://a.example/x.txt#y", "x.txt"),
    ],
)
def test_a_url_names_a_file(url, name):
    assert download_name(Headers(), parse_url(url)) == name


@given(st.text())
def test_no_name_leaves_the_folder(text):
    for name in (named(f'attachment; filename="{text}"'), named(f"attachment; filename*={text}")):
        assert name
        assert not {"/", "\\", "\0", "\n", "\x1b"}.intersection(name)
        assert not name.startswith(".")
        assert len(name.encode(errors="replace")) <= 200


@pytest.mark.parametrize(
    ("validators", "field"),
    [
        ({"etag": '"1"'}, [("If-Range", '"1"')]),
        ({"etag": 'W/"1"'}, []),
        ({"etag": 'W/"1"', "last_modified": "Sun"}, [("If-Range", "Sun")]),
        ({}, []),
    ],
)
def test_only_a_strong_validator_guards_a_range(validators, field):
    begun = PartMetadata(url="http://a/", **validators)
    assert range_fields(begun, 7) == [("Range", "bytes=7-"), *field]


BEGUN = PartMetadata(url="http://a/", etag='"1"', size=10)


def partial(content_range, etag='"1"', status=206):
    return Head("1.1", status, "", Headers([("Content-Range", content_range), ("ETag", etag)]))


def test_the_rest_follows_or_all_begins_anew():
    assert partial_content(BEGUN, 4, partial("bytes 4-9/10")) == (4, 10, 10, True)
    assert partial_content(BEGUN, 4, partial("bytes 4-9/*")) == (4, 10, 10, True)
    assert partial_content(BEGUN, 4, partial("bytes 4-6/10")) == (4, 7, 10, True)
    assert partial_content(BEGUN, 4, partial("", status=200)) is None
    assert partial_content(PartMetadata(url=""), 4, partial("bytes 4-9/*")) == (4, 10, None, False)


@pytest.mark.parametrize(
    "head",
    [
        partial("bytes 3-9/10"), partial("bytes 4-9/11"), partial("bytes 4-9/10", '"2"'),
        partial("bytes */10"), partial("rubbish"),
        partial("bytes 4-3/10"), partial("bytes 4-10/10"), partial(""),
    ],
)  # fmt: skip
def test_a_part_of_something_else_is_refused(head):
    with pytest.raises(InvalidReply, match="cannot resume"):
        partial_content(BEGUN, 4, head)


def test_a_date_that_has_changed_and_a_compressed_part_are_refused():
    begun = PartMetadata(url="http://a/", last_modified="Sun")
    head = Head(
        "1.1", 206, "", Headers([("Content-Range", "bytes 4-9/10"), ("Last-Modified", "Mon")])
    )
    with pytest.raises(InvalidReply, match="has changed"):
        partial_content(begun, 4, head)
    with pytest.raises(InvalidReply, match="compressed"):
        partial_content(BEGUN, 4, partial("bytes 4-9/10"), decoded=True)
