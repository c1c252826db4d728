"""The cost of a request: hostile fields take little more work than plain ones of the same length.

Work is counted in bytecode instructions and in calls of built-in functions, which is repeatable.
"""

import base64
import sys
from threading import Event

import pytest

from stretta.http.server.access_log import quoted
from stretta.http.server.auth import parse_credentials
from stretta.http.server.file_handler import FileHandler
from stretta.http.server.files.document_root import DocumentRoot
from stretta.http.server.files.listing import ListingQuery
from stretta.http.server.request import Request
from stretta.http.server.response import Response
from stretta.options import SiteOptions

pytestmark = pytest.mark.skipif(
    sys.version_info >= (3, 12), reason="later Pythons do not report every instruction to a tracer"
)

LENGTH = 8000
"""Bytes of one field; 8 KiB is the limit."""


class Client:
    address, sends_files = "127.0.0.1", True

    def is_there(self):
        return True


def work(function):
    """Return the number of bytecode instructions and built-in calls that a function takes."""
    count = 0

    def on_event(frame, event, _):
        nonlocal count
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return on_event

    def on_call(frame, event, _):
        nonlocal count
        count += event == "c_call"

    traced, profiled = sys.gettrace(), sys.getprofile()
    sys.settrace(on_event)
    sys.setprofile(on_call)
    try:
        function()
    finally:
        sys.setprofile(profiled)
        sys.settrace(traced)
    return count


@pytest.fixture
def handler(tmp_path):
    (tmp_path / "page.html").write_bytes(b"x" * 100)  # too small to be compressed
    handler = FileHandler(DocumentRoot(tmp_path), SiteOptions())
    handler.preload()
    answer(handler, b"/missing")
    return handler


def answer(handler, target, **headers):
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    request = Request("GET", target, "1.1", fields, keep_alive=True)
    response = handler.respond(request, Client())
    if not isinstance(response, Response):  # a listing
        response.close()


def fill(pattern):
    return (pattern * (LENGTH // len(pattern) + 1))[:LENGTH]


PATTERNS = [
    ",", "a,", "a;", "a;q=1,", "*/*;q=0.1,", 'a;b="', "gzip;q=0.5,", "*,", '"a",', 'W/"a", ', '"',
    "W/", "bytes=", "0-0,", "-1,", "9", "bytes=0-", " ", "\t", ";", "=", "GMT ",
    "Sun, 06 Nov 1994 08:49:37 GMT, ",
]  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        "accept", "accept_encoding", "if_none_match", "if_match", "if_modified_since",
        "if_unmodified_since", "if_range", "range", "cookie",
    ],
)  # fmt: skip
@pytest.mark.parametrize("target", [b"/page.html", b"/missing"])
def test_a_hostile_field_costs_at_most_three_times_a_plain_one(handler, name, target):
    answer(handler, target)
    for pattern in PATTERNS:
        for value in (fill(pattern), "bytes=" + fill(pattern)):
            other = {"if_match": '"other"'} if name == "if_match" else {}  # also 412, with a page
            plain = work(
                lambda value=value, other=other: answer(handler, target, x_other=value, **other)
            )
            more = {"range": "bytes=0-0"} if name == "if_range" else {}
            hostile = work(
                lambda value=value, more=more: answer(handler, target, **{name: value}, **more)
            )
            assert hostile <= 3 * plain, (name, value[:20])


@pytest.mark.parametrize("pattern", ["&", "a=1&", "a=%41&", "q=%41", "%", "=", "a=1;", "+"])
def test_a_hostile_query_costs_little(pattern):
    plain = work(lambda: ListingQuery.parse("sort=size&order=desc&q=ciao&page=3"))
    assert work(lambda: ListingQuery.parse(fill(pattern))) <= 3 * plain
    assert work(lambda: ListingQuery.parse("q=" + fill(pattern)[:4000])) <= 3 * plain


@pytest.mark.parametrize("pattern", ["/", "a/", "%41", "%2e/", "./", "%41/"])
def test_a_hostile_path_costs_at_most_three_times_a_plain_one(handler, pattern):
    plain = work(lambda: answer(handler, b"/" + b"a" * LENGTH))
    assert work(lambda: attempt(handler, b"/" + fill(pattern).encode())) <= 3 * plain


def attempt(handler, target):
    try:
        answer(handler, target)
    except Exception as refused:  # noqa: BLE001
        assert getattr(refused, "status", None) in (400, 404, 414)


@pytest.mark.parametrize("pattern", ["=", "A", "A=", "YTpi", " ", "%"])
def test_hostile_credentials_cost_little(pattern):
    token = base64.b64encode(b"anna:segreto").decode()
    plain = work(lambda: parse_credentials("Basic " + token))
    assert work(lambda: parse_credentials("Basic " + fill(pattern))) <= 3 * plain


@pytest.mark.parametrize("pattern", ['"', "\\", "\xff", "\x1b"])
def test_a_hostile_text_in_the_access_log_costs_no_more_than_a_plain_one(pattern):
    assert work(lambda: quoted(fill(pattern))) <= 2 * work(lambda: quoted(fill("a")))


def test_the_count_of_work_is_real():
    assert work(lambda: [None for _ in range(1000)]) > 1000
    assert work(lambda: sorted(range(10), key=hash)) >= 10
    assert work(Event) > 1
