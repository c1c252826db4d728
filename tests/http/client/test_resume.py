"""Resuming a download: the request for the missing bytes, and the responses that fit; no I/O."""

import pytest

from stretta.errors import InvalidReply
from stretta.http.client.response_parser import Head
from stretta.http.client.resume import PartMetadata, partial_content, range_fields, total_size
from stretta.http.message.headers import Headers

PART = PartMetadata(url="http://a/", etag='"1"', last_modified="Sun", size=10)
NO_SIZE = PartMetadata(url="http://a/", etag='"1"', last_modified="Sun")
WEAK = PartMetadata(url="http://a/", etag='W/"1"')
DATED = PartMetadata(url="http://a/", etag='W/"1"', last_modified="Sun")
UNKNOWN = PartMetadata(url="")


def response(content_range="", status=206, etag=None, changed=None):
    fields = [("Content-Range", content_range), ("ETag", etag), ("Last-Modified", changed)]
    return Head("1.1", status, "", Headers([(name, value) for name, value in fields if value]))


@pytest.mark.parametrize(
    ("metadata", "field"),
    [
        ({"etag": '"1"'}, [("If-Range", '"1"')]),
        ({"etag": '"1"', "last_modified": "Sun"}, [("If-Range", '"1"')]),
        ({"etag": 'W/"1"'}, []),
        ({"etag": 'W/"1"', "last_modified": "Sun"}, [("If-Range", "Sun")]),
        ({}, []),
    ],
)
def test_the_request_carries_a_strong_validator(metadata, field):
    part = PartMetadata(url="http://a/", **metadata)
    assert range_fields(part, 7) == [("Range", "bytes=7-"), *field]


def test_the_metadata_of_a_response():
    head = response(etag='"1"', changed="Sun", status=200)
    assert PartMetadata.of("http://a/", head, 10) == PART
    assert PartMetadata.of("http://a/", response(), None, decoded=True) == PartMetadata(
        url="http://a/", decoded=True
    )


@pytest.mark.parametrize(
    ("part", "head", "expected"),
    [
        (PART, response("bytes 4-9/10", etag='"1"'), (4, 10, 10, True)),
        (PART, response("bytes 4-9/10"), (4, 10, 10, False)),
        (PART, response(" bytes 4-9/10 "), (4, 10, 10, False)),
        (DATED, response("bytes 4-9/10"), (4, 10, 10, True)),
        (DATED, response("bytes 4-9/10", changed="Sun"), (4, 10, 10, True)),
        (PART, response("bytes 4-9/*", etag='"1"', changed="Sun"), (4, 10, 10, True)),
        (PART, response("bytes 4-4/10", etag='"1"'), (4, 5, 10, True)),
        (PART, response("bytes 4-6/10", etag='"1"'), (4, 7, 10, True)),
        (NO_SIZE, response("bytes 4-98/99", etag='"1"'), (4, 99, 99, True)),
        (NO_SIZE, response("bytes 4-98/*", etag='"1"'), (4, 99, None, True)),
        (WEAK, response("bytes 4-9/10", etag='W/"1"'), (4, 10, 10, False)),
        (WEAK, response("bytes 4-9/10"), (4, 10, 10, False)),
        (UNKNOWN, response("bytes 4-9/10", etag='"1"', changed="Sun"), (4, 10, 10, False)),
        (PART, response(status=200), None),
        (PART, response("bytes 4-9/10", status=200), None),
    ],
)
def test_responses_that_fit(part, head, expected):
    assert partial_content(part, 4, head) == expected


@pytest.mark.parametrize(
    ("part", "head", "why"),
    [
        (PART, response(), "another range than the one that begins at byte 4"),
        (PART, response("rubbish"), "another range"),
        (PART, response("bytes */10"), "another range"),
        (PART, response("bytes 3-9/10"), "another range"),
        (PART, response("bytes 5-9/10"), "another range"),
        (PART, response("items 4-9/10"), "another range"),
        (PART, response("bytes 4-9/10, bytes 4-9/10"), "another range"),
        (PART, response("bytes 4-" + "9" * 20 + "/*"), "another range"),
        (PART, response("bytes 4-3/10"), "contradicts itself"),
        (PART, response("bytes 4-10/10"), "contradicts itself"),
        (PART, response("bytes 4-8/9"), "the object has 9 bytes now; it had 10"),
        (PART, response("bytes 4-9/11"), "the object has 11 bytes now; it had 10"),
        (PART, response("bytes 4-10/*"), "the object had 10 bytes"),
        (PART, response("bytes 4-9/10", etag='"2"'), "has changed"),
        (PART, response("bytes 4-9/10", etag='W/"1"'), "has changed"),
        (PART, response("bytes 4-9/10", changed="Mon"), "has changed"),
        (PART, response("bytes 4-9/10", etag='"1"', changed="Mon"), "has changed"),
    ],
)
def test_responses_that_do_not_fit(part, head, why):
    with pytest.raises(InvalidReply, match="cannot resume the download") as caught:
        partial_content(part, 4, head)
    assert why in caught.value.why


def test_a_range_of_the_compressed_object_does_not_fit():
    with pytest.raises(InvalidReply, match="compressed"):
        partial_content(PART, 4, response("bytes 4-9/10"), decoded=True)


@pytest.mark.parametrize(
    ("content_range", "status", "size"),
    [
        ("bytes */10", 416, 10),
        (" bytes */10 ", 416, 10),
        ("bytes */0", 416, 0),
        ("bytes */10", 206, None),
        ("bytes */10", 200, None),
        ("bytes 0-9/10", 416, None),
        ("bytes */*", 416, None),
        ("bytes */" + "1" * 20, 416, None),
        ("", 416, None),
    ],
)
def test_the_size_that_a_416_names(content_range, status, size):
    assert total_size(response(content_range, status)) == size
